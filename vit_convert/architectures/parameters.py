"""Parameters under their canonical (timm) names, and how each lies in the Keras model.

Four leaf rules cover everything. A parameter's `kind` says which one holds:

    linear  weight (out, in)         <-> kernel (in, out)
    conv    weight (out, in, h, w)   <-> kernel (h, w, in, out)
    norm    weight, bias (channels,) <-> gamma, beta
    plain   anything                 <-> the same; a parameter of the root becomes the `value` of
                                         the layer of its name (cls_token <-> cls_token/value)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

Kind = Literal["linear", "conv", "norm", "plain"]
Shape = tuple[int, ...]

# of a batch normalisation, (channels,) each
BATCH_NORM = ("weight", "bias", "running_mean", "running_var")
_LEAVES: dict[tuple[Kind, str], str] = {
    ("linear", "weight"): "kernel",
    ("conv", "weight"): "kernel",
    ("norm", "weight"): "gamma",
    ("norm", "bias"): "beta",
}
# axes[i] is the PyTorch axis that becomes Keras axis i; the inverse is computed from it
_KERNEL_AXES: dict[Kind, tuple[int, ...]] = {"linear": (1, 0), "conv": (2, 3, 1, 0)}


@dataclass(frozen=True)
class Parameter:
    """One array of a model.

    Attributes:
        name: canonical name, as in timm's state dict.
        shape: shape in PyTorch's layout.
        kind: which leaf rule holds.
    """

    name: str
    shape: Shape
    kind: Kind

    @property
    def layer(self) -> str:
        """The Keras layer of the model that holds it: `blocks.3`, `patch_embed`, `norm`, ..."""
        parts = self.name.split(".")
        return ".".join(parts[:2]) if len(parts) > 1 and parts[1].isdigit() else parts[0]

    @property
    def keras_path(self) -> str:
        """The Keras variable's path: `blocks.3/attn/qkv/kernel`."""
        inner = self.name.removeprefix(self.layer).lstrip(".")
        if not inner:
            return f"{self.layer}/value"
        *modules, leaf = inner.split(".")
        return "/".join([self.layer, *modules, _LEAVES.get((self.kind, leaf), leaf)])

    @property
    def _axes(self) -> tuple[int, ...] | None:
        return _KERNEL_AXES.get(self.kind) if self.name.endswith(".weight") else None

    @property
    def keras_shape(self) -> Shape:
        """The shape in Keras's layout."""
        return tuple(self.shape[axis] for axis in self._axes) if self._axes else self.shape

    def to_keras(self, array: np.ndarray) -> np.ndarray:
        """PyTorch layout to Keras layout (a view)."""
        return array.transpose(self._axes) if self._axes else array

    def from_keras(self, array: np.ndarray) -> np.ndarray:
        """Keras layout to PyTorch layout (a view)."""
        return array.transpose(np.argsort(self._axes)) if self._axes else array


def linear(name: str, inputs: int, outputs: int, bias: bool = True) -> Iterator[Parameter]:
    """weight (outputs, inputs) and, if asked for, bias (outputs,)."""
    yield Parameter(f"{name}.weight", (outputs, inputs), "linear")
    if bias:
        yield Parameter(f"{name}.bias", (outputs,), "plain")


def convolution(
    name: str, inputs: int, outputs: int, kernel: tuple[int, int], bias: bool = True
) -> Iterator[Parameter]:
    """weight (outputs, inputs, height, width) and, if asked for, bias (outputs,)."""
    yield Parameter(f"{name}.weight", (outputs, inputs, *kernel), "conv")
    if bias:
        yield Parameter(f"{name}.bias", (outputs,), "plain")


def norm(name: str, channels: int, bias: bool = True) -> Iterator[Parameter]:
    """weight and, if asked for, bias (channels,)."""
    yield Parameter(f"{name}.weight", (channels,), "norm")
    if bias:
        yield Parameter(f"{name}.bias", (channels,), "norm")


def plain(name: str, *shape: int) -> Iterator[Parameter]:
    """A parameter that lies the same in both worlds."""
    yield Parameter(name, shape, "plain")
