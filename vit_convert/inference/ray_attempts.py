"""How often workers of Ray began on the same pictures: what tells a crash from a lost machine.

Ray calls again what a dead worker was asked, as often as it is told to. It counts a machine that is
lost, and each call of a worker that is not up again, like a picture at which the decoder crashes;
so it is told to go on for ever, and here is counted what workers really began.
"""

from __future__ import annotations

from collections import Counter

from vit_convert.errors import VitConvertError

OPENING = -1  # instead of the number of a unit: the artifacts are opened
_MOST = 5  # workers that may die at the same


class Attempts:
    """An actor of its own, on the machine that asks, which outlives those that score.

    Args:
        actors: so many open the artifacts at the same time.
    """

    def __init__(self, actors: int) -> None:
        self._actors = actors
        self._open: Counter[int] = Counter()

    def begin(self, what: int) -> VitConvertError | None:
        """Count a worker that begins on a unit, or on `OPENING`.

        Returns:
            the error to end with, when too many have died at it.
        """
        opening = what == OPENING
        most = _MOST + (self._actors - 1 if opening else 0)
        if self._open[what] < most:
            self._open[what] += 1
            return None
        at, needed = (
            ("as they opened the artifacts", "enough memory")
            if opening
            else ("at the same pictures", "pictures that can be decoded, and enough memory")
        )
        return VitConvertError(
            f"{most} workers died {at}",
            where="Ray",
            expected=needed,
            hint="predict without --ray, which ends at the picture; or a smaller --workers",
        )

    def end(self, what: int) -> None:
        """A worker is done with it."""
        self._open[what] -= 1
