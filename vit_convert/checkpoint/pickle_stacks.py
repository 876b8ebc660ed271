"""The stacks of the pickle machine, its memo, and what it may still do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vit_convert.checkpoint.constructs import call, hashable, is_short
from vit_convert.runtime.limits import (
    PICKLE_COPIES,
    PICKLE_ODD_KEYS,
    PICKLE_STEPS,
    Budget,
)

_MEMBER = 16  # what copying a member of a container costs, where copying a byte costs 1
# Steps that what makes a large object counts for, where a number or a text counts for one
_STEPS = dict.fromkeys(("EMPTY_SET", "FROZENSET"), 4) | dict.fromkeys(
    ("REDUCE", "NEWOBJ", "NEWOBJ_EX", "INST", "OBJ", "BINPERSID", "PERSID"), 10
)

PersistentLoad = Callable[[Any], Any]


class DamagedError(Exception):
    """The opcodes make no sense together."""


def no_persistent(pid: Any) -> Any:
    """Refuse every persistent id."""
    raise DamagedError("an object outside the pickle where there can be none")


class Machine:
    """Its stacks and memo.

    Args:
        persistent, size: see `load_pickle`.
    """

    def __init__(self, persistent: PersistentLoad, size: int) -> None:
        self.persistent = persistent
        self._steps = Budget(PICKLE_STEPS, size)
        # A short pickle could name one list a million times and have it copied each time.
        self._copies = Budget(PICKLE_COPIES, size)
        self._odd_keys = Budget(PICKLE_ODD_KEYS, size)
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # the stacks under the marks
        self.memo: dict[int, Any] = {}

    def step(self, opcode: str) -> None:
        """Count a step."""
        self._steps.spend(_STEPS.get(opcode, 1))

    def pop(self) -> Any:
        """Take the value on top."""
        return self.stack.pop()

    def pop_mark(self) -> list[Any]:
        """Take all values above the last mark."""
        items, self.stack = self.stack, self.below.pop()
        return items

    def call(self, function: Any, args: Any, kwargs: dict[Any, Any] | None = None) -> None:
        """Push what stands for a call."""
        self.charge(args)
        self.stack.append(call(function, args, kwargs, self.key))

    def key(self, value: Any) -> Any:
        """A dictionary key, or a member of a set; see `hashable`."""
        if type(value) is not str and not is_short(value):
            self._odd_keys.spend(1)
        return hashable(value)

    def charge(self, parts: Any) -> None:
        """Take what may be copied of these from the budget."""
        for part in parts if isinstance(parts, tuple) else ():
            if isinstance(part, (bytes, bytearray, str)):
                self._copies.spend(len(part))
            elif isinstance(part, (list, tuple, dict, set, frozenset)):
                self._copies.spend(len(part) * _MEMBER)
