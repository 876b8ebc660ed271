"""Reads the values that a checkpoint holds beside its weights, as plain values."""

from __future__ import annotations

from typing import Any

from vit_convert.checkpoint.inert import Global, Inert
from vit_convert.checkpoint.nesting import StateDict, as_tensor, mapping
from vit_convert.checkpoint.numpy_pickles import NumpyArray, NumpyType
from vit_convert.runtime.limits import EXTRAS, Budget

_MAX_DEPTH = 40
_NAMESPACES = (("argparse", "Namespace"), ("types", "SimpleNamespace"))
TOO_LARGE = Inert(Global("vit_convert", "too deep or too large to be shown"))


def beside(root: Any, chosen: StateDict, found: list[StateDict], budget: Budget) -> dict[str, Any]:
    """Everything but state dicts: the top level's by name, what is nested deeper by dotted name.

    Args:
        root, chosen, found: what the file holds, and the state dicts in it.
        budget: see `vit_convert.checkpoint.modules.module_state`.
    """
    keys = {state.key for state in found}
    # and the names that lead to them
    known = keys | {key[:place] for key in keys for place, char in enumerate(key) if char == "."}
    extras: dict[str, Any] = {}
    path = chosen.key.split(".") if chosen.key else []
    level, prefix = mapping(root, budget), ""
    if not path:
        extras.update(chosen.others)
    for name in path:
        for other, value in level.items():
            if f"{prefix}{other}" not in known:
                extras[f"{prefix}{other}"] = value
        prefix += f"{name}."
        level = mapping(level.get(name), budget)
    if path:
        extras.update({f"{chosen.key}.{name}": value for name, value in chosen.others.items()})
    converter = _Plain()
    return {name: converter.plain(value, 0) for name, value in extras.items()}


class _Plain:
    """Namespaces to dicts, arrays to tensors, no cycles, and an end."""

    def __init__(self) -> None:
        self.left = EXTRAS.allowed()

    def plain(self, value: Any, depth: int) -> Any:
        self.left -= 1
        if self.left < 0:
            return TOO_LARGE
        match value:
            case NumpyArray():
                tensor = as_tensor(value)
                return tensor or Inert(Global("numpy", "ndarray"))
            case NumpyType():
                return value.code
            case Inert(of=Global(module=module, name=name)) if (module, name) in _NAMESPACES:
                value = value.attributes
        if not isinstance(value, (dict, list, tuple)):
            return value
        if depth >= _MAX_DEPTH:
            return TOO_LARGE
        if isinstance(value, dict):
            return {key: self.plain(part, depth + 1) for key, part in value.items()}
        parts = [self.plain(part, depth + 1) for part in value]
        return tuple(parts) if isinstance(value, tuple) else parts
