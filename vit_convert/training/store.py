"""Decoded pictures, kept in memory as far as a budget allows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from vit_convert.errors import VitConvertError
from vit_convert.images.decoding import load_image
from vit_convert.progress import Progress, silent
from vit_convert.runtime.processors import cores

Prepare = Callable[[Image.Image], Image.Image]
DEFAULT_BUDGET = 2_000_000_000  # bytes
_AT_ONCE = 256


class PictureStore:
    """Pictures by index. The first ones are decoded once and kept, as many as fit into the budget;
    the others are decoded each time.

    Args:
        paths: the files.
        prepare: what is done to each after decoding; it is kept as that leaves it.
        budget: bytes of pixels to keep.
        progress: told how many are decoded.

    Attributes:
        unreadable: problems of the files that cannot be read, by their index.
        sizes: how many of the files decoded so far have which (width, height).
    """

    def __init__(
        self,
        paths: Sequence[Path],
        prepare: Prepare | None = None,
        *,
        budget: int = DEFAULT_BUDGET,
        progress: Progress = silent,
    ) -> None:
        self.paths = tuple(paths)
        self.unreadable: dict[int, str] = {}
        self.sizes: Counter[tuple[int, int]] = Counter()
        self._prepare = prepare
        self._kept: list[np.ndarray | None] = []
        self._fill(budget, progress)

    def _fill(self, budget: int, progress: Progress) -> None:
        with ThreadPoolExecutor(cores()) as pool:
            for start in range(0, len(self.paths), _AT_ONCE):
                progress("decoding pictures", start, len(self.paths))
                part = range(start, min(start + _AT_ONCE, len(self.paths)))
                for pixels in pool.map(self._decoded, part):
                    budget -= 0 if pixels is None else pixels.nbytes
                    if budget < 0:
                        return
                    self._kept.append(pixels)
        progress("decoding pictures", len(self.paths), len(self.paths))

    def __len__(self) -> int:
        return len(self.paths)

    def pixels(self, index: int) -> np.ndarray | None:
        """A picture, (height, width, 3) uint8; None if it cannot be read."""
        return self._kept[index] if index < len(self._kept) else self._decoded(index)

    def _decoded(self, index: int) -> np.ndarray | None:
        if index in self.unreadable:
            return None
        try:
            image = load_image(self.paths[index])
            self.sizes[image.size] += 1
            return np.asarray(image if self._prepare is None else self._prepare(image))
        except (VitConvertError, OSError) as error:
            what = error.what if isinstance(error, VitConvertError) else str(error)
            self.unreadable[index] = f"{self.paths[index]}: {what}"
            return None
