"""What published models with a dense head have that no tensor tells.

Depth Anything's own files (https://github.com/DepthAnything/Depth-Anything-V2,
depth_anything_v2/dpt.py, metric_depth/README.md; https://github.com/LiheYoung/Depth-Anything,
depth_anything/dpt.py) are state dicts without a configuration. Their names are those of their
authors' downloads, and tell which model they are as far as nobody renamed them.
"""

from __future__ import annotations

from typing import Any

from vit_convert.architectures.base import Fact, Rival

_TAPS_V2 = {  # by the number of blocks: intermediate_layer_idx
    12: (2, 5, 8, 11),
    24: (4, 11, 17, 23),
    40: (9, 19, 29, 39),
}
_V1, _V2 = "Depth Anything", "Depth Anything V2"
_METRIC = {"hypersim": 20.0, "vkitti": 80.0}  # max_depth in metres: indoors, outdoors


def settle_by_name(name: str, depth: int, maps: int, hint: str) -> Fact:
    """A field that neither tensors nor statements tell, as published models have it.

    Args:
        name: of the field.
        depth, maps: numbers of blocks, and of those that the head reads.
        hint: the file's name.
    """
    title = hint.lower().replace("-", "_")
    metric = next((metres for word, metres in _METRIC.items() if word in title), None)
    first = "depth_anything_vit" in title or "depth_anything_v1" in title
    if name == "taps":
        last = tuple(range(max(depth - maps, 0), depth))
        spread = tuple(depth * (i + 1) // maps - 1 for i in range(maps))
        spread = _TAPS_V2.get(depth, spread) if maps == 4 else spread
        chosen, other = (last, spread) if first else (spread, last)
        rival = Rival(other, (_V2 if first else _V1,))
        return Fact(chosen, "assumed", f"as in {_V1 if first else _V2}", rivals=(rival,))
    if name == "depth_activation":
        kinds = [("sigmoid", f"{_V2} for metric depth"), ("relu", f"{_V2} for relative depth")]
        (mine, name_of), (theirs, other_name) = kinds if metric else kinds[::-1]
        return Fact(mine, "assumed", f"as in {name_of}", rivals=(Rival(theirs, (other_name,)),))
    if name == "max_depth":
        metric_rival = Rival("<20 or 80>", (f"{_V2} for metric depth",))
        if metric:
            return Fact(metric, "assumed", f"as the file's name has it: {hint}")
        return Fact(1.0, "assumed", f"as in {_V2} for relative depth", rivals=(metric_rival,))
    usual_values: dict[str, Any] = {"readout": "ignore", "fusion": "next"}
    return Fact(usual_values[name], "assumed", f"as in {_V2}")
