"""The arguments of a kernel, and the activations that operations have fused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from vit_convert.errors import VitConvertError
from vit_convert.exporters.tflite.runtime.arithmetic import Arithmetic
from vit_convert.exporters.tflite.runtime.graph import Tensor


@dataclass(frozen=True)
class Call:
    """One operation to be computed.

    Attributes:
        inputs: float32 for float tensors and for integers that stand for numbers, else their own
            type; None for an input that is left out.
        options: the operation's options of `schema_py_generated`, or None.
        outputs: what the file declares of the outputs.
        arithmetic: how to round and sum.
    """

    inputs: tuple[np.ndarray | None, ...]
    options: Any
    outputs: tuple[Tensor, ...]
    arithmetic: Arithmetic

    def array(self, place: int) -> np.ndarray:
        """An input that must be there."""
        array = self.inputs[place]
        if array is None:
            raise VitConvertError(f"input {place} is missing", where=self.outputs[0].name)
        return array

    def integers(self, place: int) -> tuple[int, ...]:
        """An input of whole numbers, such as axes or a shape."""
        return tuple(self.array(place).reshape(-1).tolist())

    def option(self, name: str, default: Any = 0) -> Any:
        """One of the options; the format's default where there are none."""
        return getattr(self.options, name, default)


Kernel = Callable[[Call], "np.ndarray | list[np.ndarray]"]

# of schema.ActivationFunctionType
_ACTIVATIONS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    0: lambda x: x,
    1: lambda x: np.maximum(x, 0),
    2: lambda x: np.clip(x, -1, 1),
    3: lambda x: np.clip(x, 0, 6),
}


def activated(call: Call, array: np.ndarray) -> np.ndarray:
    """An array after the activation that the operation has fused."""
    kind = call.option("fusedActivationFunction")
    if kind not in _ACTIVATIONS:
        raise VitConvertError(
            f"no kernel has the fused activation {kind}", where=call.outputs[0].name
        )
    if kind == 0:
        return array
    return _ACTIVATIONS[kind](call.arithmetic.round(array))
