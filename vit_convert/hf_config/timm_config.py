"""config.json as timm writes it: the model's name, its arguments, and how pictures are prepared.

The keys and what an absent one means: timm/models/_hub.py (`save_config_for_hf`,
`_parse_model_cfg`) and timm/models/_pretrained.py (`PretrainedCfg`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vit_convert.architectures import Fact
from vit_convert.architectures.base import IMAGENET_MEAN, IMAGENET_STD
from vit_convert.hf_config.json_reader import Reader
from vit_convert.hf_config.timm_arguments import pool_fact, timm_argument_facts
from vit_convert.runtime.limits import CLASSES

_PICTURES = ("mean", "std", "interpolation", "crop_pct", "crop_mode")
# PretrainedCfg's
_DEFAULTS: dict[str, Any] = {
    "mean": IMAGENET_MEAN,
    "std": IMAGENET_STD,
    "interpolation": "bicubic",
    "crop_pct": 0.875,
    "crop_mode": "center",
}
_LONGEST_LABEL = 10_000
# the image size of a model that takes any: a recommendation, which its tensors may contradict
RECOMMENDED_SIZE = "recommended_size"


def is_timm_config(config: Mapping[str, Any]) -> bool:
    """Whether a config.json is timm's, and not transformers'."""
    return isinstance(config.get("architecture"), str)


def timm_facts(reader: Reader) -> tuple[dict[str, Fact], ...]:
    """Field -> its value, of the model's arguments and of the rest; its name as "variant".

    Raises:
        CheckpointError: a value is impossible, or of a model that is not supported here.
    """
    arguments = timm_argument_facts(reader.part("model_args"))
    facts = {"variant": variant_fact(reader, "architecture")}
    new = "pretrained_cfg" in reader.data  # in older files its keys stand beside "architecture"
    pretrained = reader.part("pretrained_cfg") if new else reader
    facts |= picture_facts(pretrained.with_defaults(_DEFAULTS) if new else pretrained)
    size = _size(pretrained)
    if "image_size" in arguments:  # which timm itself prefers
        size.pop("image_size", None)
        size.pop(RECOMMENDED_SIZE, None)
    if "in_channels" in arguments:
        size.pop("in_channels", None)
    facts |= size
    for source in (pretrained, reader):
        if source.says("num_classes"):
            facts["num_classes"] = source.field("num_classes", "num_classes")
    if reader.says("num_features"):
        facts["embed_dim"] = reader.field("embed_dim", "num_features")
    if reader.says("global_pool"):
        facts |= pool_fact(reader, "global_pool")
    return arguments, facts


def variant_fact(reader: Reader, key: str) -> Fact:
    """The model's name in timm, with the tag of its weights if that is stated with it."""
    return Fact(timm_name(str(reader.data[key])), "read", reader.why(key))


def timm_name(text: str) -> str:
    """A model's name in timm, without the Hub's prefix."""
    for prefix in ("hf-hub:timm/", "hf_hub:timm/", "timm/"):
        text = text.removeprefix(prefix)
    return text


def picture_facts(reader: Reader) -> dict[str, Fact]:
    """How pictures are prepared, by timm's keys; of mean and std one number holds for all."""
    facts: dict[str, Fact] = {}
    for key in _PICTURES:
        value = reader.data.get(key)
        if value is None or value == "":
            continue
        if key in ("mean", "std"):
            values = [*value] if isinstance(value, (list, tuple)) else [value]
            value = 3 * values if len(values) == 1 else values
        facts[key] = reader.field(key, key, value)
    return facts


def _size(reader: Reader) -> dict[str, Fact]:
    """The input's channels and size: the size, of a model that takes any, as a recommendation."""
    match reader.data.get("input_size"):
        case None:
            return {}
        case [channels, height, width]:
            flexible = reader.data.get("fixed_input_size", False) is False
            name = RECOMMENDED_SIZE if flexible else "image_size"
            return {
                "in_channels": reader.field("in_channels", "input_size", channels),
                name: reader.field("image_size", "input_size", [height, width]),
            }
    raise reader.wrong("input_size", "channels, height and width")


def timm_labels(reader: Reader, num_classes: int) -> tuple[str, ...]:
    """The classes' names: `label_descriptions` of the `label_names`, where there are any.

    Names are a list, or a table from class to name where some classes have none.

    Raises:
        CheckpointError: they are something else, or of classes that the model does not have.
    """
    source = reader if reader.says("label_names") else reader.part("pretrained_cfg")
    if not source.says("label_names"):
        return ()
    names = source.data["label_names"]
    if isinstance(names, Mapping):
        names = _in_order(source, names, num_classes)
    if not isinstance(names, (list, tuple)) or len(names) > CLASSES.allowed():
        raise source.wrong("label_names", "a list of names, or a table from class to name")
    if not all(isinstance(name, str) and len(name) <= _LONGEST_LABEL for name in names):
        raise source.wrong("label_names", "texts")
    described = source.data.get("label_descriptions")
    table = described if isinstance(described, Mapping) else {}
    texts = [table.get(name, name) for name in names]
    if not all(isinstance(text, str) and len(text) <= _LONGEST_LABEL for text in texts):
        raise source.wrong("label_descriptions", "texts")
    return tuple(text.strip() or str(index) for index, text in enumerate(texts))


def _in_order(reader: Reader, names: Mapping[str, Any], num_classes: int) -> list[Any]:
    """The names of a table from class to name; a class without one is called by its number."""
    wanted = {str(index): str(index) for index in range(num_classes)}
    if unknown := names.keys() - wanted.keys():
        expected = f"names of classes 0 to {num_classes - 1}"
        raise reader.wrong("label_names", f"{expected}, not of {min(map(str, unknown))[:20]!a}")
    return [*{**wanted, **names}.values()]
