"""vit-convert benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from vit_convert.cli import console, options

if TYPE_CHECKING:
    from vit_convert.inference.benchmark import Benchmark


@click.command()
@click.argument("artifacts", type=options.PATH, nargs=-1, required=True)
@click.option("--threads", type=click.IntRange(1), help="For one inference.  [default: all cores]")
@click.option(
    "--runs",
    type=click.IntRange(1),
    default=100,
    show_default=True,
    help="Inferences of each artifact that are timed.",
)
@options.trust
@options.as_json
def benchmark(artifacts: tuple[Path, ...], threads: int | None, runs: int, as_json: bool) -> None:
    """Time one inference of artifacts on the CPU, and the memory that each takes.

    Artifacts take turns, so that their ratios hold on a busy machine. Each has a process of its
    own, whose peak memory includes Python and the runtime. Any .tflite file can be timed.
    """
    from vit_convert.inference.benchmark import benchmark as run

    with console.progress("timing") as progress:
        results = run(artifacts, threads=threads, runs=runs, progress=progress)
    if as_json:
        found = [result.to_dict() for result in results]
        console.out_json({"threads": results[0].threads, "runs": runs, "artifacts": found})
        return
    console.table(
        (
            "artifact",
            "median ms",
            "p90 ms",
            "minimum ms",
            "ratio to first",
            "peak memory",
            "delegated",
            "size",
        ),
        [_row(result) for result in results],
    )
    batches = sorted({result.batch for result in results})
    console.out(
        f"batch {', '.join(map(str, batches))}; threads {results[0].threads}; "
        f"{runs} inferences of each; delegated: operations on XNNPACK's kernels / all"
    )


def _row(result: Benchmark) -> tuple[str, ...]:
    counted = result.operations is not None
    return (
        str(result.path),
        f"{1e3 * result.median:.2f}",
        f"{1e3 * result.p90:.2f}",
        f"{1e3 * result.minimum:.2f}",
        f"{result.ratio:.2f}",
        console.megabytes(result.peak_memory),
        f"{result.delegated}/{result.operations}" if counted else "-",
        console.megabytes(result.size),
    )
