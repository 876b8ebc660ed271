"""Layers that the user keeps in float, by patterns of their names."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase

from vit_convert.errors import UsageError
from vit_convert.exporters.options import KeepFloat
from vit_convert.exporters.quantisation_report import KeptLayer
from vit_convert.exporters.tflite.quantisation import OPERATION, Layer

_SHOWN = 6  # near names


def asked_for(keep_float: KeepFloat, layers: Sequence[Layer]) -> tuple[KeptLayer, ...]:
    """The layers that are to stay in float whatever they cost.

    Args:
        keep_float: of the options.
        layers: of the graph.

    Returns:
        those that match a pattern, in their order; none with "auto" and "none".

    Raises:
        UsageError: a pattern matches no layer.
    """
    if isinstance(keep_float, str):
        return ()
    names = [layer.name for layer in layers]
    for pattern in keep_float:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise _matches_nothing(pattern, names)
    found = []
    for name in names:
        pattern = next((p for p in keep_float if fnmatchcase(name, p)), "")
        if pattern:
            found.append(KeptLayer(OPERATION, name, pattern))
    return tuple(found)


def _matches_nothing(pattern: str, names: Sequence[str]) -> UsageError:
    inside = [name for name in names if name.startswith(f"{pattern}.")]
    near = inside or get_close_matches(pattern, names, _SHOWN, 0.4) or list(names)
    more = f", and {len(near) - _SHOWN} more" if len(near) > _SHOWN else ""
    return UsageError(
        f"matches none of the {len(names)} linear layers",
        where=f"--keep-float {pattern}",
        expected=f"the name of a layer, or a pattern: {', '.join(near[:_SHOWN])}{more}",
        hint=f"--keep-float '{pattern}.*'" if inside else f"--keep-float '{near[0]}'",
    )
