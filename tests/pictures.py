"""Pictures to calibrate on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def paint(folder: Path, count: int) -> Path:
    """Write smooth coloured pictures of 24x50, some into subfolders. Noise would not do: small
    models give the same class for all of it."""
    rng = np.random.default_rng(7)
    for i in range(count):
        home = folder / "nested" / "deeper" if i % 3 else folder
        home.mkdir(parents=True, exist_ok=True)
        grid = Image.fromarray(rng.integers(0, 256, (5, 5, 3), np.uint8))
        grid.resize((50, 24), Image.Resampling.BICUBIC).save(home / f"{i}.png")
    return folder
