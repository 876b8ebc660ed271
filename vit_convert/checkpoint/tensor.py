"""A tensor that is read when it is needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class LazyTensor:
    """One named array of a file, its bytes untouched until `read` is called.

    Attributes:
        name: the name in the file.
        shape: the shape as stored.
        dtype: the stored element type: "float64", "float32", "float16", "bfloat16", "int64" ...
        read: gives the array, mapped from the file where that is possible. NumPy has no bfloat16:
            such tensors are read as float32, which holds every bfloat16 exactly.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], np.ndarray]

    @staticmethod
    def of(name: str, array: np.ndarray) -> LazyTensor:
        """A tensor that is in memory already."""
        return LazyTensor(name, array.shape, array.dtype.name, lambda: array)


Tensors = Mapping[str, LazyTensor]
