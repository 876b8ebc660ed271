"""vit-convert verify."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from vit_convert.cli import console, options

if TYPE_CHECKING:
    from vit_convert.parity.result import VerifyResult


@click.command()
@click.argument("artifacts", metavar="ARTIFACT...", type=options.PATH, nargs=-1, required=True)
@click.option("--source", type=options.PATH, help="The checkpoint, run in PyTorch.")
@click.option("--reference", type=options.PATH, help="Recorded images and logits (.npz).")
@click.option(
    "--model",
    metavar="MODULE:FUNCTION",
    help="Your own model, which the source is run in: a function without arguments that gives a "
    "torch.nn.Module. Your code is run.",
)
@click.option("--images", type=options.PATH, help="A folder of pictures to compare on.")
@click.option("--key", metavar="NAME", help="Which nested state dict of the source.")
@click.option(
    "--tolerance",
    type=click.FloatRange(0, min_open=True),
    help="Of |difference| / max |logit|.  [default: 1e-5; 5e-3 for float16, 0.08 "
    "for int8-dynamic, 0.25 for int8, 0.06 for int16x8; with --arithmetic float16 at least 0.02]",
)
@click.option(
    "--delegate",
    type=click.Choice(["cpu", "gpu"]),
    default="cpu",
    show_default=True,
    help="What a .tflite file runs on: gpu is LiteRT's GPU accelerator, with no CPU fallback.",
)
@click.option(
    "--arithmetic",
    type=click.Choice(["float32", "float16"]),
    default="float32",
    show_default=True,
    help="What a .tflite file is computed in: float16 is a phone's GPU, emulated.",
)
@click.option("--report", type=options.PATH, help="Write all that is found into this .html.")
@options.force
@options.trust
@options.as_json
def verify(
    artifacts: tuple[Path, ...],
    source: Path | None,
    reference: Path | None,
    model: str | None,
    images: Path | None,
    key: str | None,
    tolerance: float | None,
    delegate: Literal["cpu", "gpu"],
    arithmetic: Literal["float32", "float16"],
    report: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Compare artifacts with the checkpoint they came from, or with recorded logits.

    Exits with 1 if one differs by more than the tolerance, and names the first block that does; or
    if the GPU refuses an operation, and names that and its block; or if a quantised file falls
    short of 99 % agreement, when it was exported or on 16 images or more now.

    --source alone runs the checkpoint with what the artifact assumes (number of heads, GELU,
    epsilon, pooling), and says what that is. --model MODULE:FUNCTION runs it in your own model,
    whose module is looked for in the current folder first, and --reference takes what your model
    gave elsewhere (vit-convert record): they check it. Where they disagree, other values are tried
    for at most a minute, one and then two at a time, and the options are named that make the
    outputs equal. That needs the weights: --model has them, with --reference verify the .h5.

    "equal" is said of float noise only. An int8 file agrees with its source on so many pictures, as
    export measured it on pictures that had no part in making it. It tells what its float32 gave
    for a few images, too: --source, and what `record` writes, hold that to 1e-5, because rounding
    to int8 hides mistakes.

    --delegate gpu uses the GPU of the machine's Vulkan driver; without one, SwiftShader, which
    needs no GPU, where Chromium is installed. VK_ICD_FILENAMES chooses another driver.

    --arithmetic float16 computes every value and sum as GPU delegates for phones do, whatever the
    file's precision, and tells the range of each block's values: the first block in which one is
    too large for float16, or loses its digits, and how far the others are from that.

    --report shows, beside parity, where the differences are, the operations, the latency, and what
    the model looks at; in one file that needs no network.
    """
    from vit_convert.parity.verify import verify as run
    from vit_convert.runtime.atomic_write import check_output

    if report is not None:
        check_output(report, force)
    with console.progress("verifying") as progress:
        results = run(
            artifacts,
            source=source,
            reference=reference,
            model=model,
            images=images,
            key=key,
            tolerance=tolerance,
            delegate=delegate,
            arithmetic=arithmetic,
            profile=report is not None,
            progress=progress,
        )
    if report is not None:
        _write_report(report, results, images, reference, force)
    passed = all(result.passed for result in results)
    if as_json:
        found = [result.to_dict() for result in results]
        console.out_json(found[0] if len(found) == 1 else {"artifacts": found, "passed": passed})
    else:
        _print(results)
        if report is not None:
            console.out(f"{report}: report")
    raise SystemExit(0 if passed else 1)


def _write_report(
    path: Path,
    results: Sequence[VerifyResult],
    images: Path | None,
    reference: Path | None,
    force: bool,
) -> None:
    from vit_convert.progress import of_part
    from vit_convert.reporting import collect, page
    from vit_convert.runtime.atomic_write import atomic_write

    subjects = []
    with console.progress("reporting") as progress:
        for part, result in enumerate(results):
            inner = of_part(progress, result.artifact.name, part, len(results))
            subjects.append(collect(result, images=images, reference=reference, progress=inner))
    text = page(subjects, shlex.join(["vit-convert", *sys.argv[1:]]))
    with atomic_write(path, force) as scratch:
        scratch.write_text(text, encoding="utf-8")


def _print(results: Sequence[VerifyResult]) -> None:
    from vit_convert.parity.report import (
        assumed_line,
        columns,
        float16_lines,
        gpu_lines,
        made_of_line,
        rows,
    )

    console.table(columns(), rows(results))
    if results[0].num_images:
        what = f"{results[0].num_images} {results[0].examples}"
        console.out(f"compared with {results[0].reference} on {what}")
    for result in results:
        prefix = f"{result.artifact.name}: " if len(results) > 1 else ""
        for line in gpu_lines(result.gpu) if result.gpu else ():
            console.out(f"{prefix}{line}")
        if result.first_difference:
            console.out(f"{prefix}the first block that differs is {result.first_difference}")
        elif result.where and result.num_images and not _is_bad_in_float16(result):
            console.out(f"{prefix}where the difference begins: {result.where}")
        for line in float16_lines(result.float16) if result.float16 else ():
            console.out(f"{prefix}{line}")
        if result.made_of:
            console.out(f"{prefix}{made_of_line(result.made_of)}")
        if result.search:
            console.out(f"{prefix}{result.search}")
        if result.assumed:
            console.out(f"{prefix}{assumed_line(result.assumed)}")
        if result.note:
            console.warn(f"{prefix}{result.note}")


def _is_bad_in_float16(result: VerifyResult) -> bool:
    """Whether a block is named that float16 breaks; the lines about float16 say so."""
    return result.float16 is not None and result.float16.first_bad is not None
