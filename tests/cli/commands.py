"""What the tests of commands share beside fixtures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

CLASSES = ("ant", "bee", "cat", "dog", "eel", "fox", "gnu")


@dataclass(frozen=True)
class Done:
    """What a command gave."""

    code: int
    out: str
    err: str


Command = Callable[..., Done]
