"""Distributions that the first values of parameters are drawn from."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]  # (generator, shape) -> values


def constant(value: float) -> Draw:
    """The same value everywhere."""
    return lambda rng, shape: np.full(shape, value)


def normal(std: float) -> Draw:
    """Mean 0. timm's `trunc_normal_` is this as well: it cuts off at 2, far from any value."""
    return lambda rng, shape: std * rng.standard_normal(shape)


def cut_normal(std: float) -> Draw:
    """Mean 0, drawn again beyond two deviations: timm's `trunc_normal_tf_`, JAX's."""

    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        values = rng.standard_normal(shape)
        while (outside := np.abs(values) > 2).any():
            values[outside] = rng.standard_normal(int(outside.sum()))
        return std * values

    return draw


def uniform(bound: float) -> Draw:
    """Between -bound and bound."""
    return lambda rng, shape: rng.uniform(-bound, bound, shape)
