"""The process that runs .tflite files on LiteRT's GPU accelerator; gpu_process.py starts it.

It is a process of its own because native code that meets a graph it cannot handle may end the
process, and tells what it does only on file descriptors 1 and 2: both lead to the worker's log.
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Any

import numpy as np

from vit_convert.errors import MissingDependencyError
from vit_convert.runtime.worker_process import serve

_LOADER = "libvulkan.so.1"


class Accelerator:
    """LiteRT's GPU accelerator without a CPU fallback, and the last model that it compiled.

    Raises:
        MissingDependencyError: this ai-edge-litert has no such thing in its Python API.
    """

    def __init__(self) -> None:
        try:
            from ai_edge_litert.compiled_model import (
                CompiledModel,
                Environment,
                HardwareAccelerator,
                Options,
            )

            self.environment = Environment.create()
            self.options = Options(hardware_accelerators=HardwareAccelerator.GPU)
            self.options.gpu_options.enforce_f32 = True
        except (ImportError, AttributeError) as error:
            raise MissingDependencyError(
                f"ai-edge-litert offers no GPU accelerator: {error}",
                where="--delegate gpu",
                expected="a version whose CompiledModel takes Options",
                hint="pip install 'ai-edge-litert>=2.3,<2.4'",
            ) from error
        self.factory = CompiledModel
        self.model: Any = None

    def compile(self, path: str) -> tuple[int, ...]:
        """Compile a file; gives the shape of its first input, () where it has none.

        Raises:
            RuntimeError: an operation is refused.
        """
        self.model = self.factory.from_file(
            path, environment=self.environment, options=self.options
        )
        if not self.model.is_fully_accelerated():
            raise RuntimeError("not every operation runs on the GPU")
        return next((tuple(shape) for _, shape, _ in self._details("input")), ())

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """The outputs of the compiled model, by name, for one batch of its size."""
        inputs = self.model.create_input_buffers(0)
        outputs = self.model.create_output_buffers(0)
        inputs[0].write(images.astype(self._details("input")[0][2]))
        self.model.run_by_index(0, inputs, outputs)
        return {
            name: buffer.read(int(np.prod(shape)), np.dtype(dtype).type).reshape(shape)
            for buffer, (name, shape, dtype) in zip(outputs, self._details("output"), strict=True)
        }

    def _details(self, side: str) -> list[tuple[str, list[int], str]]:
        """(name, shape, dtype) of the inputs or outputs, in the order of their buffers."""
        key, signature = next(iter(self.model.get_signature_list().items()))
        found = getattr(self.model, f"get_{side}_tensor_details")(key)
        return [(n, found[n]["shape"], found[n]["dtype"]) for n in signature[f"{side}s"]]


def load_vulkan() -> None:
    """Load the Vulkan loader: the system's, or else the one that lies beside the driver named in
    VK_ICD_FILENAMES, as it does in Chromium's folder. What asks for it by name then gets it."""
    drivers = os.environ.get("VK_ICD_FILENAMES", "").split(os.pathsep)
    beside = (os.path.join(os.path.dirname(driver), _LOADER) for driver in drivers if driver)
    for name in (_LOADER, *beside):
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        return


def main() -> None:
    """Answer requests until there are none."""
    if sys.platform == "linux":
        load_vulkan()
    serve(Accelerator)
