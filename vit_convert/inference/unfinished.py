"""Long runs that may be stopped at any moment, and go on later.

    OUTPUT.partial/run.json      what is being done: by which artifacts, of which pictures, and how
    OUTPUT.partial/rows.jsonl    what has been done of it

The rows are added chunk by chunk. When all are there, OUTPUT is made of them, and appears whole.
After a kill the last row may be half written: it is dropped, with the rest of its chunk.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from vit_convert.errors import OutputError
from vit_convert.inference.rows import Row, Table, json_line, write_rows
from vit_convert.inference.run_identity import Identity, check_same, stopped_before
from vit_convert.runtime.atomic_write import atomic_write, check_output

_NAMES = {"run.json", "run.json.new", "rows.jsonl"}


class Unfinished:
    """The folder OUTPUT.partial of a run; only one process has it.

    Args:
        output: the file that is to be written.
        identity: as `identity_of` gives it.
        names: of all pictures.
        table: what is written of each.
        chunk: pictures that are done at a time.
        resume: go on where another run was stopped.
        force: replace the output, and begin again.

    Attributes:
        done: pictures that were done before.

    Raises:
        OutputError: the output exists, cannot be written, or another process is writing it; or
            there is a run that was stopped, and neither `resume` nor `force` is asked for.
        UsageError: it was another run.
    """

    def __init__(
        self,
        output: Path,
        identity: Identity,
        names: Sequence[str],
        table: Table,
        chunk: int,
        resume: bool = False,
        force: bool = False,
    ) -> None:
        check_output(output, force)
        self.output, self.folder = output, partial_folder(output)
        self._table, self._force = table, force
        prepare_folder(self.folder, identity, resume, force, _NAMES)
        # Not truncated: it is another process's, until it is locked
        self._file = open(self.folder / "rows.jsonl", "a+b")  # noqa: SIM115 - `close` closes it
        try:
            _lock(self._file.fileno(), self.folder)
            self.done = self._keep_whole_chunks(names, chunk)
        except BaseException:
            self._file.close()
            raise
        self._rows = self.done * table.rows_per_picture

    def _keep_whole_chunks(self, names: Sequence[str], chunk: int) -> int:
        """Drop what was half written, and return how many pictures are done."""
        each = self._table.rows_per_picture
        end = kept = place = 0
        self._file.seek(0)
        for count, line in enumerate(self._file):
            picture = count // each
            if picture >= len(names) or not _is_row(line, names[picture]):
                break
            place += len(line)
            whole, rest = divmod(count + 1, each)
            if not rest and (whole % chunk == 0 or whole == len(names)):
                kept, end = whole, place
        self._file.truncate(end)
        self._file.seek(0, os.SEEK_END)
        return kept

    def rows(self) -> Iterator[Row]:
        """All rows that are there."""
        self._file.flush()
        with (self.folder / "rows.jsonl").open("rb") as file:
            yield from map(json.loads, file)

    def add(self, rows: Iterable[Row]) -> None:
        """Add the rows of a chunk.

        Raises:
            OutputError: the system refuses to write.
        """
        lines = [json_line(row) for row in rows]
        try:
            self._file.write("".join(lines).encode("ascii"))
            self._file.flush()
        except OSError as error:
            raise OutputError(
                f"cannot be written: {error.strerror or error}",
                where=str(self.folder),
                expected="room for all rows",
                hint="--resume, once there is some",
            ) from error
        self._rows += len(lines)

    def finish(self, form: str) -> None:
        """Make the output of the rows, and remove the folder.

        Raises:
            OutputError: as `atomic_write`; the rows are kept.
        """
        with atomic_write(self.output, self._force) as scratch:
            write_rows(self.rows(), scratch, form, self._table)
        self.discard()

    def close(self) -> None:
        """Leave it, to go on later; nothing is left behind where nothing was done."""
        self._file.close()
        if not self._rows and self.folder.exists():
            self.discard()

    def discard(self) -> None:
        """Remove all that was done."""
        self._file.close()
        shutil.rmtree(self.folder)


def partial_folder(output: Path) -> Path:
    """Where an output is kept that is not whole."""
    return output.with_name(f"{output.name}.partial")


def prepare_folder(
    folder: Path, identity: Identity, resume: bool, force: bool, names: set[str]
) -> None:
    """Make a folder for a run, or find that it is of the same one.

    Args:
        folder: the folder.
        identity: of this run.
        resume: whether it may be there already.
        force: whether it is replaced, unless `resume`.
        names: of the files that may be in it.

    Raises:
        OutputError, UsageError: as `Unfinished`.
    """
    record, new = folder / "run.json", folder / "run.json.new"
    if _ours(folder, {new.name}):
        shutil.rmtree(folder)  # that run was stopped before it had begun
    if os.path.lexists(folder) and resume:
        try:
            found = record.read_text()
        except OSError:
            found = ""
        check_same(found, identity, str(folder))
        return
    if os.path.lexists(folder):
        if not force or not _ours(folder, names):
            raise stopped_before(str(folder))
        _check_unused(folder)
        shutil.rmtree(folder)
    folder.mkdir()
    new.write_text(json.dumps(identity, indent=2))
    os.replace(new, record)


def _ours(folder: Path, names: set[str]) -> bool:
    if folder.is_symlink() or not folder.is_dir():
        return False
    found = {path.name for path in folder.iterdir()}
    return found <= names


def _check_unused(folder: Path) -> None:
    """Raises OutputError where another process has the folder."""
    rows = folder / "rows.jsonl"
    if rows.is_file():
        with rows.open("rb") as file:
            _lock(file.fileno(), folder)


def _is_row(line: bytes, name: str) -> bool:
    if not line.endswith(b"\n"):
        return False
    try:
        row = json.loads(line)
    except ValueError:
        return False
    return isinstance(row, dict) and row.get("path") == name


def _lock(descriptor: int, folder: Path) -> None:
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise OutputError(
            "another process is writing it", where=str(folder), hint="wait, or another -o"
        ) from error
    except OSError:  # a file system without locks
        return
