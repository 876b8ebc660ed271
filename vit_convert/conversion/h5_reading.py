"""Reading HDF5 files of somebody else: their structure by a process of its own, arrays from the
file itself."""

from __future__ import annotations

import atexit
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np

from vit_convert.checkpoint.file_bytes import FileBytes
from vit_convert.errors import ArtifactError
from vit_convert.runtime.limits import H5_SECONDS, VARIABLE
from vit_convert.runtime.worker_process import Worker, WorkerError

_MODULE = "vit_convert.conversion.h5_worker"
_PATIENCE = 10  # times as long as computing may take; the machine may be busy
_worker: tuple[int, Worker] | None = None  # the process that started it, and it
_lock = threading.Lock()


class H5File:
    """A file's structure, and its arrays as they are asked for.

    Args:
        path: of the file.
        shown: in messages; `path` by default.

    Raises:
        ArtifactError: it is damaged, over a limit, or refers to other files.
        CheckpointError: there is no such file, or it is no regular one.
    """

    def __init__(self, path: Path, shown: Path | None = None) -> None:
        self._file = FileBytes.open(path)
        self._shown = str(shown or path.resolve())
        self._path = str(path.resolve())
        structure = self._ask("structure", (self._path, self._file.size))
        self.model_config: bytes | None = structure.model_config
        self.datasets: dict[str, Any] = structure.datasets

    def read(self, name: str) -> np.ndarray:
        """The elements of a dataset.

        Raises:
            ArtifactError, CheckpointError: they are damaged.
        """
        dataset = self.datasets[name]
        if dataset.offset is None:
            array = self._ask("array", (self._path, name, dataset.nbytes))
        else:
            content = self._file.span(dataset.offset, dataset.nbytes)
            array = content.view(dataset.dtype).reshape(dataset.shape)
        return np.asarray(array)

    def _ask(self, verb: str, argument: Any) -> Any:
        with _lock:
            try:
                return _process().ask(verb, argument, _PATIENCE * max(1, H5_SECONDS.allowed()))
            except KeyboardInterrupt:  # the answer would be taken for that to the next request
                _end()
                raise
            except ArtifactError as error:  # says where by the path that the worker was given
                where = error.where.replace(self._path, self._shown, 1)
                raise ArtifactError(
                    error.what, where=where, expected=error.expected, hint=error.hint
                ) from error
            except WorkerError as error:
                if error.crashed:
                    _end()
                raise ArtifactError(
                    "is an HDF5 file, but truncated or damaged"
                    + (", so that libhdf5 fails or does not come to an end" * error.crashed),
                    where=self._shown,
                    expected="an .h5 that torch2keras wrote",
                    hint="convert the checkpoint again"
                    + (
                        f"; if the file is merely large, {VARIABLE}={H5_SECONDS.name}=60"
                        * error.crashed
                    ),
                ) from error


def _process() -> Worker:
    """The worker, which is started once, and once more after it failed."""
    global _worker
    if _worker is None or _worker[0] != os.getpid():
        # Filters of this machine are code, and a file could ask for any of them.
        environment = {**os.environ, "HDF5_PLUGIN_PRELOAD": "::"}
        _worker = (os.getpid(), Worker(_MODULE, environment))
    return _worker[1]


@atexit.register
def _end() -> None:
    global _worker
    if _worker is not None and _worker[0] == os.getpid():
        _worker[1].kill()
    _worker = None
