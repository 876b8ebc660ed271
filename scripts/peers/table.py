"""The table of `scripts/bench_peers`."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from peers.measuring import OURS

COLUMNS = (
    "model",
    "by",
    "to .h5, s",
    "to .tflite, s",
    "peak, MB",
    "float32 / int8, MB",
    "float32, ms (min)",
    "/ ours",
    "of the peak",
    "int8-dynamic, ms (min)",
    "/ ours",
    "on the GPU",
    "CPU parity",
    "GPU parity",
    "int8 parity",
)


def rows(model: str, results: dict[str, dict[str, Any]], peak: float) -> list[tuple[str, ...]]:
    """One for each tool."""
    return [
        (model if tool == OURS else "", tool, *_row(cells, peak))
        for tool, cells in results.items()
        if cells
    ]


def _row(cells: dict[str, Any], peak: float) -> tuple[str, ...]:
    conversion = cells.get("convert", {"runs": []})
    if not conversion["runs"]:
        return ("-", "failed", *["-"] * (len(COLUMNS) - 4))
    cpu, gpu = cells.get("cpu float32", {}), cells.get("gpu", {})
    plain, quantised = cells.get("latency float32"), cells.get("latency int8-dynamic")
    share = "-"
    if plain and "flops" in cells:
        share = f"{100 * cells['flops'] / plain['minimum'] / 1e9 / peak:.0f} %"
    return (
        _seconds(cells.get("to_h5", {"runs": []})),
        _seconds(conversion),
        f"{max(r['peak'] for r in conversion['runs']) / 1e6:.0f}",
        _size(cells),
        *_latency(plain),
        share,
        *_latency(quantised),
        f"{gpu['on_gpu']} of {gpu['operations']}" if gpu else "-",
        _relative(cpu),
        _relative(gpu),
        _relative(cells.get("cpu int8-dynamic", {})),
    )


def _seconds(conversion: dict[str, Any]) -> str:
    runs = [r["seconds"] for r in conversion["runs"]]
    return f"{median(runs):.1f}" if runs else "-"


def _size(cells: dict[str, Any]) -> str:
    sizes = [cells.get(f"size {precision}") for precision in ("float32", "int8-dynamic")]
    return " / ".join(f"{size / 1e6:.1f}" for size in sizes if size)


def _latency(figures: dict[str, float] | None) -> tuple[str, str]:
    if figures is None:
        return "-", "-"
    return (
        f"{1e3 * figures['median']:.1f} (min {1e3 * figures['minimum']:.1f})",
        f"{figures['to_ours']:.2f}",
    )


def _relative(cell: dict[str, Any]) -> str:
    return f"{cell['relative']:.1e}" if "relative" in cell else "-"


def notes(model: str, results: dict[str, dict[str, Any]]) -> list[str]:
    """Why something in the table is missing."""
    found = []
    for tool, cells in results.items():
        reasons = {
            "conversion": cells.get("convert", {}).get("failed"),
            "quantising": cells.get("quantise"),
            "LiteRT refuses the file": cells.get("cpu float32", {}).get("failed"),
            "LiteRT refuses the int8 file": cells.get("cpu int8-dynamic", {}).get("failed"),
            "GPU": cells.get("gpu", {}).get("refused"),
        }
        found += [f"{model}, {tool}: {what}: {why}" for what, why in reasons.items() if why]
    return found


def as_markdown(lines: Sequence[Sequence[str]]) -> str:
    """The table with its columns."""
    body = [COLUMNS, ["---"] * len(COLUMNS), *lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in body)
