"""What lies beside a checkpoint of transformers: config.json and preprocessor_config.json.

`save_pretrained` writes them, and they say what tensors cannot. They are strangers' files: read up
to a size, parsed as JSON, and every value is checked before it is used.

The keys and their defaults: transformers' configuration_*.py of vit, deit, dinov2, dinov3_vit,
clip, siglip and beit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from vit_convert.architectures import Fact
from vit_convert.architectures.base import CropMode
from vit_convert.errors import CheckpointError
from vit_convert.json_reader import ALONE, JsonReader, read_json

_MAX_CLASSES = 1_000_000
# what a key means where it is left out, by model_type
_VIT = {"hidden_act": "gelu", "layer_norm_eps": 1e-12, "num_attention_heads": 12}
_DINOV2 = {"hidden_act": "gelu", "layer_norm_eps": 1e-6, "num_attention_heads": 12}
_CLIP = {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5, "num_attention_heads": 12}
_SIGLIP = {"hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6, "num_attention_heads": 12}
_DEFAULTS: dict[str, dict[str, Any]] = {
    "vit": _VIT,
    "deit": _VIT,
    "vit_mae": _VIT,
    "beit": _VIT,
    "data2vec-vision": _VIT,
    "dinov2": _DINOV2,
    "dinov2_with_registers": _DINOV2,
    "dinov3_vit": _DINOV2 | {"layer_norm_eps": 1e-5, "num_attention_heads": 6, "rope_theta": 100.0},
    "clip": _CLIP,
    "clip_vision_model": _CLIP,
    "siglip": _SIGLIP,
    "siglip_vision_model": _SIGLIP,
}
_KEEP_PROPORTIONS = (
    "Bit",
    "CLIP",
    "Siglip",
)  # processors that take a bare size for the shortest edge
_INTERPOLATIONS = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers


@dataclass(frozen=True)
class Sidecars:
    """What the files say.

    Attributes:
        facts: field of the configuration or the preprocessing -> its value.
        labels: class names, () if they are not told.
        where: the file that the labels stand in.
    """

    facts: dict[str, Fact] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    where: str = ""

    def labels_for(self, num_classes: int) -> tuple[str, ...]:
        """The labels of a model with that head; a model without one has none.

        Raises:
            CheckpointError: there are not as many.
        """
        if not num_classes or not self.labels:
            return ()
        if len(self.labels) != num_classes:
            raise CheckpointError(
                f"its id2label has {len(self.labels)} classes, but the head has {num_classes}",
                where=self.where,
                expected="the config.json that was saved with the checkpoint",
                hint=ALONE,
            )
        return self.labels


def read_sidecars(folder: Path) -> Sidecars:
    """Read the config.json and preprocessor_config.json of a folder, where they are there.

    Raises:
        CheckpointError: one is no JSON, too large, or says something impossible.
    """
    facts: dict[str, Fact] = {}
    labels: tuple[str, ...] = ()
    path = folder / "config.json"
    if (config := read_json(path)) is not None:
        source = _reader(_vision(config), path)
        facts |= _model_facts(source)
        labels = _labels(source)
    other = folder / "preprocessor_config.json"
    if (processor := read_json(other)) is not None:
        facts |= _picture_facts(_reader(processor, other))
    return Sidecars(facts, labels, str(path))


def _vision(config: dict[str, Any]) -> dict[str, Any]:
    """The part that describes the image tower, with the model's type."""
    part = config.get("vision_config")
    if not isinstance(part, dict):
        return config
    above: dict[str, Any] = {
        key: config[key] for key in ("model_type", "id2label") if key in config
    }
    return above | part


def _reader(data: dict[str, Any], path: Path) -> JsonReader:
    kind = data.get("model_type")
    return JsonReader({**_DEFAULTS.get(kind if isinstance(kind, str) else "", {}), **data}, path)


