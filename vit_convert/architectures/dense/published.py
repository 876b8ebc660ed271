"""What published models with a dense head have that no tensor tells.

Depth Anything's own files (https://github.com/DepthAnything/Depth-Anything-V2,
depth_anything_v2/dpt.py, metric_depth/README.md; https://github.com/LiheYoung/Depth-Anything,
depth_anything/dpt.py) are state dicts without a configuration. Their names are those of their
authors' downloads, and tell which model they are as far as nobody renamed them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vit_convert.architectures.base import Fact, Overrides, Rival

_TAPS_V2 = {  # by the number of blocks: intermediate_layer_idx
    12: (2, 5, 8, 11),
    24: (4, 11, 17, 23),
    40: (9, 19, 29, 39),
}
_V1, _V2 = "Depth Anything", "Depth Anything V2"
_METRIC = {"hypersim": 20.0, "vkitti": 80.0}  # max_depth in metres: indoors, outdoors
_METRIC_RIVALS = (
    Rival(20.0, (f"{_V2} for metric depth indoors",)),
    Rival(80.0, (f"{_V2} for metric depth outdoors",)),
)


def settle_by_name(
    name: str, depth: int, maps: int, hint: str, given: Overrides, settled: Mapping[str, Fact]
) -> Fact:
    """A field that neither tensors nor statements tell, as published models have it.

    Args:
        name: of the field.
        depth, maps: numbers of blocks, and of those that the head reads.
        hint: the file's name.
        given: what the user states of others.
        settled: those that are known; `depth_activation` comes before `max_depth`.
    """
    title = hint.lower().replace("-", "_")
    metric = next((metres for word, metres in _METRIC.items() if word in title), None)
    if name == "taps":
        return _taps(depth, maps, title)
    if name == "depth_activation":
        kinds = [("sigmoid", f"{_V2} for metric depth"), ("relu", f"{_V2} for relative depth")]
        (mine, name_of), (theirs, other_name) = kinds if metric or given.max_depth else kinds[::-1]
        why = "a largest depth is given, as of" if given.max_depth else "as in"
        return Fact(mine, "assumed", f"{why} {name_of}", rivals=(Rival(theirs, (other_name,)),))
    if name == "max_depth":
        activation = settled["depth_activation"]
        if activation.value == "relu":
            why = f"as in {_V2} for relative depth"
            if activation.provenance == "assumed":
                return Fact(1.0, "assumed", why, rivals=_METRIC_RIVALS)
            return Fact(1.0, "published", why)
        limit = metric or 20.0
        rivals = tuple(rival for rival in _METRIC_RIVALS if rival.value != limit)
        known = f"as the file's name has it: {hint}" if metric else f"as in {_V2} indoors"
        return Fact(limit, "assumed", known, rivals=rivals)
    usual_values: dict[str, Any] = {"readout": "ignore", "fusion": "next"}
    return Fact(usual_values[name], "assumed", f"as in {_V2}")


def _taps(depth: int, maps: int, title: str) -> Fact:
    """The last blocks in version 1, spread ones in version 2."""
    first = "depth_anything_vit" in title or "depth_anything_v1" in title
    last = tuple(range(max(depth - maps, 0), depth))
    spread = tuple(depth * (i + 1) // maps - 1 for i in range(maps))
    spread = _TAPS_V2.get(depth, spread) if maps == 4 else spread
    chosen, other = (last, spread) if first else (spread, last)
    rival = Rival(other, (_V2 if first else _V1,))
    return Fact(chosen, "assumed", f"as in {_V1 if first else _V2}", rivals=(rival,))
