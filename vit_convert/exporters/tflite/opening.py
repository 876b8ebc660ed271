"""Opening a .tflite file: as a function with LiteRT's interpreter, and to be timed."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from vit_convert.architectures.text.examples import example_tokens
from vit_convert.exporters.artifact import Artifact, Inference, Outputs, Repeatable, Run
from vit_convert.exporters.metadata import Metadata, foreign
from vit_convert.exporters.tflite.flatbuffer import damaged, read_entry
from vit_convert.runtime.input_file import load_input
from vit_convert.runtime.processors import cores
from vit_convert.runtime.quiet_tensorflow import quiet

_READ = 1 << 30  # bytes: ViT-L in float16 and ViT-B in float32 are smaller
_DELEGATE = "DELEGATE"  # the interpreter's name of an operation that stands for many


def open_file(path: Path) -> Artifact:
    """As `Target.open`; `run` is `Repeatable`."""
    artifact = _open(path)
    return replace(artifact, run=Repeatable(artifact.run, lambda: _open(path, threads=1).run))


def _open(path: Path, threads: int | None = None) -> Artifact:
    metadata = describe_file(path)
    interpreter = _interpreter(path, threads)
    size = int(interpreter.get_input_details()[0]["shape_signature"][0])
    static = size if size > 0 else None
    dtype = interpreter.get_input_details()[0]["dtype"]
    runner = interpreter.get_signature_runner("serving_default")
    tensors = _block_tensors(interpreter, metadata)

    keeping = cache(lambda: _keeping(path, tensors))

    entrance = metadata.spec.input().name

    def run(images: np.ndarray) -> Outputs:
        return dict(runner(**{entrance: images.astype(dtype)}))

    def blocks(images: np.ndarray) -> Outputs:
        return keeping()(images.astype(dtype))

    return metadata.artifact(path, run, blocks if tensors else None, static)


def describe_file(path: Path) -> Metadata:
    """As `Target.describe`."""
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
            interpreter = Interpreter(**_source(path), num_threads=threads or cores(), **options)
            interpreter.allocate_tensors()
        except (OSError, ValueError, RuntimeError) as error:
            raise damaged(path) from error
    return interpreter


def _source(path: Path) -> dict[str, Any]:
    """What LiteRT is given: the bytes of a file, which it would map otherwise; see `load_input`."""
    data = load_input(path, _READ)
    if isinstance(data, np.memmap):
        return {"model_path": str(path)}
    return {"model_content": data.base}


def _block_tensors(interpreter: Any, metadata: Metadata) -> dict[str, int]:
    """ "embeddings", "blocks.0", ... -> tensor index; empty unless every one is found."""
    names = metadata.spec.blocks_before(metadata.output)
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
        return {name: _numbers(interpreter, index) for name, index in tensors.items()}

    return run


def _numbers(interpreter: Any, index: int) -> np.ndarray:
    """A tensor as the numbers that it stands for."""
    array = interpreter.get_tensor(index)
    if np.issubdtype(array.dtype, np.integer):
        scale, zero = interpreter.get_tensor_details()[index]["quantization"]
        array = (array.astype(np.float32) - zero) * np.float32(scale)
    return array


def prepare_file(path: Path, threads: int) -> Inference:
    """As `Target.prepare`; of any .tflite file, whoever wrote it. The interpreter alone is timed,
    without copying images to it."""
    interpreter = _interpreter(path, threads)
    rng = np.random.default_rng(0)
    own = describe_file(path).spec if read_entry(path) is not None else None
    for entry in interpreter.get_input_details():
        whole = np.issubdtype(entry["dtype"], np.integer)
        values = rng.integers(0, 128, entry["shape"]) if whole else rng.normal(size=entry["shape"])
        if own is not None and own.input().kind == "tokens":
            values = example_tokens(own.config, len(values))
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
