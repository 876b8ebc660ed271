"""All printing: results to stdout; progress, warnings and errors to stderr."""

from __future__ import annotations

import json
import logging
import math
import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import click

from vit_convert.errors import escaped
from vit_convert.progress import duration

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console
    from rich.progress import Progress as Bars

    from vit_convert.errors import VitConvertError
    from vit_convert.progress import Progress
    from vit_convert.training.progress import Observer, TrainingReport

Amount = Literal["quiet", "normal", "verbose"]
_amount: Amount = "normal"
# seconds from one line of progress to the next
_BETWEEN = {"quiet": math.inf, "normal": 5.0, "verbose": 0.0}
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]+")
_NUMBER = re.compile(r"-?[\d.,]+(e[+-]?\d+)?( ?(%|ms|s|[kMG]?B))?|-")


def show(amount: Amount) -> None:
    """Set how much is said on stderr beside warnings and errors, which always are."""
    global _amount
    _amount = amount


def out(text: str = "") -> None:
    """A line of the result."""
    click.echo(escaped(text))


def one_line(text: str) -> str:
    """A name in which line breaks are escaped."""
    return text.replace("\n", "\\n")


def out_json(data: Any) -> None:
    """The result as one JSON object, and nothing else."""
    click.echo(json.dumps(data, indent=2))


def note(text: str) -> None:
    """A line about what is happening."""
    if _amount != "quiet":
        click.echo(escaped(text), err=True)


class _Notes(logging.Handler):
    """Shows what the library logs."""

    def emit(self, record: logging.LogRecord) -> None:
        """Show a record."""
        note(record.getMessage())


_notes = _Notes(logging.INFO)


def show_log() -> None:
    """Show as notes what exporters have to say before long work."""
    exporters = logging.getLogger("vit_convert.exporters")
    exporters.addHandler(_notes)
    exporters.setLevel(logging.INFO)


def warn(text: str) -> None:
    """Something the user should look at."""
    label = click.style("warning", fg="yellow", bold=True)
    click.echo(f"{label}: {_options_bold(escaped(text))}", err=True)


@contextmanager
def own_warnings() -> Iterator[None]:
    """Keep the library's own warnings quiet: the command says what they say."""
    import warnings

    from vit_convert.errors import AssumptionWarning, PictureWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AssumptionWarning)
        warnings.simplefilter("ignore", PictureWarning)
        yield


def error(problem: VitConvertError, source: str = "") -> None:
    """Print an error: what was wrong, where, what was expected and what to try.

    Args:
        problem: the error.
        source: which of several inputs it is about, where the error does not say so itself.
    """
    label = click.style("error", fg="red", bold=True)
    where = f"{problem.where}: " if problem.where else ""
    if source and source not in problem.where:
        where = f"{escaped(source)}: {where}"
    click.echo(f"{label}: {where}{problem.what}", err=True)
    if problem.expected:
        click.echo(f"  expected: {problem.expected}", err=True)
    if problem.hint:
        click.echo(f"  try: {_options_bold(problem.hint)}", err=True)


def error_dict(source: Path, problem: VitConvertError) -> dict[str, Any]:
    """An error in values that JSON knows, of one of several inputs."""
    parts = ("where", "what", "expected", "hint")
    return {"source": str(source), "error": {part: getattr(problem, part) for part in parts}}


