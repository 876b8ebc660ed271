"""What training scripts leave beside the weights in a checkpoint.

The scripts, and the keys that they save: timm's train.py (`arch`, and `args` with its options),
facebookresearch's deit and mae main_*.py and main_finetune.py (`args.model`, `args.input_size`,
`args.nb_classes`, `args.eval_crop_ratio`), dino's main_dino.py (`args.arch`, `args.patch_size`),
torchvision's references/classification/train.py (`args.val_crop_size`, `args.val_resize_size`), and
Lightning's `hyper_parameters`. In someone's own script a key may mean anything: a value of another
type than these scripts have is no statement, and is left alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from vit_convert.architectures import Fact, published_names
from vit_convert.architectures.base import IMAGENET_MEAN, IMAGENET_STD
from vit_convert.hf_config.json_reader import Reader
from vit_convert.hf_config.timm_arguments import pool_fact, timm_argument_facts
from vit_convert.hf_config.timm_config import (
    RECOMMENDED_SIZE,
    is_timm_config,
    timm_facts,
    timm_name,
)

_MAX_JSON = 1_000_000
_MAX_NAME = 200
_MAE = re.compile(r"(mae_)?(vit_(?:base|large|huge)_patch\d+)(_dec\d+d\d+b)?")
_DINO = re.compile(r"(?:vit|deit)_(tiny|small|base)")
_NAMES = ("model", "arch", "model_name", "architecture", "backbone")  # in hyper_parameters
# MAE's util/datasets.py, build_transform
_MAE_PICTURES = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD, "interpolation": "bicubic"}


def training_facts(
    extras: Mapping[str, Any], path: Path, given: Collection[str] = ()
) -> tuple[dict[str, Fact], ...]:
    """Field -> its value, by what stands beside the weights; from each place where it stands.

    Args:
        extras: `Checkpoint.extras`; of safetensors the metadata, in which tables are JSON.
        path: the checkpoint.
        given: the fields that the user states: what is said of them is not even looked at.

    Raises:
        CheckpointError: a value has the right type and is impossible.
    """
    moot = frozenset(given)
    extras = {name: _table(value) for name, value in extras.items() if isinstance(name, str)}
    tables: list[dict[str, Fact]] = []
    if isinstance(arch := extras.get("arch"), str):
        tables.append(_name(Reader({"arch": arch}, path, inside=True), "arch", {}))
    if is_timm_config(extras):
        tables += timm_facts(Reader(extras, path, inside=True, given=moot))
    if isinstance(args := extras.get("args"), Mapping):
        tables += _script(
            Reader(_without(args, given), path, "args.", inside=True, given=frozenset(given))
        )
    if isinstance(parameters := extras.get("hyper_parameters"), Mapping):
        named = Reader(_without(parameters, given), path, "hyper_parameters.", inside=True)
        tables.append(_lightning(named))
    return tuple(tables)


def _table(value: Any) -> Any:
    """JSON text as the table that it is."""
    if isinstance(value, str) and value.lstrip()[:1] == "{" and len(value) <= _MAX_JSON:
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def _without(table: Mapping[Any, Any], given: Collection[str]) -> dict[str, Any]:
    """The entries but those of the fields that the user states."""
    moot = {*given}
    if "pool" in given:
        moot |= {"gp", "global_pool"}
    if "image_size" in given:
        moot |= {"img_size", "input_size", "val_crop_size"}
    if "num_classes" in given:
        moot |= {"nb_classes"}
    if "crop_pct" in given:
        moot |= {"eval_crop_ratio", "val_resize_size"}
    return {name: value for name, value in table.items() if type(name) is str and name not in moot}


def _script(reader: Reader) -> Iterator[dict[str, Fact]]:
    """Of a script's `args`."""
    args = reader.data
    yield from (_name(reader, key, args) for key in ("model", "arch"))
    yield _pictures(reader)
    yield _sizes(reader)
    for name, key in (
        ("num_classes", "num_classes"),
        ("num_classes", "nb_classes"),
        ("num_heads", "num_heads"),
        ("crop_pct", "eval_crop_ratio"),
    ):
        if _is_number(args.get(key)):
            yield {name: reader.field(name, key)}
    if isinstance(pool := args.get("gp"), str) and pool != "fast":
        yield pool_fact(reader, "gp")
    if isinstance(average := args.get("global_pool"), bool):  # MAE's main_finetune.py
        yield {"pool": Fact("avg" if average else "token", "read", reader.why("global_pool"))}
    if isinstance(args.get("model_kwargs"), Mapping):
        yield timm_argument_facts(reader.part("model_kwargs"))


