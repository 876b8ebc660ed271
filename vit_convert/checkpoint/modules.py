"""The state dict of a whole pickled `torch.nn.Module` or of a TorchScript archive, from its inert
remains."""

from __future__ import annotations

from typing import Any

from vit_convert.checkpoint.inert import Global, Inert
from vit_convert.checkpoint.tensor import LazyTensor
from vit_convert.errors import CheckpointError
from vit_convert.runtime.limits import NAME_LENGTH, Budget

_MAX_DEPTH = 64


def is_module(value: Any) -> bool:
    """Whether an inert object has the attributes of a module."""
    return _is_script(value) or (
        isinstance(value, Inert)
        and isinstance(value.attributes.get("_parameters"), dict)
        and isinstance(value.attributes.get("_modules"), dict)
    )


def _is_script(value: Any) -> bool:
    """Whether it is an object of TorchScript, whose classes are the archive's own."""
    return (
        isinstance(value, Inert)
        and isinstance(value.of, Global)
        and value.of.module.partition(".")[0] == "__torch__"
    )


def module_state(module: Inert, budget: Budget) -> dict[str, Any]:
    """Collect what `module.state_dict()` would return, in the same order.

    Args:
        module: the module.
        budget: `MODULES` of the file; modules may share tables, and each look at one counts.

    Raises:
        CheckpointError: the modules contain one another without end, or too much.
    """
    state: dict[str, Any] = {}

    def visit(module: Inert, prefix: str, depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise CheckpointError("the pickled model's modules contain one another without end")
        NAME_LENGTH.check(len(prefix))
        attributes = module.attributes
        budget.spend(1 + len(attributes))
        if _is_script(module):  # parameters, buffers and modules are attributes
            state.update(
                (f"{prefix}{name}", value)
                for name, value in attributes.items()
                if isinstance(value, LazyTensor)
            )
            for name, child in attributes.items():
                if _is_script(child):
                    visit(child, f"{prefix}{name}.", depth + 1)
            return
        hidden = attributes.get("_non_persistent_buffers_set")
        buffers = attributes.get("_buffers")
        for table in (attributes["_parameters"], buffers, attributes["_modules"]):
            budget.spend(len(table) if isinstance(table, dict) else 0)
        for name, value in attributes["_parameters"].items():
            if value is not None:
                state[f"{prefix}{name}"] = value
        for name, value in buffers.items() if isinstance(buffers, dict) else ():
            if value is not None and not (isinstance(hidden, set) and name in hidden):
                state[f"{prefix}{name}"] = value
        for name, child in attributes["_modules"].items():
            if is_module(child):
                visit(child, f"{prefix}{name}.", depth + 1)

    visit(module, "", 0)
    return state
