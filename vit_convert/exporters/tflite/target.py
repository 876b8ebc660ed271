"""TFLite: builtin operations only, written without passing the weights through the converter, and
opened with LiteRT's interpreter."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from vit_convert.architectures import ModelSpec
from vit_convert.errors import UsageError
from vit_convert.exporters.artifact import Artifact, Inference, Outputs, Run
from vit_convert.exporters.metadata import Metadata, foreign
from vit_convert.exporters.options import QUANTISED, ExportOptions, InputRange, Precision
from vit_convert.exporters.quantisation_report import QuantisationReport
from vit_convert.exporters.registry import SourceModel, Target
from vit_convert.exporters.tflite.binding import bind
from vit_convert.exporters.tflite.flatbuffer import LIMIT, damaged, is_tflite, read_entry
from vit_convert.exporters.tflite.model_metadata import write_described
from vit_convert.exporters.tflite.quantised import write_quantised
from vit_convert.exporters.tflite.skeleton import Skeleton, convert
from vit_convert.folding import fold
from vit_convert.progress import Progress
from vit_convert.runtime.quiet_tensorflow import quiet

_Converted = tuple[ModelSpec, Mapping[str, np.ndarray], Skeleton]
_last_converted: WeakKeyDictionary[SourceModel, tuple[ExportOptions, _Converted]]
_last_converted = WeakKeyDictionary()
_DELEGATE = "DELEGATE"  # what the interpreter calls an operation that stands for many
_TABLES = 2**22  # bytes that a file has beside its weights, generously
# of a weight; channels have a scale each
_BYTES: dict[Precision, float] = {"float32": 4, "float16": 2, "int8-dynamic": 1.05, "int8": 1.05}


def _write(
    model: SourceModel, path: Path, options: ExportOptions, progress: Progress
) -> QuantisationReport | None:
    from vit_convert.exporters.tflite.calibration import calibration_images  # imports Pillow

    _check_size(model.spec, options.precision, path)
    if options.precision not in QUANTISED:
        _write_float(model, path, options, progress)
        return None
    calibration = calibration_images(
        options.calibration, model.spec, options.embed_preprocessing, progress
    )
    wide = path.with_name(f"{path.stem}_of_float32.tflite")
    metadata = _write_float(model, wide, replace(options, precision="float32"), progress)
    metadata = replace(metadata, options=options)
    return write_quantised(wide, path, metadata, calibration, _open, progress)


def _write_float(
    model: SourceModel, path: Path, options: ExportOptions, progress: Progress
) -> Metadata:
    """Write a file of the precision that its weights are stored in, of any size."""
    embedded = options.embed_preprocessing
    input_range: InputRange = "0..255" if embedded else "normalised"
    spec, weights, skeleton = _converted(model, options, input_range, progress)
    bound = bind(skeleton, weights, options.precision)
    scale = spec.config.stream_scale
    metadata = Metadata(TFLITE.name, model.spec, options, input_range, skeleton.outputs, scale)
    size = _estimated_size(model.spec, options.precision)
    write_described(
        path,
        bound.tree,
        bound.contents,
        metadata,
        beyond_limit=size >= LIMIT,
        progress=progress,
    )
    return metadata


def _converted(
    model: SourceModel, options: ExportOptions, input_range: InputRange, progress: Progress
) -> _Converted:
    """The folded model and its graph, which files of several precisions share."""
    same = replace(options, precision="float32", calibration=None)
    found = _last_converted.get(model)
    if found is None or found[0] != same:
        progress("converting the graph")
        spec, weights = model.spec, model.weights
        if not spec.config.folded:
            if options.output == "features":  # else the last norm would go into the head
                spec = spec.with_config(num_classes=0)
            spec, weights = fold(spec, weights)
        found = (same, (spec, weights, convert(spec, weights, options, input_range)))
        _last_converted[model] = found
    return found[1]


def _check_size(spec: ModelSpec, precision: Precision, path: Path) -> None:
    """Raises UsageError if the file would be larger than a flatbuffer can be."""
    sizes = {name: _estimated_size(spec, name) for name in _BYTES}
    if sizes[precision] < LIMIT:
        return
    fitting = [name for name, size in sizes.items() if size < LIMIT]
    raise UsageError(
        f"the weights are {sizes[precision] / 1e9:.2f} GB in {precision}, and a .tflite file is "
        f"at most {LIMIT / 1e9:.2f} GB (2 GiB)",
        where=path.name,
        expected="a precision that fits: "
        + (", ".join(f"{n} ({sizes[n] / 1e9:.2f} GB)" for n in fitting) or "there is none"),
        hint=" ".join(f"--precision {name}" for name in fitting[:1]) or "--saved-model",
    )


def _estimated_size(spec: ModelSpec, precision: Precision) -> float:
    """Bytes of the file."""
    return sum(math.prod(p.shape) for p in spec.parameters()) * _BYTES[precision] + _TABLES


def _open(path: Path) -> Artifact:
    metadata = _describe(path)
    interpreter = _interpreter(path)
    size = int(interpreter.get_input_details()[0]["shape_signature"][0])
    static = size if size > 0 else None
    dtype = interpreter.get_input_details()[0]["dtype"]
    runner = interpreter.get_signature_runner("serving_default")
    tensors = _block_tensors(interpreter, metadata)

    keeping = cache(lambda: _keeping(path, tensors))

    def run(images: np.ndarray) -> Outputs:
        return dict(runner(images=images.astype(dtype)))

    def blocks(images: np.ndarray) -> Outputs:
        return keeping()(images.astype(dtype))

    return metadata.artifact(path, run, blocks if tensors else None, static)


def _describe(path: Path) -> Metadata:
    content = read_entry(path)
    if content is None:
        raise foreign("a .tflite file", str(path), "--tflite")
    return Metadata.from_json(content, str(path))


def _interpreter(path: Path, threads: int | None = None, **options: Any) -> Any:
    """A LiteRT interpreter with its tensors allocated.

    Raises:
        ArtifactError: LiteRT refuses the file.
    """
    with quiet():
        from ai_edge_litert.interpreter import Interpreter

        try:
            interpreter = Interpreter(str(path), num_threads=threads or os.cpu_count(), **options)
            interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise damaged(path) from error
    return interpreter


def _block_tensors(interpreter: Any, metadata: Metadata) -> dict[str, int]:
    """ "embeddings", "blocks.0", ... -> tensor index; empty unless every one is found."""
    config = metadata.spec.config
    names = ["embeddings", *(f"blocks.{i}" for i in range(config.depth))]
    names += [f"blocks_token_only.{i}" for i in range(getattr(config, "depth_token_only", 0))]
    found = {tensor["name"]: tensor["index"] for tensor in interpreter.get_tensor_details()}
    return {name: found[name] for name in names} if found.keys() >= set(names) else {}


def _keeping(path: Path, tensors: dict[str, int]) -> Run:
    """images -> name -> tensor inside the graph, by an interpreter that reuses no memory."""
    from ai_edge_litert.interpreter import OpResolverType

    interpreter = _interpreter(
        path,
        experimental_preserve_all_tensors=True,
        # XNNPACK would keep what is inside its part of the graph to itself
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    entrance = interpreter.get_input_details()[0]["index"]

    def run(images: np.ndarray) -> Outputs:
        interpreter.resize_tensor_input(entrance, images.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(entrance, images)
        interpreter.invoke()
        return {name: interpreter.get_tensor(index) for name, index in tensors.items()}

    return run


def _prepare(path: Path, threads: int) -> Inference:
    """As `Target.prepare`; of any .tflite file, whoever wrote it. The interpreter alone is timed,
    without copying images to it."""
    interpreter = _interpreter(path, threads)
    rng = np.random.default_rng(0)
    for entry in interpreter.get_input_details():
        whole = np.issubdtype(entry["dtype"], np.integer)
        values = rng.integers(0, 128, entry["shape"]) if whole else rng.normal(size=entry["shape"])
        interpreter.set_tensor(entry["index"], values.astype(entry["dtype"]))
    operations = interpreter._get_ops_details()
    delegates = [node for node in operations if node["op_name"] == _DELEGATE]
    return Inference(
        interpreter.invoke,
        batch=int(interpreter.get_input_details()[0]["shape"][0]),
        operations=len(operations) - len(delegates),
        delegated=len(_behind(delegates, operations)),
    )


def _behind(delegates: list[Any], operations: list[Any]) -> set[int]:
    """Indices of the operations that delegates replaced: all on which a delegate's outputs depend
    and its inputs do not."""
    producers = {
        tensor: node
        for node in operations
        if node["op_name"] != _DELEGATE
        for tensor in node["outputs"]
    }
    found: set[int] = set()
    for delegate in delegates:
        inputs = set(delegate["inputs"])
        wanted = list(delegate["outputs"])
        while wanted:
            node = producers.get(wanted.pop())
            if node is not None and node["index"] not in found:
                found.add(node["index"])
                wanted += [tensor for tensor in node["inputs"] if tensor not in inputs]
    return found


TFLITE = Target(
    name="tflite",
    title="TFLite",
    filename=lambda stem, options: f"{stem}_{options.precision}.tflite",
    write=_write,
    matches=is_tflite,
    open=_open,
    describe=_describe,
    prepare=_prepare,
)
