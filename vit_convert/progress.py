"""How long work tells what it does and how far it is. Who shows it is another matter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar

_Item = TypeVar("_Item")


class Progress(Protocol):
    """A function that is called when a step begins, and as it goes on."""

    def __call__(
        self, step: str, done: int = 0, total: int = 0, part: int = 0, parts: int = 1, /
    ) -> None:
        """Be told.

        Args:
            step: what is being done, in the same words as long as it goes on.
            done: things (pictures, tensors, layers) that are behind it.
            total: how many there are in this step; 0 where they cannot be counted.
            part: pieces of work (artifacts) that are behind it.
            parts: how many there are in all; the step belongs to the next one.
        """


def silent(step: str, done: int = 0, total: int = 0, part: int = 0, parts: int = 1, /) -> None:
    """A Progress that keeps it to itself."""


def of_part(progress: Progress, name: str, part: int, parts: int) -> Progress:
    """What one of several pieces of work tells its steps to.

    Args:
        progress: is told each step, behind the name.
        name: of the piece of work: an artifact's.
        part, parts: how many are behind it, and how many there are in all.
    """

    def tell(step: str, done: int = 0, total: int = 0, *_: int) -> None:
        progress(f"{name}: {step}", done, total, part, parts)

    return tell


def counted(progress: Progress, step: str, items: Sequence[_Item]) -> Iterator[_Item]:
    """The items; each is told when it is done with."""
    progress(step, 0, len(items))
    for done, item in enumerate(items, 1):
        yield item
        progress(step, done, len(items))
