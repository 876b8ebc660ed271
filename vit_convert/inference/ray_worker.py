"""What runs on Ray: one loaded artifact, or several, in each actor."""

from __future__ import annotations

import io
import os
import pickle
import tarfile
import tempfile
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vit_convert.errors import ArtifactError, VitConvertError
from vit_convert.exporters import open_artifact
from vit_convert.exporters.artifact import Artifact
from vit_convert.images.storage import Storage
from vit_convert.inference.parts import Parts
from vit_convert.inference.ray_attempts import OPENING
from vit_convert.inference.rows import Row, Table
from vit_convert.inference.scoring import Scorer, opened_again
from vit_convert.runtime.versions import versions

Item = tuple[str, str]  # the name of a picture, and its class
Unit = tuple[int, int, Sequence[Item]]  # its number, the place of its first picture, and all
_READERS = 8  # objects that an actor asks the storage for at a time
_LISTED = 20  # rows of pictures that cannot be read, sent back of each unit


@dataclass(frozen=True)
class Job:
    """What all actors know of a run.

    Attributes:
        paths: of the artifacts, on the machine that asks.
        table: the rows.
        chunk: pictures that are scored at a time.
        storage: where the pictures are.
        parts: where the rows go; None to send them back.
        version: of vit-convert.
    """

    paths: tuple[Path, ...]
    table: Table
    chunk: int
    storage: Storage
    parts: Parts | None
    version: str


@dataclass(frozen=True)
class UnitDone:
    """What comes back of a unit of pictures.

    Attributes:
        number: of the unit.
        start: place of its first picture in the list of all.
        count, unreadable: pictures.
        rows: all of them, or only some of pictures that cannot be read, where there are parts.
    """

    number: int
    start: int
    count: int
    unreadable: int
    rows: list[Row]


class UnitScorer:
    """An actor.

    What it raises would reach the driver as a text of Ray's; so an error of ours is its answer.

    Args:
        job: a pickled `Job`.
        contents: the artifacts, as `packed` gives them.
        attempts: a handle of the actor that counts; see `vit_convert.inference.ray_attempts`.
    """

    def __init__(self, job: bytes, contents: Sequence[Any], attempts: Any) -> None:
        # This process has one core to compute on, TensorFlow's threads included.
        for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
            os.environ.setdefault(name, "1")
        self._job: Job = pickle.loads(job)
        self._attempts = attempts
        self._reader = _ReadAhead(self._job.storage)
        self._failed: VitConvertError | None = None
        try:
            self._begin(OPENING)
            self._scorer = Scorer(self._opened(contents), self._job.table.top, self._reader)
            self._attempts.end.remote(OPENING)
        except VitConvertError as error:
            self._failed = error

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Score units; as Ray Data's `map_batches` has it."""
        done: list[UnitDone | VitConvertError] = []
        for unit in batch["unit"]:
            try:
                if self._failed:
                    raise self._failed
                done.append(self._unit(*pickle.loads(unit)))
            except VitConvertError as error:
                done.append(error)
        return {"done": [pickle.dumps(each) for each in done]}

    def _opened(self, contents: Sequence[Any]) -> list[Artifact]:
        """Raises ArtifactError: they cannot be opened, or vit-convert is another version here."""
        here = versions()["vit-convert"]
        if here != self._job.version:
            raise ArtifactError(
                f"vit-convert {here} is installed on a node",
                where="the Ray cluster",
                expected=f"vit-convert {self._job.version}, as where the run began",
            )
        with tempfile.TemporaryDirectory(prefix="vit-convert-") as folder:
            opened = [
                opened_again(open_artifact(_unpacked(content, Path(folder, str(index)))))
                for index, content in enumerate(contents)
            ]
        return [replace(a, path=path) for a, path in zip(opened, self._job.paths, strict=True)]

    def _begin(self, what: int) -> None:
        """Raises VitConvertError: too many workers have died at it."""
        import ray

        if error := ray.get(self._attempts.begin.remote(what)):
            raise error

    def _unit(self, number: int, begin: int, items: Sequence[Item]) -> UnitDone:
        self._begin(number)
        job, rows = self._job, []
        chunks = [items[start : start + job.chunk] for start in range(0, len(items), job.chunk)]
        for index, chunk in enumerate(chunks):
            if index == 0:
                self._reader.expect(chunk)
            if index + 1 < len(chunks):
                self._reader.expect(chunks[index + 1])
            scored = self._scorer([name for name, _ in chunk])
            for scores, (_, true_class) in zip(scored, chunk, strict=True):
                rows += job.table.rows(scores, true_class)
        unread = [row for row in rows if row["error"] is not None]
        each = job.table.rows_per_picture
        if job.parts is not None:
            job.parts.write(number, rows)
        self._attempts.end.remote(number)
        return UnitDone(
            number,
            begin,
            len(items),
            len(unread) // each,
            rows if job.parts is None else unread[: each * _LISTED : each],
        )


class _ReadAhead:
    """Reads objects before they are asked for; what is on this machine, when it is asked for."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._threads = ThreadPoolExecutor(_READERS) if storage.addresses else None
        self._coming: dict[str, deque[Future[bytes]]] = {}

    def expect(self, items: Sequence[Item]) -> None:
        """Begin to read pictures."""
        if self._threads is not None:
            for name, _ in items:
                future = self._threads.submit(self._storage.read, name)
                self._coming.setdefault(name, deque()).append(future)

    def __call__(self, name: str) -> bytes:
        """As `Storage.read`."""
        coming = self._coming.get(name)
        if not coming:
            return self._storage.read(name)
        future = coming.popleft()
        if not coming:
            del self._coming[name]
        return future.result()


def packed(artifact: Path) -> tuple[str, bytes]:
    """An artifact to be sent: the end of its name and its bytes; of a folder, as a tar archive."""
    if artifact.is_file():
        return artifact.suffix, artifact.read_bytes()
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.add(artifact, arcname=".")
    return "/", content.getvalue()


def _unpacked(content: tuple[str, bytes], place: Path) -> Path:
    suffix, data = content
    if suffix != "/":
        place = place.with_name(f"{place.name}{suffix}")
        place.write_bytes(data)
        return place
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        archive.extractall(place, filter="data")
    return place
