"""Times artifacts in turn, so that their ratios hold even on a machine that others use."""

from __future__ import annotations

import random
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, overload

import numpy as np

from vit_convert.errors import ArtifactError, UsageError
from vit_convert.exporters.given import ArtifactLike, given_artifacts
from vit_convert.progress import Progress, counted, silent
from vit_convert.results import Result
from vit_convert.runtime.processors import cores
from vit_convert.runtime.worker_process import Worker, WorkerError

_ROUND = 4  # inferences of an artifact before it is another one's turn


@dataclass(frozen=True)
class Benchmark(Result):
    """The latency, size and memory of one artifact.

    Attributes:
        path, kind: the artifact.
        threads: that an inference may use.
        seconds: of each inference, in order.
        ratio: to the first artifact: the median over the rounds of the quotient of both medians
            within a round. What slows the machine for longer than a round cancels out.
        size: of the file, or of all files of the folder, in bytes.
        peak_memory: of the process that opened and ran it, with Python and the runtime, in bytes.
        batch: images of an inference: 1, unless the artifact was exported with another batch size.
        operations: of the graph of a .tflite file; None for others.
        delegated: how many of them run on XNNPACK's kernels; None for others.
    """

    path: Path
    kind: str
    threads: int
    seconds: tuple[float, ...]
    ratio: float
    size: int
    peak_memory: int
    batch: int
    operations: int | None
    delegated: int | None

    @property
    def median(self) -> float:
        """Of the seconds."""
        return median(self.seconds)

    @property
    def p90(self) -> float:
        """The seconds in which nine of ten inferences are done."""
        return float(np.percentile(self.seconds, 90))

    @property
    def minimum(self) -> float:
        """Of the seconds."""
        return min(self.seconds)

    def to_dict(self) -> dict[str, Any]:
        """In values that JSON knows: of the seconds, what they come to, in milliseconds."""
        return {
            "path": str(self.path),
            "kind": self.kind,
            "batch": self.batch,
            "median_ms": 1e3 * self.median,
            "p90_ms": 1e3 * self.p90,
            "minimum_ms": 1e3 * self.minimum,
            "ratio": self.ratio,
            "peak_memory_bytes": self.peak_memory,
            "operations": self.operations,
            "delegated": self.delegated,
            "size_bytes": self.size,
        }


@overload
def benchmark(  # type: ignore[overload-overlap]  # a text is a path, and no list
    artifacts: ArtifactLike,
    *,
    threads: int | None = None,
    runs: int = 100,
    progress: Progress = silent,
) -> Benchmark: ...


@overload
def benchmark(
    artifacts: Iterable[ArtifactLike],
    *,
    threads: int | None = None,
    runs: int = 100,
    progress: Progress = silent,
) -> list[Benchmark]: ...


def benchmark(
    artifacts: ArtifactLike | Iterable[ArtifactLike],
    *,
    threads: int | None = None,
    runs: int = 100,
    progress: Progress = silent,
) -> Benchmark | list[Benchmark]:
    """Time artifacts, each in a process of its own; one runs at a time.

    They take turns in rounds of a few inferences each, in an order that is random in every round.
    Any .tflite file can be timed; other artifacts must be vit-convert's.

    Args:
        artifacts: the path of an artifact, an open one (whose file is opened again), or several of
            either.
        threads: that an inference may use; as many as the machine has cores by default.
        runs: inferences of each artifact that are timed.
        progress: told how many inferences are done.

    Returns:
        the result; of several artifacts a list, in their order.

    Raises:
        UsageError: something is no artifact, or there are no artifacts, threads or runs.
        ArtifactError: one cannot be opened or run.
    """
    given, count = given_artifacts(artifacts), threads or cores()
    if runs < 1 or count < 1:
        raise UsageError(f"{runs} runs, {count} threads", expected="at least one of each")
    paths = given.paths
    rounds: list[list[list[float]]] = [[] for _ in paths]
    order = list(range(len(paths)))
    shuffle = random.Random(0).shuffle
    with ExitStack() as stack:
        workers = [stack.enter_context(_Timed(path)) for path in paths]
        known = [
            worker.get("prepare", (str(worker.path), count))
            for worker in counted(progress, "opening artifacts", workers)
        ]
        done = 0
        progress("inferences", done, runs * len(paths))
        for start in range(0, runs, _ROUND):
            shuffle(order)
            for index in order:
                seconds = workers[index].get("time", min(_ROUND, runs - start))
                rounds[index].append(seconds)
                done += len(seconds)
                progress("inferences", done, runs * len(paths))
        peaks = [worker.get("peak_memory") for worker in workers]
    results = [
        Benchmark(
            path=path,
            threads=count,
            seconds=tuple(second for each in taken for second in each),
            ratio=_ratio(taken, rounds[0]),
            peak_memory=peak,
            **facts,
        )
        for path, taken, peak, facts in zip(paths, rounds, peaks, known, strict=True)
    ]
    return results if given.several else results[0]


def _ratio(rounds: list[list[float]], first: list[list[float]]) -> float:
    return median(median(a) / median(b) for a, b in zip(rounds, first, strict=True))


class _Timed(Worker):
    """The process of one artifact."""

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__("vit_convert.inference.benchmark_worker")

    def get(self, verb: str, argument: Any = None) -> Any:
        """As `ask`, with an error that the user can act on."""
        try:
            return self.ask(verb, argument)
        except WorkerError as error:
            raise ArtifactError(
                f"{'its process ended' if error.crashed else 'it cannot be run'}: {error}",
                where=str(self.path),
                expected="an artifact that runs here",
                hint="vit-convert verify, or export it again",
            ) from error
