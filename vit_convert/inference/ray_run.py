"""Scoring on Ray: units of pictures out, what is done back."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from math import ceil
from pathlib import Path

from vit_convert.errors import MissingDependencyError, VitConvertError
from vit_convert.exporters import artifact_size
from vit_convert.inference.ray_address import HERE, check_reachable
from vit_convert.inference.ray_driver import SCRATCH
from vit_convert.inference.ray_worker import Job, Unit, UnitDone
from vit_convert.runtime.processors import cores
from vit_convert.runtime.worker_process import Worker, WorkerError

_START = 300  # seconds in which Ray must have started, or the cluster have answered
_UNITS_OF_ACTOR = 16  # at least, so that none has to wait long for another at the end
_MOST_PICTURES = 4096  # of a unit, which is lost with its worker
_MOST_UNITS = 50_000  # then they are larger


class RayRun:
    """A Ray cluster that scores; `on_ray` makes it.

    Attributes:
        cores: of the cluster.
        actors: processes that score.
    """

    def __init__(self, worker: Worker, address: str, workers: int | None, size: int) -> None:
        self._worker = worker
        where = None if address == HERE else address
        self.cores: int = worker.ask("connect", (where, workers or cores(), size), _START)
        self.actors = workers or self.cores

    def unit_size(self, pictures: int, chunk: int) -> int:
        """How many pictures a unit has: a multiple of a chunk's, so that chunks are those of the
        local path."""
        fair = ceil(pictures / (_UNITS_OF_ACTOR * self.actors))
        size = max(min(fair, _MOST_PICTURES), ceil(pictures / _MOST_UNITS))
        return max(1, ceil(size / chunk)) * chunk

    def scored(self, job: Job, units: Sequence[Unit]) -> Iterator[UnitDone]:
        """Score units; they come back in their order.

        Raises:
            VitConvertError: as an actor raised it.
            WorkerError: Ray failed.
        """
        if not units:
            return
        self._worker.ask("start", (job, min(self.actors, len(units)), units))
        while (done := self._worker.ask("next")) is not None:
            yield done


@contextmanager
def on_ray(address: str, workers: int | None, artifacts: Sequence[Path]) -> Iterator[RayRun]:
    """A Ray cluster, for as long as the block runs.

    Args:
        address: of a cluster; `HERE` to start one on this machine, which leaves nothing behind.
        workers: actors; by default as many as the cluster has cores.
        artifacts: that each of them loads.

    Raises:
        MissingDependencyError: Ray is not installed.
        UsageError: the cluster cannot be reached.
    """
    if find_spec("ray") is None or find_spec("pyarrow") is None:
        raise MissingDependencyError(
            "Ray is not installed", where="--ray", hint='pip install "vit-convert[ray]"'
        )
    check_reachable(address)
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "RAY_USAGE_STATS_ENABLED": "0",  # says nothing to anybody
        "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
        "RAY_prestart_worker_first_driver": "0",  # only processes that are needed
    }
    folder = None
    if address == HERE:
        folder = tempfile.mkdtemp(prefix="vc-ray-")  # short: names of sockets in it are limited
        environment |= {"RAY_TMPDIR": folder, "TMPDIR": folder, SCRATCH: folder}
        environment.pop("RAY_ADDRESS", None)
    worker = Worker("vit_convert.inference.ray_driver", environment)
    try:
        size = sum(map(artifact_size, artifacts))
        yield RayRun(worker, address, workers, size)
        worker.close()
    except WorkerError as error:
        raise VitConvertError(
            f"failed: {error}", where="Ray", expected="a cluster that runs", hint="--resume"
        ) from error
    finally:
        worker.stop()  # it ends Ray and removes the folder
        worker.close()
        if folder:  # unless it was ended itself
            shutil.rmtree(folder, ignore_errors=True)
