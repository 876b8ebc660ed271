"""Results of `verify` as plain values: for JSON, and for a table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vit_convert.parity.block_ranges import Float16Profile
from vit_convert.parity.compare import Comparison
from vit_convert.parity.gpu.delegate import GpuReport
from vit_convert.parity.result import VerifyResult


def columns() -> tuple[str, ...]:
    """The headings of `row`."""
    return (
        "artifact",
        "size",
        "max |difference|",
        "relative difference",
        "top-1 agreement",
        "verdict",
    )


def row(result: VerifyResult) -> tuple[str, ...]:
    """A result as text, one per column."""
    return row_of_dict(result.to_dict())


def rows(results: Iterable[VerifyResult]) -> list[tuple[str, ...]]:
    """Several results as text."""
    return [row(result) for result in results]


def row_of_dict(data: Mapping[str, Any]) -> tuple[str, ...]:
    """`row` of what `VerifyResult.to_dict` gave, also after a trip through JSON."""
    comparison = data["comparison"]
    numbers = ["-", "-", "-"]
    if not comparison["problem"]:
        numbers = [
            f"{comparison['max_abs']:.1e}",
            "infinite" if comparison["relative"] is None else f"{comparison['relative']:.1e}",
            f"{comparison['top1_agreement']:.1f} %",
        ]
    if not data["has_classes"]:
        numbers[2] = "-"
    size = f"{data['size'] / 1e6:.2f} MB"
    return (Path(data["artifact"]).name, size, *numbers, data["verdict"]["text"])


def gpu_lines(report: GpuReport) -> list[str]:
    """Describe in words which operations the GPU runs and which it refuses."""
    lines = [
        f"on the GPU: {report.on_gpu} of {report.operations} operations",
        f"adapter: {report.adapter}; {report.runtime}",
    ]
    first = report.first_refused
    if first:
        tensor = f"; its output is {first.tensor}" if first.tensor else "; which one is not known"
        lines.append(f"the first refused operation is {first}{tensor}")
    return lines + [f"refused: {line}" for line in report.refused]


def float16_lines(profile: Float16Profile) -> list[str]:
    """Describe in words how float16 changes the blocks of a file."""
    lines = []
    if profile.first_bad:
        lines.append(f"in float16, the first block that goes wrong is {profile.first_bad}")
    tight = profile.narrowest
    if tight.headroom < math.inf:
        room = (
            f"{tight.headroom:.3g} times below 65504, where float16 ends"
            if tight.headroom >= 1
            else "more than 65504, where float16 ends"
        )
        where = f"in {tight.name}, at {tight.largest_at}"
        lines.append(f"largest |value|: {tight.largest:.3g}, {room}; {where}")
    return lines


def assumed_line(assumed: Sequence[str]) -> str:
    """Describe in words what artifact and source share only because it is assumed."""
    return (
        f"both sides assume {', '.join(assumed)}: --model MODULE:FUNCTION, or --reference with "
        "logits of the training code, would check that"
    )


def made_of_line(made_of: Comparison) -> str:
    """Describe in words the comparison of a quantised artifact's float32 with the source."""
    return (
        f"the float32 that it was made of: relative difference {made_of.relative:.1e}, "
        f"{made_of.tolerance:g} allowed"
    )
