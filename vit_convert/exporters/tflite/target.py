"""TFLite: builtin operations only, written without passing the weights through the converter, and
opened with LiteRT's interpreter."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from vit_convert.architectures import ModelSpec
from vit_convert.errors import UsageError
from vit_convert.exporters.batches import in_batches
from vit_convert.exporters.metadata import Metadata, foreign
from vit_convert.exporters.registry import (
    Artifact,
    ExportOptions,
    Inference,
    InputRange,
    Outputs,
    Precision,
    SourceModel,
    Target,
)
from vit_convert.exporters.tflite.binding import bind
from vit_convert.exporters.tflite.flatbuffer import (
    add_entry,
    damaged,
    is_tflite,
    read_entry,
    write,
)
from vit_convert.exporters.tflite.skeleton import convert
from vit_convert.folding import fold
from vit_convert.tensorflow_quiet import quiet

_DELEGATE = "DELEGATE"  # what the interpreter calls an operation that stands for many
_LIMIT = 2**31  # bytes: offsets in a flatbuffer are signed for some of its readers
_TABLES = 2**22  # bytes that a file has beside its weights, generously
_BYTES: dict[Precision, int] = {"float32": 4, "float16": 2}  # of a weight


def _write(model: SourceModel, path: Path, options: ExportOptions) -> None:
    embedded = options.embed_preprocessing
    input_range: InputRange = "0..255" if embedded else "normalised"
    spec, weights = model.spec, model.weights
    _check_size(spec, options.precision, path)
    if not spec.config.folded:
        if options.output == "features":  # else the last norm's parameters would go into the head
            spec = spec.with_config(num_classes=0)
        spec, weights = fold(spec, weights)
    skeleton = convert(spec, weights, options, input_range)
    bound = bind(skeleton, weights, options.precision)
    metadata = Metadata(TFLITE.name, model.spec, options, input_range, skeleton.outputs)
    add_entry(bound.tree, metadata.to_json().encode())
    write(path, bound.tree, bound.contents)


def _check_size(spec: ModelSpec, precision: Precision, path: Path) -> None:
    """Raises UsageError if the file would be larger than a flatbuffer can be."""
    count = sum(math.prod(p.shape) for p in spec.parameters())
    sizes = {name: count * size + _TABLES for name, size in _BYTES.items()}
    if sizes[precision] < _LIMIT:
        return
    fitting = [name for name, size in sizes.items() if size < _LIMIT]
    raise UsageError(
        f"the weights are {sizes[precision] / 1e9:.2f} GB in {precision}, and a .tflite file is "
        f"at most {_LIMIT / 1e9:.2f} GB (2 GiB)",
        where=path.name,
        expected="a precision that fits: "
        + (", ".join(f"{n} ({sizes[n] / 1e9:.2f} GB)" for n in fitting) or "there is none"),
        hint=" ".join(f"--precision {name}" for name in fitting[:1]) or "--saved-model",
    )


def _open(path: Path) -> Artifact:
    content = read_entry(path)
    if content is None:
        raise foreign("a .tflite file", str(path), "--tflite")
    metadata = Metadata.from_json(content, str(path))
    interpreter = _interpreter(path)
    size = int(interpreter.get_input_details()[0]["shape_signature"][0])
    static = size if size > 0 else None
    dtype = interpreter.get_input_details()[0]["dtype"]
    runner = interpreter.get_signature_runner("serving_default")
    tensors = _block_tensors(interpreter, metadata)

    def once(images: np.ndarray) -> Outputs:
        outputs = runner(images=images)
        return {name: outputs[name] for name in metadata.outputs}

    def run(images: np.ndarray) -> Outputs:
        return in_batches(once, images.astype(dtype), static)

    def blocks(images: np.ndarray) -> Outputs:
        return in_batches(_keeping(path, tensors), images.astype(dtype), static)

    return Artifact(
        path,
        metadata.target,
        metadata.spec,
        metadata.options,
        metadata.input_range,
        run,
        blocks if tensors else None,
        metadata.attention(run),
    )


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


def _keeping(path: Path, tensors: dict[str, int]) -> Callable[[np.ndarray], Outputs]:
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
    prepare=_prepare,
)
