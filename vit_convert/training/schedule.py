"""The learning rate of each step: a linear warm-up, then a cosine."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class CosineSchedule:
    """A cosine (Loshchilov and Hutter 2016, arXiv:1608.03983) over all steps, whose beginning a
    linear warm-up takes the place of (Goyal et al. 2017, arXiv:1706.02677); as timm's
    CosineLRScheduler with one cycle.

    Attributes:
        peak: the highest rate.
        floor: where the cosine ends.
        steps: in all.
        warmup_steps: of the warm-up.
    """

    peak: float
    floor: float
    steps: int
    warmup_steps: int

    def at(self, step: int) -> float:
        """The rate of a step, which are counted from 0."""
        if step < self.warmup_steps:
            return self.peak * (step + 1) / (self.warmup_steps + 1)
        progress = min(step, self.steps) / max(1, self.steps)
        return self.floor + (self.peak - self.floor) * 0.5 * (1 + math.cos(math.pi * progress))