# field of the configuration -> key in config.json, and how it is read
_FIELDS: dict[str, tuple[str, Callable[[JsonReader, str], Any]]] = {
    "embed_dim": ("hidden_size", JsonReader.whole),
    "depth": ("num_hidden_layers", JsonReader.whole),
    "num_heads": ("num_attention_heads", JsonReader.whole),
    "image_size": ("image_size", JsonReader.sides),
    "patch_size": ("patch_size", JsonReader.sides),
    "in_channels": ("num_channels", JsonReader.whole),
    "qkv_bias": ("qkv_bias", JsonReader.flag),
    "gelu": ("hidden_act", JsonReader.activation),
    "norm_eps": ("layer_norm_eps", JsonReader.number),
    "rotary_base": ("rope_theta", partial(JsonReader.number, low=1, high=1e9)),
}
_HAS_MLP_DIM = _DEFAULTS.keys() - {"vit_mae", "data2vec-vision", "dinov2", "dinov2_with_registers"}


def _model_facts(reader: JsonReader) -> dict[str, Fact]:
    facts = {
        name: Fact(read(reader, key), "read", f"config.json: {key}")
        for name, (key, read) in _FIELDS.items()
        if key in reader.data and not (key == "hidden_act" and reader.gated())
    }
    # DINOv2's is computed from mlp_ratio, and its intermediate_size, if there is one, means nothing
    if "intermediate_size" in reader.data and reader.data.get("model_type") in _HAS_MLP_DIM:
        width = reader.whole("intermediate_size")
        facts["mlp_dim"] = Fact(width, "read", "config.json: intermediate_size")
    return facts


def _labels(reader: JsonReader) -> tuple[str, ...]:
    """id2label, unless it is what transformers fills in where nobody gave names."""
    table = reader.data.get("id2label")
    if table is None:
        return ()
    if not isinstance(table, dict) or not 0 < len(table) <= _MAX_CLASSES:
        raise reader.wrong("id2label", "a table from class to name")
    names = []
    for index in range(len(table)):
        name = table.get(str(index))
        if not isinstance(name, str) or len(name) > 10_000:
            raise reader.wrong("id2label", f"a name for each class; there is none for {index}")
        names.append(name.strip() or str(index))
    if all(name == f"LABEL_{index}" for index, name in enumerate(names)):
        return ()
    return tuple(names)


def _picture_facts(reader: JsonReader) -> dict[str, Fact]:
    """Mean, std, interpolation and crop, as an image processor of transformers applies them."""

    def read(value: Any, key: str) -> Fact:
        return Fact(value, "read", f"preprocessor_config.json: {key}")

    data, facts = reader.data, {}
    if data.get("do_normalize") is False:
        facts["mean"] = read((0.0, 0.0, 0.0), "do_normalize")
        facts["std"] = read((1.0, 1.0, 1.0), "do_normalize")
    else:
        for name, key in (("mean", "image_mean"), ("std", "image_std")):
            if key in data:
                facts[name] = read(reader.channels(key), key)
        if "std" in facts and min(facts["std"].value) <= 0:
            raise reader.wrong("image_std", "positive numbers")
    if "rescale_factor" in data and not math.isclose(reader.number("rescale_factor"), 1 / 255):
        raise reader.wrong("rescale_factor", "1/255: pixels scaled to 0..1")
    if data.get("resample") in _INTERPOLATIONS:
        facts["interpolation"] = read(_INTERPOLATIONS[data["resample"]], "resample")
    resized, cropped = _side(data.get("size")), _side(data.get("crop_size"))
    if data.get("do_center_crop") and resized and cropped and cropped <= resized:
        facts["crop_pct"] = read(cropped / resized, "crop_size, size")
    elif resized:
        facts["crop_pct"] = read(1.0, "do_center_crop")
    if resized:
        facts["crop_mode"] = read(_crop_mode(data), "size")
    return facts


def _crop_mode(data: Mapping[str, Any]) -> CropMode:
    """Height and width are taken as they are, the shortest edge keeps the proportions.

    A bare number, as older files have it, means the one or the other by the processor's class (its
    get_size_dict, `default_to_square`).
    """
    size = data["size"]
    if isinstance(size, dict):
        return "squash" if "height" in size else "center"
    kind = str(data.get("image_processor_type") or data.get("feature_extractor_type"))
    return "center" if kind.startswith(_KEEP_PROPORTIONS) else "squash"


def _side(size: Any) -> int | None:
    """The shorter side of a size as transformers writes it, None if it tells none."""
    match size:
        case {"shortest_edge": int(side)} | {"height": int(side), "width": int()} | int(side):
            return side if 0 < side < 1 << 16 else None
    return None