def _name(reader: Reader, key: str, args: Mapping[str, Any]) -> dict[str, Fact]:
    """The published model, in timm's words, and what its script does with pictures."""
    value = reader.data.get(key)
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_NAME:
        return {}
    why = reader.why(key)
    if match := _MAE.fullmatch(value):
        facts = {"variant": Fact(f"{match[2]}_224.mae", "read", why)}
        if not match[1] and "nb_classes" in args:
            done = f"{why}, which MAE's main_finetune.py prepares pictures for"
            facts |= {name: Fact(v, "published", done) for name, v in _MAE_PICTURES.items()}
            size = args.get("input_size")
            small = not isinstance(size, int) or size <= 224
            facts["crop_pct"] = Fact(224 / 256 if small else 1.0, "published", done)
        return facts
    patch = args.get("patch_size")
    if (match := _DINO.fullmatch(value)) and type(patch) is int and 0 < patch < 100:
        return {"variant": Fact(f"vit_{match[1]}_patch{patch}_224.dino", "read", why)}
    name = timm_name(value)
    known = name.partition(".")[0] in published_names()
    return {"variant": Fact(name, "read", why)} if known else {}


def _pictures(reader: Reader) -> dict[str, Fact]:
    """Mean, std, interpolation and crop; absent ones are the model's own."""
    facts: dict[str, Fact] = {}
    for key in ("mean", "std"):
        value = reader.data.get(key)
        values = [*value] if isinstance(value, (list, tuple)) else [value]
        if len(values) in (1, 3) and all(map(_is_number, values)):
            facts[key] = reader.field(key, key, 3 * values if len(values) == 1 else values)
    for key in ("interpolation", "crop_mode"):
        if isinstance(value := reader.data.get(key), str) and value:
            facts[key] = reader.field(key, key)
    if _is_number(reader.data.get("crop_pct")):
        facts["crop_pct"] = reader.field("crop_pct", "crop_pct")
    return facts


def _sizes(reader: Reader) -> dict[str, Fact]:
    """The image size; of a model that takes any, or of timm's script, which may only mean the data
    loader's, as a recommendation."""
    args = reader.data
    facts: dict[str, Fact] = {}
    crop, resized = args.get("val_crop_size"), args.get("val_resize_size")
    if type(crop) is int:
        facts["image_size"] = reader.field("image_size", "val_crop_size")
        if type(resized) is int and 0 < crop <= resized:
            why = f"{reader.why('val_crop_size')}, val_resize_size"
            facts["crop_pct"] = Fact(crop / resized, "read", why)
    options = args.get("model_kwargs")
    flexible = isinstance(options, Mapping) and bool(options.get("dynamic_img_size"))
    name = RECOMMENDED_SIZE if flexible else "image_size"
    match args.get("input_size"):
        case [int(channels), int(height), int(width)]:
            facts["in_channels"] = reader.field("in_channels", "input_size", channels)
            facts[name] = reader.field("image_size", "input_size", [height, width])
        case int(side) if not isinstance(side, bool):
            facts[name] = reader.field("image_size", "input_size")
    match args.get("img_size"):
        case int(side) if not isinstance(side, bool):
            facts[name] = reader.field("image_size", "img_size")
        case [int(), int()]:
            facts[name] = reader.field("image_size", "img_size")
    return facts


def _lightning(reader: Reader) -> dict[str, Fact]:
    """Of Lightning's hyper_parameters only what cannot mean anything else."""
    parameters = reader.data
    facts: dict[str, Fact] = {}
    for key in _NAMES:
        value = parameters.get(key)
        if isinstance(value, str):
            facts = _name(reader, key, {}) | facts
    for key in ("mean", "std"):
        value = parameters.get(key)
        if isinstance(value, (list, tuple)) and len(value) == 3 and all(map(_is_number, value)):
            facts[key] = reader.field(key, key)
    if type(parameters.get("num_heads")) is int:
        facts["num_heads"] = reader.field("num_heads", "num_heads")
    return facts


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
