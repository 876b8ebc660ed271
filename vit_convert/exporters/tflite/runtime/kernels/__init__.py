"""The kernels: each kind of operation, computed in NumPy."""

from vit_convert.exporters.tflite.runtime.kernels import (
    elementwise,
    layout,
    products,
    reductions,
)
from vit_convert.exporters.tflite.runtime.kernels.call import Call, Kernel

# These copy numbers, which are rounded already.
EXACT = frozenset(layout.KERNELS)
KERNELS: dict[str, Kernel] = {
    **elementwise.KERNELS,
    **layout.KERNELS,
    **products.KERNELS,
    **reductions.KERNELS,
}

__all__ = ["EXACT", "KERNELS", "Call", "Kernel"]
