"""How a training reports its progress."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class TrainingReport:
    """Where a training is.

    Attributes:
        epoch, epochs: the current one, from 1, and all.
        step, steps: of this epoch that are done, and all.
        phase: "head" or "all".
        loss, accuracy: running means of this epoch, the latter in percent.
        images_per_second: of the last steps.
        seconds_left: until the end, as far as can be told; NaN at the beginning.
        validation_accuracy: after the epoch before, in percent; None where there is none.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    phase: str
    loss: float
    accuracy: float
    images_per_second: float
    seconds_left: float
    validation_accuracy: float | None = None


Observer = Callable[[TrainingReport], None]


def unobserved(report: TrainingReport) -> None:
    """An Observer that shows nothing."""


class Pace:
    """How fast steps are, as a running mean that forgets.

    Args:
        batch_size: pictures in a step.
    """

    def __init__(self, batch_size: int) -> None:
        self._batch = batch_size
        self._seconds = float("nan")
        self._last = time.perf_counter()
        self._first = True

    def restart(self) -> None:
        """Do not count the time since the last step."""
        self._last = time.perf_counter()

    def step(self) -> None:
        """Count a step; the first one, which is slow because the graph is made, is not."""
        now = time.perf_counter()
        taken, self._last = now - self._last, now
        if self._first:
            self._first = False
        elif self._seconds != self._seconds:  # NaN
            self._seconds = taken
        else:
            self._seconds += 0.1 * (taken - self._seconds)

    @property
    def seconds(self) -> float:
        """Of a step; NaN before the second one."""
        return self._seconds

    @property
    def images_per_second(self) -> float:
        """NaN before the second step."""
        return self._batch / self._seconds if self._seconds else float("nan")
