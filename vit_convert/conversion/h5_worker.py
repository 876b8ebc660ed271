"""The process in which libhdf5 reads files of somebody else: `python -m` of it is a worker.

One changed byte can keep libhdf5 in a loop that no signal ends, or crash it. And it follows what a
file says: a dataset may lie in any other file of the machine (external storage, external links,
virtual datasets), and would be converted as if it were the model's. All of that is refused, by
name, before anything is read.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from vit_convert.errors import ArtifactError
from vit_convert.runtime.limits import H5_OBJECTS, H5_SECONDS, JSON_BYTES, TENSOR_BYTES, Budget
from vit_convert.runtime.worker_process import limit_process, serve

_EXPECTED = "an .h5 that torch2keras wrote"
_DEPTH = 50  # groups within each other
_MEMORY = 512 << 20  # bytes beyond what the process has to begin with


@dataclass(frozen=True)
class Dataset:
    """A dataset.

    Attributes:
        shape, dtype: as NumPy has them; of what is no number "V0".
        offset: where its elements begin in the file, if they lie there as they are; else None.
    """

    shape: tuple[int, ...]
    dtype: str
    offset: int | None

    @property
    def nbytes(self) -> int:
        """Bytes of its elements."""
        count = np.dtype(self.dtype).itemsize
        for side in self.shape:
            count *= side
        return count


@dataclass(frozen=True)
class Structure:
    """All of a file but its arrays.

    Attributes:
        model_config: the attribute of that name; None if there is none.
        datasets: path -> dataset.
    """

    model_config: bytes | None
    datasets: dict[str, Dataset]


class Reading:
    """What the process does."""

    def structure(self, request: tuple[str, int]) -> Structure:
        """(Path of a file, its size) -> its structure.

        Raises:
            ArtifactError: it refers to other files, or is over a limit.
            ValueError: it is damaged.
        """
        path, size = request
        limit_process(H5_SECONDS.allowed(), _MEMORY)
        with _opened(path) as file:
            walk = _Walk(file, path)
            walk.group(file, "", 0)
            TENSOR_BYTES.check(
                sum(dataset.nbytes for dataset in walk.datasets.values()),
                path,
                size,
                ArtifactError,
            )
            return Structure(_model_config(file, path), walk.datasets)

    def array(self, request: tuple[str, str, int]) -> np.ndarray:
        """(Path of a file, path of a dataset in it, its bytes) -> its elements.

        Raises:
            ValueError: it is damaged.
        """
        path, name, nbytes = request
        limit_process(H5_SECONDS.allowed(), _MEMORY + 2 * nbytes)
        with _opened(path) as file:
            return np.asarray(file[name][()])


class _Walk:
    """A walk through all objects of a file, which looks at links before it follows them."""

    def __init__(self, file: h5py.File, path: str) -> None:
        self.path = path
        self.budget = Budget(H5_OBJECTS, where=path)
        self.plain = file.userblock_size == 0
        self.seen: set[Any] = set()
        self.datasets: dict[str, Dataset] = {}

    def group(self, group: h5py.Group, prefix: str, depth: int) -> None:
        key = h5py.h5o.get_info(group.id).addr
        if key in self.seen or depth > _DEPTH:
            raise self.refused(prefix or "/", "a group that contains itself, or stands in two")
        self.seen.add(key)
        for name in group:
            self.budget.spend(1)
            where = f"{prefix}{name}"
            match group.get(name, getlink=True):
                case h5py.ExternalLink() as link:
                    raise self.refused(where, f"a link to the file {link.filename!a}")
                case h5py.SoftLink():
                    raise self.refused(where, "a soft link")
            item = group[name]
            if isinstance(item, h5py.Group):
                self.group(item, f"{where}/", depth + 1)
            elif isinstance(item, h5py.Dataset):
                self.datasets[where] = self.dataset(item, where)

    def dataset(self, dataset: h5py.Dataset, where: str) -> Dataset:
        plan = dataset.id.get_create_plist()
        if plan.get_external_count():
            raise self.refused(where, f"an array in the file {plan.get_external(0)[0]!a}")
        if plan.get_layout() == h5py.h5d.VIRTUAL:
            raise self.refused(where, "an array of parts of other files")
        for index in range(plan.get_nfilters()):
            code, *_, name = plan.get_filter(index)
            if not h5py.h5z.filter_avail(code):
                raise ArtifactError(
                    f"is packed by the filter {code} ({name.decode(errors='replace')!a}), which "
                    "is not there",
                    where=f"{self.path}: {where!a}",
                    expected="an array that is not packed, or with gzip",
                    hint="convert the checkpoint again",
                )
        if dataset.dtype.kind not in "fiub":  # texts, structures, references: no arrays of ours
            return Dataset(dataset.shape or (), "V0", None)
        offset = dataset.id.get_offset() if self.plain else None
        if dataset.id.get_storage_size() != dataset.nbytes:
            offset = None
        return Dataset(dataset.shape or (), dataset.dtype.str, offset)

    def refused(self, where: str, what: str) -> ArtifactError:
        return ArtifactError(
            f"holds {what}; nothing outside the file is read",
            where=f"{self.path}: {where[:200]!a}",
            expected=_EXPECTED,
            hint="convert the checkpoint again",
        )


def _model_config(file: h5py.File, path: str) -> bytes | None:
    if "model_config" not in file.attrs:
        return None
    size = file.attrs.get_id("model_config").get_storage_size()
    JSON_BYTES.check(size, path, error=ArtifactError)
    value = file.attrs["model_config"]
    return value.encode() if isinstance(value, str) else bytes(value)


@contextlib.contextmanager
def _opened(path: str) -> Any:
    """An open file, errors of which are all of one kind."""
    try:
        with h5py.File(path, "r") as file:
            yield file
    except ArtifactError:
        raise
    except Exception as error:  # h5py gives libhdf5's errors many kinds
        raise ValueError(f"{type(error).__name__}: {error}") from error


def main() -> None:
    """Serve."""
    serve(Reading)
