"""Finds the weights in a checkpoint: at its top, or under `model`, `state_dict`, ...

A state dict is a mapping from names to values most of which are tensors. Without a choice by the
user, the order is: the top level; then the names of `PREFERRED`, first to last, each directly
before inside another mapping; then any other name, most tensors first. So an average of weights
(`model_ema`) is taken only when it is chosen, or when there is nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from vit_convert.checkpoint.dtypes import readable
from vit_convert.checkpoint.inert import Inert, printable
from vit_convert.checkpoint.modules import is_module, module_state
from vit_convert.checkpoint.numpy_pickles import NumpyArray
from vit_convert.checkpoint.tensor import LazyTensor
from vit_convert.errors import CheckpointError
from vit_convert.runtime.limits import STATE_DICTS, Budget

PREFERRED = (
    "model",
    "state_dict",
    "model_state_dict",
    "module",
    "net",
    "teacher",
    "student",
    "ema",
    "model_ema",
)


@dataclass(frozen=True)
class StateDict:
    """One nesting that holds weights.

    Attributes:
        key: the names that lead to it, joined by dots; "" for the top level.
        tensors: its tensors, under the names in the file.
        others: what else is in it.
    """

    key: str
    tensors: dict[str, LazyTensor]
    others: dict[str, Any]


def as_tensor(value: Any) -> LazyTensor | None:
    """A tensor of PyTorch's or NumPy's, if this is one; numbers alone are none."""
    if isinstance(value, LazyTensor):
        return value
    array = value.array if isinstance(value, NumpyArray) else None
    if array is not None and readable(array.dtype.name):
        return LazyTensor.of("", array)
    return None


def mapping(value: Any, budget: Budget) -> dict[str, Any]:
    """The named parts of a value, {} if it has none; of a list, by position.

    Args:
        value: anything that a pickle makes.
        budget: see `module_state`.
    """
    if is_module(value):
        return module_state(value, budget)
    match value:
        case dict():
            table = value
        case Inert(entries=entries) if entries:
            table = entries  # a subclass of dict
        case list() | tuple():
            table = {str(position): part for position, part in enumerate(value[:100])}
        case _:
            table = {}
    return {name: part for name, part in table.items() if isinstance(name, str)}


def state_dicts(root: Any, budget: Budget) -> list[StateDict]:
    """Every nesting that holds weights, the preferred one first; at most two names deep.

    Args:
        root: what a checkpoint holds.
        budget: see `module_state`.

    Raises:
        CheckpointError: there are more than any checkpoint has.
    """
    search = _Search(budget)
    found = list(search.below(root))
    for name, value in mapping(root, budget).items():
        if search.weights(value) is None:
            for below in search.below(value):
                found.append(replace(below, key=f"{name}.{below.key}"))
        STATE_DICTS.check(len(found))
    whole = search.weights(root)
    # {"state_dict": {...}, "mean": tensor, "std": tensor} is not itself a state dict
    if whole is not None and not any(state.key in PREFERRED for state in found):
        found.append(whole)
    return sorted(found, key=_rank)


class _Search:
    """Looks into every value once, however many names it has."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._weights: dict[int, StateDict | None] = {}
        self._below: dict[int, list[StateDict]] = {}

    def weights(self, value: Any) -> StateDict | None:
        """The value as a state dict, if it is one."""
        if id(value) not in self._weights:
            tensors: dict[str, LazyTensor] = {}
            others: dict[str, Any] = {}
            for name, part in mapping(value, self._budget).items():
                tensor = as_tensor(part)
                if tensor is None:
                    others[name] = part
                else:
                    tensors[name] = tensor
            is_one = len(tensors) > len(others)
            self._weights[id(value)] = StateDict("", tensors, others) if is_one else None
        return self._weights[id(value)]

    def below(self, value: Any) -> list[StateDict]:
        """The state dicts among its parts."""
        if id(value) not in self._below:
            found: list[StateDict] = []
            for name, part in mapping(value, self._budget).items():
                if state := self.weights(part):
                    found.append(replace(state, key=name))
                    STATE_DICTS.check(len(found))
            self._below[id(value)] = found
        return self._below[id(value)]


def _rank(state: StateDict) -> tuple[Any, ...]:
    if state.key == "":
        return (0,)
    names = state.key.split(".")
    if names[0] in PREFERRED:
        inner = PREFERRED.index(names[1]) if names[1:] and names[1] in PREFERRED else len(PREFERRED)
        return (1, PREFERRED.index(names[0]), len(names), inner)
    return (2, -len(state.tensors))


def choose(found: list[StateDict], key: str | None, where: str) -> StateDict:
    """The state dict that the user chose, or the preferred one.

    Raises:
        CheckpointError: there is none, or none of that name.
    """
    if not found:
        raise CheckpointError(
            "there are no weights in it",
            where=where,
            expected="a state dict: names with tensors, at the top or under model, state_dict, ...",
        )
    if key is None:
        return found[0]
    matches = [state for state in found if state.key == key]
    if not matches and key:
        matches = [state for state in found if state.key.startswith(key + ".")]
    if len(matches) != 1:
        names = ", ".join(printable(state.key) or "the top level ('')" for state in found[:20])
        raise CheckpointError(
            f"there is no state dict under the key {key!r}",
            where=where,
            expected=f"one of: {names}",
            hint="leave --key out to take the first of them",
        )
    return matches[0]
