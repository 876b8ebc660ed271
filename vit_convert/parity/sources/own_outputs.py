"""Finds the logits in whatever a model gives: a tensor, a tuple, a mapping, an object."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from vit_convert.errors import UsageError

# names that outputs have, the most telling first
_LOGITS = ("logits", "output", "out", "pred", "prediction_logits")
_FEATURES = ("pooler_output", "image_embeds", "pooled", "features", "embedding")


def find_output(output: Any, count: int, features: bool, model: str) -> tuple[np.ndarray, str]:
    """The logits of a model's output, or its pooled features.

    Args:
        output: whatever the model gave.
        count: the number of images.
        features: what is wanted are features.
        model: its name, for the message.

    Returns:
        (count, classes) float32; and which part of several was taken, for people, or "".

    Raises:
        UsageError: there is nothing of that shape.
    """
    parts = list(_parts(output))
    fitting = [(name, array) for name, array in parts if array.ndim == 2 and len(array) == count]
    if not fitting:
        shapes = ", ".join(f"{name or 'a tensor'} {array.shape}" for name, array in parts)
        raise UsageError(
            f"gives {shapes or f'a {type(output).__name__}'} for {count} images",
            where=f"--model {model}",
            expected=f"{'features' if features else 'logits'} (images, values): a tensor, or a "
            "tuple, mapping or object that has them",
        )
    wanted = (*_FEATURES, *_LOGITS) if features else (*_LOGITS, *_FEATURES)
    places = {name: place for place, name in enumerate(wanted)}
    name, array = min(fitting, key=lambda part: places.get(part[0], len(places)))
    return array.astype(np.float32), name if len(parts) > 1 else ""


def _parts(output: Any) -> Iterator[tuple[str, np.ndarray]]:
    """The tensors of an output, and their names."""
    import torch

    if isinstance(output, torch.Tensor):
        yield "", output.detach().float().numpy()
    elif isinstance(output, Mapping):
        named = ((str(name), value) for name, value in output.items())
        yield from _tensors(named)
    elif isinstance(output, (tuple, list)):
        names = getattr(output, "_fields", None) or [f"output {i}" for i in range(len(output))]
        yield from _tensors(zip(names, output, strict=True))
    elif hasattr(output, "__dict__"):
        yield from _tensors(vars(output).items())


def _tensors(named: Any) -> Iterator[tuple[str, np.ndarray]]:
    import torch

    for name, value in named:
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            yield name, value.detach().float().numpy()
