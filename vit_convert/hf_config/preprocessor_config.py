"""preprocessor_config.json, or processor_config.json: how pictures are prepared."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vit_convert.architectures import Fact
from vit_convert.architectures.base import CropMode
from vit_convert.hf_config.json_reader import Reader, read_json

# processors that take a bare size for the shortest edge
_KEEP_PROPORTIONS = ("Bit", "CLIP", "Siglip")
_INTERPOLATIONS = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers


def image_processor(folder: Path, given: frozenset[str] = frozenset()) -> Reader | None:
    """The image processor that lies in a folder; None without one.

    A model that reads texts too has one processor for both, and transformers 5 keeps the image
    processor in its file.

    Args:
        folder: the checkpoint's.
        given: as `Reader` has it.

    Raises:
        CheckpointError: a file is no JSON, or too large.
    """
    path = folder / "preprocessor_config.json"
    found: Any = read_json(path)
    if found is None:
        path = folder / "processor_config.json"
        found = (read_json(path) or {}).get("image_processor")
    return Reader(found, path, given=given) if isinstance(found, dict) else None


def picture_facts(reader: Reader) -> dict[str, Fact]:
    """Mean, std, interpolation and crop, as an image processor of transformers applies them."""

    def read(value: Any, key: str) -> Fact:
        return Fact(value, "read", f"{reader.path.name}: {key}")

    data, facts = reader.data, {}
    if data.get("do_normalize") is False:
        facts["mean"] = read((0.0, 0.0, 0.0), "do_normalize")
        facts["std"] = read((1.0, 1.0, 1.0), "do_normalize")
    else:
        for name, key in (("mean", "image_mean"), ("std", "image_std")):
            if key in data:
                facts[name] = reader.field(name, key)
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
    """The shorter side of a size as transformers writes it; None if the size does not give one."""
    match size:
        case {"shortest_edge": int(side)} | {"height": int(side), "width": int()} | int(side):
            return side if 0 < side < 1 << 16 else None
    return None
