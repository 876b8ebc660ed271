"""Progress reports of long work. They are shown elsewhere: see `vit_convert.cli.console`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar

_Item = TypeVar("_Item")


class Progress(Protocol):
    """A function that receives a report when a step begins, and as it goes on."""

    def __call__(
        self, step: str, done: int = 0, total: int = 0, part: int = 0, parts: int = 1, /
    ) -> None:
        """Report a step.

        Args:
            step: a description of the step, in the same words as long as it goes on.
            done: the number of things (pictures, tensors, layers) that are done.
            total: the number of things in this step; 0 where they cannot be counted.
            part: the number of pieces of work (artifacts) that are done.
            parts: the number of all pieces; the step belongs to the next one.
        """


def silent(step: str, done: int = 0, total: int = 0, part: int = 0, parts: int = 1, /) -> None:
    """A Progress that shows nothing."""


def of_part(progress: Progress, name: str, part: int, parts: int) -> Progress:
    """Make the Progress for one of several pieces of work.

    Args:
        progress: receives every step, with the name in front of it.
        name: the name of the piece of work, such as an artifact's.
        part, parts: the number of pieces that are done, and of all pieces.
    """

    def tell(step: str, done: int = 0, total: int = 0, *_: int) -> None:
        progress(f"{name}: {step}", done, total, part, parts)

    return tell


def counted(progress: Progress, step: str, items: Sequence[_Item]) -> Iterator[_Item]:
    """Yield the items, and report each one when it is done."""
    progress(step, 0, len(items))
    for done, item in enumerate(items, 1):
        yield item
        progress(step, done, len(items))


def duration(seconds: float) -> str:
    """125.0 -> "2 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
