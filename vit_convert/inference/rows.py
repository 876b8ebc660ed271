"""What is written of each picture: the same row in JSON Lines, CSV and Parquet, here and on Ray.

| column | |
| --- | --- |
| path | the picture |
| class | its folder; of `evaluate` alone |
| artifact | which one says so; of `evaluate` alone |
| classes | indices of the most probable classes, best first |
| labels | their names |
| probabilities | theirs, 0..1 |
| error | why the picture cannot be read; then the three before are empty |

CSV has a column for each of the classes: class_1, label_1, probability_1, and so on.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from vit_convert.errors import MissingDependencyError, UsageError
from vit_convert.images.decoding import ImageError
from vit_convert.images.storage import PARQUET_HINT
from vit_convert.inference.scoring import Scores

Row = dict[str, Any]
FORMATS = ("jsonl", "csv", "parquet")
_GROUP = 10_000  # rows of a Parquet row group


@dataclass(frozen=True)
class Table:
    """The kind of rows of one run.

    Attributes:
        top: classes of each picture.
        labels: of each artifact, the names of its classes.
        artifacts: their names, where rows tell them; empty for `predict`, which has one.
    """

    top: int
    labels: tuple[tuple[str, ...], ...]
    artifacts: tuple[str, ...] = ()

    @property
    def rows_per_picture(self) -> int:
        """One for each artifact."""
        return len(self.labels)

    def rows(self, scores: Scores, true_class: str = "") -> list[Row]:
        """The rows of a picture."""
        found = []
        for index, names in enumerate(self.labels):
            row: Row = {"path": scores.name}
            if self.artifacts:
                row |= {"class": true_class, "artifact": self.artifacts[index]}
            best = scores.classes[index].tolist() if scores.classes else []
            row["classes"] = best
            row["labels"] = [names[i] for i in best]
            row["probabilities"] = [float(v) for v in scores.probabilities[index]] if best else []
            row["error"] = scores.problem.what if scores.problem else None
            found.append(row)
        return found


def scores_of(rows: Sequence[Row]) -> Scores:
    """The scores that `Table.rows` made the rows of one picture of."""
    name, error = rows[0]["path"], rows[0]["error"]
    if error is not None:
        return Scores(name, problem=ImageError(error, where=name))
    return Scores(
        name,
        tuple(np.array(row["classes"], np.int64) for row in rows),
        tuple(np.array(row["probabilities"]) for row in rows),
    )


def in_pictures(rows: Iterable[Row], table: Table) -> Iterator[list[Row]]:
    """Rows, those of each picture together."""
    left = iter(rows)
    while found := list(islice(left, table.rows_per_picture)):
        yield found


def format_of(output: Path, stated: str | None = None) -> str:
    """The format of a file: as stated, else as its name says.

    Raises:
        UsageError: neither says it.
        MissingDependencyError: it is Parquet, and pyarrow is not installed.
    """
    found = stated_format(output, stated)
    if found not in FORMATS:
        raise UsageError(
            f"the format to write is not clear from {output.suffix or 'no suffix'!r}",
            where=str(output),
            expected="a name that ends in .jsonl, .csv or .parquet",
            hint=f"--format {'|'.join(FORMATS)}",
        )
    return found


def stated_format(output: Path, stated: str | None = None) -> str:
    """As `format_of`, whatever the format is.

    Raises:
        MissingDependencyError: it is Parquet, and pyarrow is not installed.
    """
    found = stated or output.suffix.lstrip(".").lower().replace("ndjson", "jsonl")
    if found == "parquet":
        parquet_module(str(output))
    return found


def json_line(row: Row) -> str:
    """A row in JSON Lines. ASCII, so that it shows names that are no text, and moves no cursor."""
    return json.dumps(row) + "\n"


def csv_header(table: Table) -> str:
    """The first line of a CSV file."""
    before = ("path", "class", "artifact") if table.artifacts else ("path",)
    each = [
        f"{what}_{i + 1}" for i in range(table.top) for what in ("class", "label", "probability")
    ]
    return _csv([*before, *each, "error"])


def csv_line(table: Table, row: Row) -> str:
    """A row in CSV."""
    cells = [row[name] for name in ("path", "class", "artifact") if name in row]
    for found in zip(row["classes"], row["labels"], row["probabilities"], strict=True):
        cells += map(as_text, found)
    cells += [""] * (3 * (table.top - len(row["classes"])))
    return _csv([*cells, row["error"] or ""])


def _csv(cells: Sequence[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)  # floats by repr, which is exact
    return text.getvalue()


def arrow_table(rows: Sequence[Row]) -> Any:
    """Rows as an Arrow table; what is no text in a name is shown as Python writes it: \\xff."""
    arrow = arrow_module()
    columns = [
        ("path", arrow.string()),
        ("class", arrow.string()),
        ("artifact", arrow.string()),
        ("classes", arrow.list_(arrow.int32())),
        ("labels", arrow.list_(arrow.string())),
        ("probabilities", arrow.list_(arrow.float64())),
        ("error", arrow.string()),
    ]
    there = [(name, kind) for name, kind in columns if name in rows[0]]
    return arrow.table(
        {name: arrow.array([as_text(row[name]) for row in rows], kind) for name, kind in there},
        schema=arrow.schema(there),
    )


def as_text(value: Any) -> Any:
    """A cell of Parquet, whose texts are UTF-8: what is none is shown as Python writes it."""
    if isinstance(value, list):
        return [as_text(each) for each in value]
    if isinstance(value, str) and not value.isascii():
        value = re.sub("[\udc80-\udcff]", lambda found: f"\\x{ord(found[0]) - 0xDC00:x}", value)
        return re.sub("[\ud800-\udfff]", lambda found: ascii(found[0])[1:-1], value)
    return value


def write_rows(rows: Iterable[Row], path: Path, form: str, table: Table) -> None:
    """Write all rows into a new file."""
    _WRITERS[form](iter(rows), path, table)


def _write_json_lines(rows: Iterator[Row], path: Path, _table: Table) -> None:
    with path.open("w", encoding="ascii") as file:
        file.writelines(map(json_line, rows))


def _write_csv(rows: Iterator[Row], path: Path, table: Table) -> None:
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        file.write(csv_header(table))
        file.writelines(csv_line(table, row) for row in rows)


def _write_parquet(rows: Iterator[Row], path: Path, _table: Table) -> None:
    parquet = parquet_module(str(path))
    writer = None
    try:
        while group := list(islice(rows, _GROUP)):
            found = arrow_table(group)
            writer = writer or parquet.ParquetWriter(path, found.schema)
            writer.write_table(found)
    finally:
        if writer is not None:
            writer.close()


def arrow_module() -> Any:
    """pyarrow, where `parquet_module` is.

    Raises:
        MissingDependencyError: it is not installed.
    """
    parquet_module()
    import pyarrow

    return pyarrow


def parquet_module(where: str = "Parquet") -> Any:
    """pyarrow.parquet.

    Raises:
        MissingDependencyError: pyarrow is not installed.
    """
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise MissingDependencyError(
            "pyarrow writes Parquet, and is not installed",
            where=where,
            expected="pyarrow, or another format",
            hint=f"{PARQUET_HINT}, or --format jsonl",
        ) from error
    return pyarrow.parquet


_WRITERS: dict[str, Callable[[Iterator[Row], Path, Table], None]] = {
    "jsonl": _write_json_lines,
    "csv": _write_csv,
    "parquet": _write_parquet,
}