def _options_bold(text: str) -> str:
    return _OPTION.sub(lambda found: click.style(found[0], bold=True), text)


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    title: str = "",
    styles: Sequence[str] = (),
) -> None:
    """A table on stdout, with columns of numbers aligned to the right.

    Args:
        columns: the headings.
        rows: one text per column.
        title: above it.
        styles: rich's style of each row; none by default.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for i, column in enumerate(columns):
        numbers = all(_NUMBER.fullmatch(row[i]) for row in rows)
        grid.add_column(column, justify="right" if numbers else "left", overflow="fold")
    for row, style in zip(rows, styles or [""] * len(rows), strict=True):
        # as Text, because names from files are no markup
        grid.add_row(*(Text(escaped(cell)) for cell in row), style=style)
    # A pipe has no width of its own, and 80 columns would break names apart.
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 160)
    console.print(grid)


@contextmanager
def progress(what: str) -> Iterator[Progress]:
    """Show the progress of long work on stderr: as bars, or as lines if stderr is not a terminal.

    There is a bar for the step, which moves to and fro where nothing can be counted, and one for
    all parts where there are several. Lines come at most every five seconds; with --verbose there
    is one for each step, and one for each tenth of its things. With --quiet nothing is shown.
    """
    console = _terminal()
    if console is None:
        yield _lines(what)
        return
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars
    from rich.table import Column

    columns = (  # the text comes last, so that bars stay where they are
        BarColumn(bar_width=max(8, min(30, console.width // 4))),
        TextColumn("{task.fields[count]}"),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False, table_column=Column(overflow="fold")),
    )
    # What is printed to stdout meanwhile must not end up on stderr, where the bars are.
    with Bars(*columns, console=console, transient=True, redirect_stdout=False) as bars:
        yield _bars(bars, what)


def _terminal() -> Console | None:
    """The terminal that stderr is, where bars can be drawn on it and are wanted."""
    if _amount == "quiet" or not sys.stderr.isatty():
        return None
    from rich.console import Console

    console = Console(stderr=True)
    return console if console.is_interactive else None  # None with TERM=dumb


def _bars(bars: Bars, what: str) -> Progress:
    whole = bars.add_task(what, total=None, visible=False, count="")
    current = bars.add_task(what, total=None, count="")
    shown = ""

    def tell(step: str, done: int = 0, total: int = 0, part: int = 0, parts: int = 1, /) -> None:
        nonlocal current, shown
        text = escaped(step if parts > 1 else f"{what}: {step}")
        if text != shown:
            bars.remove_task(current)
            current = bars.add_task(text, total=total or None, count="")
            shown = text
        bars.update(current, completed=done, count=f"{done}/{total}" if total else "")
        bars.update(whole, completed=part, total=parts, visible=parts > 1, count=f"{part}/{parts}")

    return tell


def _lines(what: str) -> Progress:
    said: tuple[int, str, int] | None = None
    when = -math.inf

    def tell(step: str, done: int = 0, total: int = 0, part: int = 0, parts: int = 1, /) -> None:
        nonlocal said, when
        saying = (part, step, done * 10 // total if total else 0)
        if saying == said or time.monotonic() < when + _BETWEEN[_amount]:
            return
        place = f"{part + 1} of {parts}, " if parts > 1 else ""
        count = f", {done} of {total}" if total else ""
        note(f"{what}: {place}{step}{count}")
        said, when = saying, time.monotonic()

    return tell


@contextmanager
def training_progress() -> Iterator[Observer]:
    """Show where a training is, on stderr: as a bar, or as lines if stderr is not a terminal: one
    when an epoch ends, and one each minute."""
    console = _terminal()
    if console is None:
        yield _training_lines()
        return
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bars

    with Bars(BarColumn(bar_width=20), TextColumn("{task.description}"), console=console) as bars:
        task = bars.add_task("the first step")

        def tell(report: TrainingReport) -> None:
            bars.update(task, completed=report.step, total=report.steps, description=_where(report))
            if report.step == report.steps:
                note(_where(report))

        yield tell


def _training_lines() -> Observer:
    when = 0.0

    def tell(report: TrainingReport) -> None:
        nonlocal when
        if report.step == report.steps or time.monotonic() > when + 60:
            note(_where(report))
            when = time.monotonic()

    return tell


def _where(report: TrainingReport) -> str:
    """Where a training is, in a line."""
    known = report.seconds_left == report.seconds_left  # not NaN
    speed = f", {report.images_per_second:.0f} images/s" if known else ""
    left = f", {duration(report.seconds_left)} left" if known else ""
    found = report.validation_accuracy
    validation = "" if found is None else f", validation {found:.2f} %"
    return (
        f"epoch {report.epoch}/{report.epochs} ({report.phase}), "
        f"step {report.step}/{report.steps}: loss {report.loss:.3f}, "
        f"accuracy {report.accuracy:.1f} %{validation}{speed}{left}"
    )


def megabytes(size: int) -> str:
    """12345678 -> "12.3 MB"."""
    return f"{size / 1e6:.1f} MB"
