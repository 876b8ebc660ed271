"""A .tflite file on LiteRT's real GPU accelerator, without a CPU fallback: does it take every
operation, which one does it refuse and where in the model is that, and what does it compute?"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np

from vit_convert.errors import ArtifactError, MissingDependencyError, UsageError
from vit_convert.exporters.artifact import Artifact, Outputs, in_batches
from vit_convert.exporters.metadata import Metadata
from vit_convert.exporters.tflite.flatbuffer import read_entry
from vit_convert.exporters.tflite.graph_reader import Operation, TfliteGraph
from vit_convert.parity.gpu.parts import write_alone, write_with_outputs
from vit_convert.parity.gpu.process import GpuError, GpuProcess, environments

# What the delegate says of a graph that it does not take as a whole
_REFUSED = re.compile(
    r"Following operations are not supported by GPU delegate:\n((?:.*\n)*?)"
    r"(No|\d+) operations will run on the GPU, and (?:the remaining|all) (\d+) operations"
)
_OTHER_LINE = re.compile(r"(?:INFO|WARNING|ERROR): |[IWEF]\d{4} ")
_DYNAMIC = re.compile(r"only supports static-sized tensors.*\(tensor#(\d+) is a dynamic")
# More outputs may make the GPU join operations otherwise, which may change the rounding.
_ROUNDING = 1e-5


@dataclass(frozen=True)
class Refusal:
    """An operation that the GPU refuses.

    Attributes:
        name: "BATCH_MATMUL", ...
        reason: in the delegate's words.
        block: what it belongs to: "blocks.3", "embeddings", ...; "" where that is not known.
        tensor: the name of its output, which holds the layer's; "" where that is not known.
    """

    name: str
    reason: str
    block: str = ""
    tensor: str = ""

    def __str__(self) -> str:
        return f"{self.name}{f' in {self.block}' if self.block else ''} ({self.reason})"


@dataclass(frozen=True)
class GpuReport:
    """The operations of a graph that the GPU runs and those that it refuses.

    Attributes:
        adapter: the GPU, as its driver calls it.
        runtime: the library and its version.
        operations: how many there are in the graph.
        on_gpu: how many of them the GPU would run.
        refused: kinds of operations that it refuses, and why, in the delegate's words and order.
        first_refused: the first one in the order of execution.
        problem: why nothing was run, "" where all of the graph runs on the GPU.
    """

    adapter: str
    runtime: str
    operations: int
    on_gpu: int
    refused: tuple[str, ...] = ()
    first_refused: Refusal | None = None
    problem: str = ""


@contextmanager
def on_gpu(artifact: Artifact) -> Iterator[tuple[GpuReport, Artifact | None]]:
    """Compile a .tflite file for the GPU alone; arithmetic is in float32.

    Gives the report, and the artifact with `run` and `blocks` on the GPU while the context lasts,
    or None where the GPU does not take all of it. `blocks` runs a copy of the file that has their
    tensors as outputs; it gives nothing where that cannot be, or changes the first output.

    Raises:
        UsageError: the artifact is no .tflite file.
        MissingDependencyError: there is no GPU, or this ai-edge-litert has no accelerator for it.
        ArtifactError: from `run`, where the GPU fails after all (it has too little memory, say).
    """
    if artifact.kind != "tflite":
        raise UsageError(
            f"only TFLite files run on the GPU accelerator, and this is a {artifact.kind} artifact",
            where="--delegate gpu",
            expected="a .tflite file",
            hint="vit-convert export MODEL.h5 --tflite",
        )
    metadata = Metadata.from_json(read_entry(artifact.path) or b"", str(artifact.path))
    graph = TfliteGraph(artifact.path)
    with ExitStack() as stack:
        process, size, failure = compiled(artifact.path, stack)
        report = GpuReport(
            adapter=process.adapter or "not named",
            runtime=f"ai-edge-litert {version('ai-edge-litert')}",
            operations=len(graph.operations),
            on_gpu=len(graph.operations),
        )
        if failure is not None:
            yield _explained(report, failure, graph, process), None
            return

        def run(images: np.ndarray) -> Outputs:
            try:
                outputs = in_batches(process.run, images, size)
            except GpuError as error:
                raise ArtifactError(
                    f"the GPU took the graph, and then failed to run it: {error.reason}",
                    where=str(artifact.path),
                ) from error
            return {name: outputs[name] for name in metadata.outputs}

        def blocks(images: np.ndarray) -> Outputs:
            found, names = graph.blocks(), metadata.spec.blocks_before(metadata.output)
            if not found.keys() >= set(names):
                return {}
            tensors = {name: found[name] for name in names}
            outputs = _with_tensors(graph, tensors, process.environment, images)
            same = _equal(run(images), outputs, metadata.outputs[0])
            return metadata.unscaled({name: outputs[name] for name in tensors}) if same else {}

        yield report, replace(artifact, run=run, blocks=blocks)


def parse_refusal(log: str) -> tuple[tuple[str, ...], int, int] | None:
    """Find in the log which operations the delegate refuses.

    Returns:
        the refusals ("NAME: reason", ...), the number of operations that it takes, and the number
        of all operations; None where the log says nothing about them. Refusals without a reason are
        left out, because they follow from others: a DEQUANTIZE, for example, whose weights go to an
        operation that runs on the CPU.
    """
    found = _REFUSED.search(log)
    if found is None:
        return None
    lines = [line.rstrip(" .") for line in found[1].splitlines()]
    refused = [line for line in lines if line and not _OTHER_LINE.match(line)]
    taken = 0 if found[2] == "No" else int(found[2])
    reasoned = tuple(line for line in refused if not line.endswith(":")) or tuple(refused)
    return (reasoned, taken, taken + int(found[3])) if reasoned else None


def compiled(path: Path, stack: ExitStack) -> tuple[GpuProcess, int, GpuError | None]:
    """A process with a .tflite file, anyone's, compiled on the first GPU there is; and the size of
    its input's first axis, or how compiling failed.

    Raises:
        MissingDependencyError: as `on_gpu`.
    """
    missing: MissingDependencyError | None = None
    for environment in environments():
        process = stack.enter_context(GpuProcess(environment))
        try:
            return process, process.compile(path)[0], None
        except GpuError as error:
            return process, 0, error
        except MissingDependencyError as error:
            missing = missing or error  # the first: it is about what the user chose
            process.close()
    assert missing is not None
    raise missing


def _explained(
    report: GpuReport, failure: GpuError, graph: TfliteGraph, process: GpuProcess
) -> GpuReport:
    """The report of a graph that the GPU did not take."""
    parsed = parse_refusal(failure.log)
    if parsed is not None:
        refused, taken, count = parsed
        first = _first_refused(refused, graph, process)
        return replace(
            report,
            operations=count,
            on_gpu=taken,
            refused=refused,
            first_refused=first,
            problem=f"the GPU refuses {first}",
        )
    report = replace(report, on_gpu=0)
    dynamic = _DYNAMIC.search(failure.log)
    if dynamic is not None:
        producer = graph.producers.get(int(dynamic[1]))
        reason = "its size is dynamic; export with --batch-size 1"
        first = Refusal("the input", reason)
        if producer is not None:
            first = _refusal(graph.operations[producer], reason)
        return replace(report, first_refused=first, problem=f"the GPU refuses {first}")
    verb = "crashed" if failure.crashed else "failed"
    return replace(report, problem=f"the GPU accelerator {verb}: {failure.reason}")


def _first_refused(refused: Sequence[str], graph: TfliteGraph, process: GpuProcess) -> Refusal:
    """The first refused operation, found by offering each that may be meant to the GPU alone.

    The delegate tells kinds of operations and reasons, but not which operations it means: of forty
    BATCH_MATMULs it may refuse one. What prepares constants is offered with what takes them.
    """
    kinds = {line.partition(":")[0] for line in refused}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "operation.tflite")
        for operation in graph.operations:
            parts = [*(graph.operations[i] for i in graph.preparing(operation.index)), operation]
            if operation.prepares or kinds.isdisjoint(part.name for part in parts):
                continue
            write_alone(graph, operation, path)
            try:
                process.compile(path)
            except GpuError as error:
                if error.crashed:  # no others can be tried
                    break
                parsed = parse_refusal(error.log)
                if parsed is not None:
                    name, _, reason = parsed[0][0].partition(":")
                    part = next((part for part in parts if part.name == name), operation)
                    return _refusal(part, reason.strip())
    name, _, reason = refused[0].partition(":")
    return Refusal(name, reason.strip())


def _refusal(operation: Operation, reason: str) -> Refusal:
    return Refusal(operation.name, reason, operation.block, operation.tensor)


def _with_tensors(
    graph: TfliteGraph,
    tensors: Mapping[str, int],
    environment: Mapping[str, str],
    images: np.ndarray,
) -> Outputs:
    """The outputs of a copy of the graph that gives `tensors` too; {} where the GPU refuses it."""
    with tempfile.TemporaryDirectory() as folder, GpuProcess(environment) as process:
        path = Path(folder, "blocks.tflite")
        write_with_outputs(graph, tensors, path)
        try:
            size = process.compile(path)[0]
            return in_batches(process.run, images, size)
        except GpuError:
            return {}


def _equal(plain: Outputs, other: Outputs, name: str) -> bool:
    """Whether an output is the same in both but for rounding."""
    if name not in other:
        return False
    limit = _ROUNDING * float(np.abs(plain[name]).max())
    return np.allclose(plain[name], other[name], rtol=0, atol=limit, equal_nan=True)
