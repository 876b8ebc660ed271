"""Run a .tflite file on one version of LiteRT, in that version's environment.

    python litert_worker.py MODEL.tflite IMAGES.npy OUTPUT.npy cpu|gpu CLASSES

Writes the first output that is (1, classes). On the GPU no operation may fall back to the CPU.
"""

from __future__ import annotations

import sys

import numpy as np

OUTPUTS = ("logits", "output_1")


def on_cpu(path: str, images: np.ndarray) -> np.ndarray:
    from ai_edge_litert.interpreter import Interpreter

    outputs = Interpreter(path).get_signature_runner("serving_default")(images=images)
    return next(outputs[name] for name in OUTPUTS if name in outputs)


def on_gpu(path: str, images: np.ndarray, classes: int) -> np.ndarray:
    from ai_edge_litert.compiled_model import CompiledModel
    from ai_edge_litert.hardware_accelerator import HardwareAccelerator

    from vit_convert.parity.gpu.worker import load_vulkan

    load_vulkan()
    # The argument that all versions know; `Options` came in 2.1.6.
    model = CompiledModel.from_file(path, hardware_accel=HardwareAccelerator.GPU)
    if hasattr(model, "is_fully_accelerated") and not model.is_fully_accelerated():
        raise RuntimeError("not every operation runs on the GPU")
    (names,) = (signature["outputs"] for signature in model.get_signature_list().values())
    inputs, outputs = model.create_input_buffers(0), model.create_output_buffers(0)
    inputs[0].write(images)
    model.run_by_index(0, inputs, outputs)
    place = next(i for i, name in enumerate(names) if name in OUTPUTS)
    return outputs[place].read(classes, np.float32).reshape(1, classes)


def main() -> None:
    path, images, output, where, classes = sys.argv[1:]
    pictures = np.load(images)
    found = on_cpu(path, pictures) if where == "cpu" else on_gpu(path, pictures, int(classes))
    np.save(output, np.asarray(found))


if __name__ == "__main__":
    main()
