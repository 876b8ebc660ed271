"""Quantising a float32 .tflite file with AI Edge Quantizer: which operations, and how.

Quantised are the linear layers, whose weights are nearly all of a model and whose multiplications
nearly all of its work. Everything else stays in float: the parts of a norm, softmax, GELU and
residual adds, which break a ViT in int8; the patch embedding, which nothing makes up for and which
cost three times what any linear layer did; the talking heads, a few numbers each, whose activations
take longer to quantise than to mix; and the products of activations (int8 is slower on the CPU, and
softmax's small probabilities would be lost).
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vit_convert.exporters.tflite.flatbuffer import tree_of
from vit_convert.progress import Progress
from vit_convert.runtime.quiet_tensorflow import quiet

_SIGNATURE = "serving_default"
OPERATION = "FULLY_CONNECTED"
Ranges = Mapping[str, Any]
# What becomes of a layer. static: weights and activations are int8, in fixed ranges. dynamic: the
# weights are int8, and of the float activations CPU kernels make int8 as they run, in ranges of the
# moment. float: it stays as it is. (With int8 weights behind a DEQUANTIZE instead, LiteRT's GPU
# delegate refuses the whole file: "Shape mismatch".)
Mode = Literal["static", "dynamic", "float"]


@dataclass(frozen=True)
class Layer:
    """A linear layer.

    Attributes:
        name: "blocks.3.mlp.fc2".
        tensor: the name of its output, by which the quantizer knows it.
        inner: whether its activations can be "static": not where its output are the logits or the
            residual stream.
    """

    name: str
    tensor: str
    inner: bool


def layers_of(path: Path) -> list[Layer]:
    """The linear layers of a .tflite file, but for talking heads, in the order of execution."""
    from ai_edge_litert import schema_py_generated as schema

    tree = tree_of(np.memmap(path, np.uint8, mode="r"))
    (main,) = tree.subgraphs
    kinds = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
    names = [kinds[tree.operatorCodes[o.opcodeIndex].builtinCode] for o in main.operators]
    consumers: dict[int, list[str]] = {int(i): [""] for i in main.outputs}
    for operator, kind in zip(main.operators, names, strict=True):
        for index in map(int, operator.inputs):
            consumers.setdefault(index, []).append(kind)
    found = []
    for operator, kind in zip(main.operators, names, strict=True):
        if kind != OPERATION:
            continue
        output, weight = int(operator.outputs[0]), main.tensors[int(operator.inputs[1])]
        name = weight.name.decode()
        if name.endswith(".weight"):  # talking heads' are the converter's own constants
            takers = consumers[output]
            stream = "ADD" in takers and len(takers) > 1  # the next branch, and what it is added to
            inner = not stream and "" not in takers
            tensor = main.tensors[output].name.decode()
            found.append(Layer(name.removesuffix(".weight"), tensor, inner))
    return found


def calibrate(path: Path, images: np.ndarray, batch: int, progress: Progress) -> Ranges:
    """The smallest and largest value of every tensor of a float32 file.

    Not the moving average that the quantizer takes by default: it cuts off the rare large values,
    and more than doubled the largest error on the logits of both models of weights/.

    Args:
        path: the file.
        images: (n, height, width, channels), as the file takes them.
        batch: the batch size that the file takes; the last one is filled with the first images.
        progress: told how many images are done.
    """
    with _quiet_quantizer():
        from ai_edge_quantizer import calibrator, recipe_manager
        from ai_edge_quantizer.utils.qsv_utils import min_max_update

        calibration = calibrator.Calibrator(
            str(path),
            mode=calibrator.CalibrationMode.CALIBRATION_PROFILER_BASED,
            qsv_update_func=min_max_update,
        )
    recipe = recipe_manager.RecipeManager()
    for start in range(0, len(images), batch):
        progress("calibrating on images", start, len(images))
        part = images[np.arange(start, start + batch) % len(images)]
        with _quiet_quantizer():
            calibration.calibrate({_SIGNATURE: [{"images": part}]}, recipe)
    ranges: Ranges = calibration.get_model_qsvs()
    return ranges


def quantise(path: Path, plan: Mapping[Layer, Mode], ranges: Ranges | None = None) -> Any:
    """Quantise layers of a float32 file, weights per output channel.

    Args:
        path: the file.
        plan: how to quantise which layer.
        ranges: what `calibrate` gave; needed where a layer is "static".

    Returns:
        the model in flatbuffers' object form.
    """
    with _quiet_quantizer():
        from ai_edge_quantizer import quantizer

        work = quantizer.Quantizer(str(path))
        for layer, mode in plan.items():
            scope = f"^{re.escape(layer.tensor)};$"
            if mode == "static":
                work.add_static_config(scope, OPERATION, 8, 8)
            elif mode == "dynamic":
                work.add_dynamic_config(scope, OPERATION, 8)
        result = work.quantize(
            None if ranges is None or "static" not in plan.values() else dict(ranges),
            enable_progress_bar=False,
            enable_progress_report=False,
        )
    return tree_of(result.quantized_model)


@contextmanager
def _quiet_quantizer() -> Iterator[None]:
    """Hold back the quantizer's progress bars, and its warnings of what it itself does."""
    with quiet(), redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
