"""Run a .tflite file on LiteRT's GPU accelerator, in a process that native code may end.

    python gpu_worker.py MODEL.tflite OUTPUTS.npz

Writes the outputs on the CPU (c0, c1, ...) and on the GPU (g0, g1, ...) for the same inputs.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from ai_edge_litert.compiled_model import CompiledModel, HardwareAccelerator
from ai_edge_litert.interpreter import Interpreter

from vit_convert.parity.gpu.worker import load_vulkan


def values(entry: dict[str, Any], rng: np.random.Generator) -> np.ndarray:
    """Random values for an input."""
    if np.issubdtype(entry["dtype"], np.floating):
        return rng.normal(size=entry["shape"]).astype(entry["dtype"])
    return rng.integers(0, 9, entry["shape"]).astype(entry["dtype"])


def main() -> None:
    path, target = sys.argv[1:]
    interpreter = Interpreter(path)
    interpreter.allocate_tensors()
    rng = np.random.default_rng(0)
    inputs = {entry["index"]: values(entry, rng) for entry in interpreter.get_input_details()}
    for index, array in inputs.items():
        interpreter.set_tensor(index, array)
    interpreter.invoke()
    outputs = interpreter.get_output_details()
    found = {f"c{i}": interpreter.get_tensor(entry["index"]) for i, entry in enumerate(outputs)}
    load_vulkan()
    model = CompiledModel.from_file(path, hardware_accel=HardwareAccelerator.GPU)
    entering, leaving = model.create_input_buffers(0), model.create_output_buffers(0)
    for buffer, array in zip(entering, inputs.values(), strict=True):
        buffer.write(array)
    model.run_by_index(0, entering, leaving)
    for i, (buffer, entry) in enumerate(zip(leaving, outputs, strict=True)):
        shape = tuple(entry["shape"])
        found[f"g{i}"] = buffer.read(int(np.prod(shape)), entry["dtype"]).reshape(shape)
    np.savez(target, **found)


if __name__ == "__main__":
    main()
