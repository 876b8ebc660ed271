"""Rows of pictures: options, counting and printing that `predict` and `evaluate` share."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vit_convert.cli import console
from vit_convert.errors import UsageError, VitConvertError, escaped

if TYPE_CHECKING:
    from vit_convert.inference.ray_worker import UnitDone
    from vit_convert.inference.rows import Row, Table
    from vit_convert.progress import Progress

_LISTED = 20  # pictures that cannot be read, before the rest is only counted


def check_options(
    form: str | None, output: str | None, resume: bool, ray: str | None = None
) -> None:
    """Raises UsageError for options that do not fit together."""
    if ray and (form or "parquet") != "parquet":
        raise UsageError("Ray writes Parquet", where=f"--format {form}", expected="parquet")
    if ray and output and output.endswith((".jsonl", ".csv")):
        raise UsageError(
            "Ray writes Parquet, a file for each of many parts",
            where=f"-o {output}",
            expected="a name for the folder of these files",
        )
    if resume and output is None:
        raise UsageError("there is no file to go on with", where="--resume", expected="-o FILE")
    if form == "parquet" and output is None:
        raise UsageError(
            "Parquet is no text that could be printed", where="--format parquet", expected="-o FILE"
        )


class Seen:
    """Counts the rows of pictures as they pass, and lists those that cannot be read.

    Args:
        total: all pictures.
        progress: told how many have passed.

    Attributes:
        count: that have passed.
        unreadable: of these.
    """

    def __init__(self, total: int, progress: Progress) -> None:
        self._total, self._progress = total, progress
        self.count = self.unreadable = 0

    def all(self, chunks: Iterable[list[Row]]) -> Iterator[Row]:
        """The rows of chunks, one of each picture."""
        self._progress("pictures", 0, self._total)
        for chunk in chunks:
            for row in chunk:
                self.count += 1
                if row["error"] is not None:
                    self._list(row)
                yield row
            self._progress("pictures", self.count, self._total)

    def units(self, units: Iterable[UnitDone]) -> Iterator[Row]:
        """The rows of units that Ray has done, as far as they were sent back."""
        self._progress("starting Ray")
        for unit in units:
            self.count += unit.count
            errors = [row for row in unit.rows if row["error"] is not None]
            for row in errors:
                self._list(row)
            self.unreadable += unit.unreadable - len(errors)
            yield from unit.rows
            self._progress("pictures", self.count, self._total)

    def _list(self, row: Row) -> None:
        self.unreadable += 1
        if self._total == 1:
            return  # the error says all
        if self.unreadable <= _LISTED:
            console.warn(f"not read: {console.one_line(row['path'])}: {row['error']}")
        if self.unreadable == _LISTED + 1:
            console.warn("more cannot be read; their rows say why")

    def __str__(self) -> str:
        unread = f", {self.unreadable:,} of them not read" if self.unreadable else ""
        return f"{self.count:,} picture{'s' * (self.count != 1)}{unread}"


def print_rows(rows: Iterable[Row], form: str | None, table: Table) -> None:
    """Print rows as they come: in a format, or for people."""
    from vit_convert.inference.rows import csv_header, csv_line, json_line

    if form == "csv":
        print_line(csv_header(table))
    for row in rows:
        if form == "csv":
            print_line(csv_line(table, row))
        elif form == "jsonl":
            print_line(json_line(row))
        elif row["error"] is None:
            console.out(console.one_line(row["path"]))
            for label, probability in zip(row["labels"], row["probabilities"], strict=True):
                console.out(f"  {probability:6.1%}  {label}")


def print_line(text: str) -> None:
    """Text for programs, byte by byte as it is; a terminal gets no control characters."""
    if sys.stdout.isatty():
        text = escaped(text)
    click.echo(text.encode("utf-8", "surrogateescape"), nl=False)


@contextmanager
def kept_unfinished(output: str | None) -> Iterator[None]:
    """Tell where the rows are if the block does not come to its end."""
    there = bool(output) and Path(f"{output}.partial").exists()
    try:
        yield
    except BaseException as error:
        # Not where this run was refused because of another one's.
        refused = there and isinstance(error, VitConvertError)
        if output and not refused and Path(f"{output}.partial").exists():
            console.note(f"{output}.partial has what was done; the same with --resume goes on")
        raise
