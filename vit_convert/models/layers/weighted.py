"""Where a layer's weights come from: variables of its own, or whatever a caller supplies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import tensorflow as tf

# Keras path (`blocks.3/attn/qkv/kernel`) -> the tensor to compute with
Supply = Callable[[str], tf.Tensor]

_supply: ContextVar[Supply | None] = ContextVar("supply", default=None)


@contextmanager
def supplied_weights(supply: Supply) -> Iterator[None]:
    """Layers that are built meanwhile take tensors from `supply` and make no variables."""
    token = _supply.set(supply)
    try:
        yield
    finally:
        _supply.reset(token)


class Weighted:
    """Mixin for a Keras layer with weights; stands before it among the bases."""

    def add_weight(self, name: str, shape: Any = None, **kwargs: Any) -> Any:
        """A new variable, or inside `supplied_weights` the tensor supplied for its path."""
        supply = _supply.get()
        if supply is None:
            return super().add_weight(name=name, shape=shape, **kwargs)  # type: ignore[misc]  # Keras's
        # A layer is called, and therefore built, in the name scopes of the layers that hold it.
        return supply(f"{tf.get_current_name_scope()}/{name}")
