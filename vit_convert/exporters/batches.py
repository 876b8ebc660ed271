"""Running a model of limited batch size over any number of images."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vit_convert.exporters.registry import Outputs

# Enough to keep all cores busy, and little enough for memory
DYNAMIC = 32


def in_batches(
    run: Callable[[np.ndarray], Outputs], images: np.ndarray, static: int | None = None
) -> Outputs:
    """Concatenate what `run` gives for slices of `images`.

    Args:
        run: images (batch, ...) -> output name -> array (batch, ...).
        images: (n, ...), n >= 1.
        static: the only batch size that `run` takes, None if it takes any. The last slice is padded
            with zeros to it, and what comes of them is dropped.
    """
    size = static or DYNAMIC
    parts = []
    for start in range(0, len(images), size):
        part = images[start : start + size]
        missing = static - len(part) if static else 0
        padding = [(0, missing)] + [(0, 0)] * (part.ndim - 1)
        parts.append(run(np.pad(part, padding) if missing else part))
    return {
        name: np.concatenate([part[name] for part in parts])[: len(images)] for name in parts[0]
    }
