"""Plots as inline SVG that take their colours from the page, so that they follow its dark mode."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from vit_convert.parity.block_ranges import DIGITS, LARGEST, BlockRange
from vit_convert.parity.compare import BlockDifference

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Colours that matplotlib writes, and the page's own that take their places
_INK, _LINE, _MARK, _LIMIT = "#010101", "#020202", "#030303", "#040404"
_PAGE = {
    _INK: "var(--muted)",
    _LINE: "var(--line)",
    _MARK: "var(--accent)",
    _LIMIT: "var(--bad)",
}
_SIZE = (4.3, 2.9)  # in inches; small, so that the text is readable on a phone
_LEAST = 1e-10  # an exact output, on a logarithmic axis
_FEW = 100  # outputs that still have room for a stem
_NAMED = 20  # outputs or blocks that still have room for names
_LONGEST = 14  # characters of a name on the axis


def output_plot(differences: Sequence[float], labels: Sequence[str], tolerance: float) -> str:
    """An SVG of the relative difference of each output, with what is allowed.

    Args:
        differences: as `Profile.outputs`.
        labels: names of the outputs, or ().
        tolerance: that is allowed.
    """
    figure, axes = _axes("output", "|difference| / max |output|")
    places = range(len(differences))
    values = [max(value, _LEAST) for value in differences]
    few = len(values) <= _FEW
    if few:
        least = min(*values, tolerance) / 2
        axes.vlines(places, least, values, color=_MARK, linewidth=0.8, alpha=0.5)
    axes.plot(places, values, ".", color=_MARK, markersize=5 if few else 2)
    if len(labels) == len(values) <= _NAMED:
        names = [x if len(x) <= _LONGEST else f"{x[: _LONGEST - 1]}\u2026" for x in labels]
        axes.set_xticks(places, names, rotation=60, ha="right", parse_math=False)
    return _finished(figure, axes, values, tolerance)


def block_plot(differences: Sequence[BlockDifference], tolerance: float | None) -> str:
    """An SVG of the relative difference of each block, with what is allowed, if anything is."""
    figure, axes = _axes("block", "|difference| / max |token|")
    values = [each.relative for each in differences]
    return _of_blocks(figure, axes, [each.name for each in differences], values, tolerance)


def range_plot(blocks: Sequence[BlockRange]) -> str:
    """An SVG of the largest |value| of each block, with the largest that float16 has."""
    figure, axes = _axes("block", "largest |value|")
    values = [each.largest for each in blocks]
    limit = f"float16 ends: {LARGEST:.0f}"
    return _of_blocks(figure, axes, [each.name for each in blocks], values, LARGEST, limit)


def digits_plot(blocks: Sequence[BlockRange]) -> str:
    """An SVG of what each block loses in float16, with what counts as lost digits."""
    figure, axes = _axes("block", "|error| / max |value|")
    values = [each.relative for each in blocks]
    limit = f"digits are lost: {DIGITS:g}"
    return _of_blocks(figure, axes, [each.name for each in blocks], values, DIGITS, limit)


def _of_blocks(
    figure: Figure,
    axes: Axes,
    blocks: Sequence[str],
    found: Sequence[float],
    tolerance: float | None,
    limit: str = "",
) -> str:
    """An SVG of a number of each block; beyond what a logarithmic axis can show it is cut off."""
    places = range(len(blocks))
    most = max(1e3, 1e4 * (tolerance or 0))
    values = [max(min(value, most), _LEAST) for value in found]
    axes.plot(places, values, "-", color=_MARK, linewidth=1, alpha=0.5)
    axes.plot(places, values, "o", color=_MARK, markersize=5)
    step = -(-len(values) // _NAMED)
    names = _short_names(blocks)
    axes.set_xticks(places[::step], names[::step], rotation=60, ha="right")
    return _finished(figure, axes, values, tolerance, limit)


def _short_names(blocks: Sequence[str]) -> list[str]:
    """The names of blocks; those of the largest group, "blocks.3", are their index alone."""
    groups = Counter(name.partition(".")[0] for name in blocks if "." in name)
    largest = groups.most_common(1)[0][0] if groups else ""
    return [name.removeprefix(f"{largest}.") for name in blocks]


def _axes(across: str, up: str) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE, layout="constrained")
    figure.patch.set_alpha(0)
    axes = figure.add_subplot()
    axes.patch.set_alpha(0)
    axes.set_yscale("log")
    axes.set_xlabel(across, color=_INK)
    # above, where long names below leave it its place; beside the axis it was cut off
    axes.set_title(up, color=_INK, loc="left", fontsize=10)
    axes.tick_params(colors=_INK, which="both", labelsize=9)
    axes.grid(axis="y", color=_LINE, linewidth=0.6)
    axes.set_axisbelow(True)
    for name, spine in axes.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_color(_LINE)
    return figure, axes


def _finished(
    figure: Figure, axes: Axes, values: Sequence[float], tolerance: float | None, limit: str = ""
) -> str:
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    if tolerance is not None:
        axes.axhline(tolerance, color=_LIMIT, linewidth=1, linestyle="--")
        axes.annotate(
            limit or f"allowed: {tolerance:.1e}",
            (1, tolerance),
            xycoords=("axes fraction", "data"),
            xytext=(0, 3),
            textcoords="offset points",
            ha="right",
            color=_LIMIT,
            fontsize=9,
        )
    shown = [*values, *([] if tolerance is None else [tolerance])]
    axes.set_ylim(min(shown) / 2, max(shown) * 4)
    content = io.StringIO()
    # Text stays text, and a plot's ids differ from those of another plot on the page.
    salt = f"{axes.get_xlabel()} {values}"
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}):
        canvas = FigureCanvasSVG(figure)
        canvas.print_svg(content, metadata={"Date": None})
    return _inline(content.getvalue())


def _inline(document: str) -> str:
    """The SVG element of a document, as wide as its place, in the page's colours."""
    svg = document[document.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg [^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg [^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    for ours, pages in _PAGE.items():
        svg = svg.replace(ours, pages)
    return svg
