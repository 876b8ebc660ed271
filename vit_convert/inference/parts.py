"""A folder of Parquet files, one for each part of a run, here or in object storage, by pyarrow.fs.

    _run.json            what the run is
    part-000012.parquet  the rows of part 12
    _SUCCESS             all parts are there

A part appears whole, under a name that its number tells: whoever writes it again, because a worker
was lost, writes the same. On this machine the folder is FOLDER.partial until all parts are there.
Object storage renames no folders; there, _SUCCESS says it alone, as in what Hadoop and Spark write.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from vit_convert.errors import OutputError
from vit_convert.images.storage import file_system, is_address, local
from vit_convert.inference.rows import Row, arrow_table, parquet_module
from vit_convert.inference.run_identity import Identity, check_same, stopped_before
from vit_convert.inference.unfinished import partial_folder
from vit_convert.runtime.atomic_write import check_output
from vit_convert.runtime.renames import rename_new, replace

_PART = re.compile(r"part-(\d+)\.parquet")
# Readers of Parquet pass over names that begin so.
_RUN, _DONE = "_run.json", "_SUCCESS"


class Parts:
    """Such a folder, by its place; it can be sent to other machines.

    Args:
        output: the folder, or its address.
    """

    def __init__(self, output: str) -> None:
        self.output = local(output).rstrip("/")
        self._remote = is_address(self.output)
        self.place = (
            self.output if self._remote else os.path.abspath(partial_folder(Path(self.output)))
        )

    def begin(self, identity: Identity, resume: bool, force: bool) -> Identity:
        """Make the folder, or find that it is of the same run.

        Args:
            identity: of this run.
            resume: go on where a run was stopped.
            force: replace what is there.

        Returns:
            the identity that is stored: this one, and what the first of the runs has added to it.

        Raises:
            OutputError: the output exists, or cannot be written; or there is a run that was
                stopped, and neither `resume` nor `force` is asked for.
            UsageError: it was another run.
        """
        if not self._remote:
            check_output(Path(self.output), force, _DONE)
        system, base = self._system()
        names = self._names()
        if _DONE in names and not force:
            raise OutputError(
                "exists already, and is kept", where=self.output, hint="--force, or another name"
            )
        if _RUN in names and resume:
            with system.open_input_stream(f"{base}/{_RUN}") as stream:
                found = stream.read().decode()
            check_same(found, identity, self.place)
            return dict(json.loads(found))
        known = {name for name in names if name in (_RUN, _DONE) or _PART.fullmatch(name)}
        if names and (known != names or not force):
            raise stopped_before(self.place)
        for name in sorted(known, key=lambda name: name != _DONE):
            system.delete_file(f"{base}/{name}")
        system.create_dir(base, recursive=self._remote)
        self.store(identity)
        return identity

    def store(self, identity: Identity) -> None:
        """Replace what is stored."""
        self._write(_RUN, json.dumps(identity, indent=2).encode())

    def done(self) -> set[int]:
        """The numbers of the parts that are there."""
        found = map(_PART.fullmatch, self._names())
        return {int(match[1]) for match in found if match}

    def write(self, number: int, rows: Sequence[Row]) -> None:
        """Write a part.

        Raises:
            OutputError: the system refuses to write.
        """
        parquet = parquet_module(self.place)
        from pyarrow import BufferOutputStream

        sink = BufferOutputStream()
        parquet.write_table(arrow_table(rows), sink)
        self._write(_name(number), sink.getvalue())

    def read(self, number: int) -> list[Row]:
        """The rows of a part."""
        system, base = self._system()
        with system.open_input_file(f"{base}/{_name(number)}") as file:
            rows: list[Row] = parquet_module(self.place).read_table(file).to_pylist()
        return rows

    def finish(self, force: bool) -> None:
        """Say that all parts are there, and put the folder in its place.

        Raises:
            OutputError: the output has come meanwhile; the parts are kept.
        """
        self._write(_DONE, b"")
        if self._remote:
            return
        folder, output = Path(self.place), Path(self.output)
        try:
            if force:
                replace(folder, output, folder.with_suffix(".old"))
            else:
                rename_new(folder, output)
        except OSError as error:
            raise OutputError(
                f"cannot be put in its place: {error.strerror or error}",
                where=self.output,
                expected=f"a free name; all parts are in {folder}",
            ) from error
        if folder.exists():  # what was in the place before
            shutil.rmtree(folder)

    def discard_if_empty(self) -> None:
        """Remove the folder where no part is there."""
        if not self.done():
            system, base = self._system()
            with suppress(OSError):
                system.delete_file(f"{base}/{_RUN}")
                if not self._remote:
                    system.delete_dir(base)

    def _names(self) -> set[str]:
        from pyarrow.fs import FileSelector, FileType

        system, base = self._system()
        entries = system.get_file_info(FileSelector(base, allow_not_found=True))
        return {
            entry.base_name
            for entry in entries
            if entry.type == FileType.File and not entry.base_name.startswith(".")
        }

    def _write(self, name: str, content: Any) -> None:
        """A file that appears whole."""
        system, base = self._system()
        scratch = f"{base}/.{name}.{uuid.uuid4().hex}"
        try:
            with system.open_output_stream(scratch) as stream:
                stream.write(content)
            system.move(scratch, f"{base}/{name}")
        except OSError as error:
            reason = (str(error).splitlines() or [""])[0]
            raise OutputError(
                f"cannot be written: {reason}", where=f"{self.place}/{name}", hint="another -o"
            ) from error

    def _system(self) -> tuple[Any, str]:
        if self._remote:
            return file_system(self.place)
        parquet_module(self.place)
        from pyarrow.fs import LocalFileSystem

        return LocalFileSystem(), self.place


def _name(number: int) -> str:
    return f"part-{number:06d}.parquet"
