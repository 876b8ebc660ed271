"""Run a .tflite file on one version of LiteRT, in that version's environment.

    python litert_worker.py MODEL.tflite IMAGES.npy OUTPUTS.npz cpu|gpu

Writes the outputs of the CPU and, for "gpu", those of the GPU, where no operation may fall back to
the CPU, under their names in the signature, behind "cpu/" and "gpu/".
"""

from __future__ import annotations

import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter

SIGNATURE = "serving_default"


def on_cpu(path: str, images: np.ndarray) -> dict[str, np.ndarray]:
    return dict(Interpreter(path).get_signature_runner(SIGNATURE)(images=images))


def on_gpu(path: str, images: np.ndarray, like: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    from ai_edge_litert.compiled_model import CompiledModel
    from ai_edge_litert.hardware_accelerator import HardwareAccelerator

    from vit_convert.parity.gpu.worker import load_vulkan

    load_vulkan()
    # The argument that all versions know; `Options` came in 2.1.6.
    model = CompiledModel.from_file(path, hardware_accel=HardwareAccelerator.GPU)
    if hasattr(model, "is_fully_accelerated") and not model.is_fully_accelerated():
        raise RuntimeError("not every operation runs on the GPU")
    names = model.get_signature_list()[SIGNATURE]["outputs"]
    inputs, outputs = model.create_input_buffers(0), model.create_output_buffers(0)
    inputs[0].write(images)
    model.run_by_index(0, inputs, outputs)
    return {
        name: buffer.read(like[name].size, np.float32).reshape(like[name].shape)
        for name, buffer in zip(names, outputs, strict=True)
    }


def main() -> None:
    path, images, target, where = sys.argv[1:]
    pictures = np.load(images)
    cpu = on_cpu(path, pictures)
    found = {f"cpu/{name}": array for name, array in cpu.items()}
    if where == "gpu":
        found |= {f"gpu/{k}": array for k, array in on_gpu(path, pictures, cpu).items()}
    np.savez(target, **found)


if __name__ == "__main__":
    main()
