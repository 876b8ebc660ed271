"""All printing: results to stdout; progress, warnings and errors to stderr."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from vit_convert.errors import VitConvertError

_NUMBER = re.compile(r"-?[\d.,]+(e[+-]?\d+)?( ?(%|ms|s|[kMG]?B))?|-")


def out(text: str = "") -> None:
    """A line of the result."""
    click.echo(text)


def out_json(data: Any) -> None:
    """The result as one JSON object, and nothing else."""
    click.echo(json.dumps(data, indent=2))


def note(text: str) -> None:
    """A line about what is happening."""
    click.echo(text, err=True)


def warn(text: str) -> None:
    """Something the user should look at."""
    click.echo(f"{click.style('warning', fg='yellow')}: {text}", err=True)


def error(problem: VitConvertError) -> None:
    """What was wrong, where, what was expected and what to try."""
    label = click.style("error", fg="red", bold=True)
    where = f"{problem.where}: " if problem.where else ""
    click.echo(f"{label}: {where}{problem.what}", err=True)
    if problem.expected:
        click.echo(f"  expected: {problem.expected}", err=True)
    if problem.hint:
        click.echo(f"  try: {problem.hint}", err=True)


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
        grid.add_row(*map(Text, row), style=style)
    # A pipe has no width of its own, and 80 columns would break names apart.
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 160)
    console.print(grid)


@contextmanager
def steps(what: str) -> Iterator[Callable[[str], None]]:
    """Progress by steps: gives a function that takes the name of the step that begins."""
    if not sys.stderr.isatty():
        yield lambda step: note(f"{what}: {step}")
        return
    from rich.console import Console

    with Console(stderr=True).status(what) as status:
        yield lambda step: status.update(f"{what}: {step}")


@contextmanager
def bar(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Progress over `total` things: gives a function that takes how many more are done.

    Where stderr is no terminal, a line for each tenth, or one in all for less than ten things.
    """
    if not sys.stderr.isatty():
        yield _lines(what, total)
        return
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress

    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda count: progress.advance(task, count)


def _lines(what: str, total: int) -> Callable[[int], None]:
    if total < 10:
        note(f"{what}: {total}")
        return lambda count: None
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        before, done = done, done + count
        if before * 10 // total != done * 10 // total:
            note(f"{what}: {done} of {total}")

    return advance


def megabytes(size: int) -> str:
    """12345678 -> "12.3 MB"."""
    return f"{size / 1e6:.1f} MB"
