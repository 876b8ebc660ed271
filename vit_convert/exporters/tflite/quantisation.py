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
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vit_convert.exporters.options import Precision
from vit_convert.exporters.tflite.flatbuffer import TfliteModel, operation_name, text_of, tree_of
from vit_convert.progress import Progress
from vit_convert.runtime.quiet_tensorflow import quiet

_SIGNATURE = "serving_default"
OPERATION = "FULLY_CONNECTED"
_ROOM = 4
_NOT = "no_quantize"  # the quantizer's name of an algorithm that does nothing
_PASSING = ("ADD", "MUL", "RESHAPE", "SOFTMAX", "LOGISTIC", "RELU", "RESIZE_BILINEAR")
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
            residual stream, nor maps, whose sums leave the ranges of the calibration pictures
            (of a randomised Depth Anything on noise, 0.31 of the depth's range was lost).
    """

    name: str
    tensor: str
    inner: bool


def layers_of(path: Path) -> list[Layer]:
    """The linear layers of a .tflite file; see `linear_layers`."""
    return linear_layers(tree_of(np.memmap(path, np.uint8, mode="r")))


def linear_layers(tree: Any) -> list[Layer]:
    """The linear layers of a graph, but for talking heads, in the order of execution.

    Args:
        tree: the model in flatbuffers' object form.
    """
    (main,) = tree.subgraphs
    kinds = [operation_name(tree.operatorCodes[node.opcodeIndex]) for node in main.operators]
    followers: dict[int, list[int]] = {}
    for place, node in enumerate(main.operators):
        for index in map(int, node.inputs):
            followers.setdefault(index, []).append(place)
    outputs = set(map(int, main.outputs))

    @cache
    def leads_out(tensor: int) -> bool:
        """Whether a tensor becomes an output by nothing but additions and the like."""
        return tensor in outputs or any(
            leads_out(int(main.operators[place].outputs[0]))
            for place in followers.get(tensor, ())
            if kinds[place] in _PASSING
        )

    found = []
    for node, kind in zip(main.operators, kinds, strict=True):
        name = text_of(main.tensors[int(node.inputs[1])].name) if kind == OPERATION else ""
        if name.endswith(".weight"):
            output = int(node.outputs[0])
            tensor, shape = text_of(main.tensors[output].name), main.tensors[output].shape
            is_map = len(shape) == 4 and shape[1] > 1  # tokens are (batch, 1, tokens, channels)
            inner = not (is_map or leads_out(output))
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


def quantise(
    path: Path, plan: Mapping[Layer, Mode], ranges: Ranges, precision: Precision
) -> TfliteModel:
    """Quantise a float32 file with AI Edge Quantizer, weights per output channel.

    int8 quantises the layers of the plan alone. int16x8 quantises every operation that the
    quantizer can, but for linear layers that the plan has not; inputs and outputs stay in float.

    Args:
        path: the file.
        plan: how to quantise which layer.
        ranges: of `calibrate`.
        precision: int8 or int16x8.
    """
    with _quiet_quantizer():
        from ai_edge_quantizer import quantizer

        work = quantizer.Quantizer(str(path))
        if precision == "int16x8":
            work.add_static_config(".*", "*", 16, 8)
            ranges = {name: _widened(found) for name, found in ranges.items()}
            for boundary in ("INPUT", "OUTPUT"):
                work.update_quantization_recipe(".*", boundary, algorithm_key=_NOT)
            for layer in layers_of(path):
                if plan.get(layer, "float") == "float":
                    work.update_quantization_recipe(_scope(layer), "*", algorithm_key=_NOT)
        else:
            for layer, mode in plan.items():
                if mode == "static":
                    work.add_static_config(_scope(layer), OPERATION, 8, 8)
                elif mode == "dynamic":
                    work.add_dynamic_config(_scope(layer), OPERATION, 8)
        static = precision == "int16x8" or "static" in plan.values()
        result = work.quantize(
            dict(ranges) if static else None,
            enable_progress_bar=False,
            enable_progress_report=False,
        )
    return TfliteModel(tree_of(result.quantized_model), {})


def _widened(found: Mapping[str, Any]) -> dict[str, Any]:
    """A range with room for values that calibration images have not shown. In 16 bits it costs two
    bits of the precision; without it, noise changed the logits of randomised models by up to
    0.25."""
    ends = {end: _ROOM * found[end] for end in ("min", "max") if end in found}
    return {**found, **ends}


def _scope(layer: Layer) -> str:
    """The quantizer knows an operation by the names of its outputs."""
    return f"^{re.escape(layer.tensor)};$"


@contextmanager
def _quiet_quantizer() -> Iterator[None]:
    """Hold back the quantizer's progress bars, and its warnings of what it itself does."""
    with quiet(), redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
