"""The process that drives Ray; ray_run.py starts it.

A process of its own, because Ray changes the process that it runs in (signal handlers, environment,
loggers), and writes to its stderr from several places.
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from vit_convert.errors import VitConvertError
from vit_convert.inference.ray_address import unreachable
from vit_convert.inference.ray_attempts import Attempts
from vit_convert.runtime.guarded import guarded
from vit_convert.runtime.worker_process import serve

if TYPE_CHECKING:  # this process forks, before NumPy has started threads
    from vit_convert.inference.ray_worker import Job, Unit, UnitDone

SCRATCH = "VIT_CONVERT_RAY_FOLDER"  # the folder of a cluster that is started for one run
# Actors ask for half a core each: when a node is lost, those that it had find room on the others.
_CORES_OF_ACTOR = 0.5
_SHARED_MEMORY = 128 << 20  # bytes, besides the artifacts, of Ray's object store on one machine


class Driver:
    """Ray, and one run on it."""

    def __init__(self) -> None:
        self._done: Iterator[dict[str, Any]] = iter(())
        self._attempts: Any = None  # the actor ends with the last reference to it

    def connect(self, argument: tuple[str | None, int | None, int]) -> int:
        """(address or None, cores of this machine to use, bytes of the artifacts) -> cores.

        Raises:
            UsageError: there is no such cluster.
        """
        import ray

        address, cores, size = argument
        quiet: dict[str, Any] = {
            "log_to_driver": False,
            "logging_level": logging.ERROR,
            "include_dashboard": False if address is None else None,
        }
        if address is None:
            ray.init(
                "local", num_cpus=cores, object_store_memory=_SHARED_MEMORY + 2 * size, **quiet
            )
        else:
            try:
                ray.init(address, **quiet)
            except Exception as error:
                reason = (str(error).splitlines() or [repr(error)])[0]
                raise unreachable(address, reason) from error
        return max(1, int(ray.cluster_resources().get("CPU", 1)))

    def start(self, argument: tuple[Job, int, Sequence[Unit]]) -> None:
        """(job, actors, units) -> nothing; the units are scored from then on."""
        import ray
        import ray.data
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        from vit_convert.inference.ray_worker import UnitScorer, packed

        job, actors, units = argument
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        context.execution_options.preserve_order = True
        contents = [packed(path) for path in job.paths]
        rows = [{"unit": pickle.dumps(unit)} for unit in units]
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        counting = ray.remote(Attempts).options(num_cpus=0, scheduling_strategy=here)
        self._attempts = counting.remote(actors)
        self._done = iter(
            ray.data.from_items(rows, override_num_blocks=len(rows))
            .map_batches(
                UnitScorer,
                fn_constructor_args=(pickle.dumps(job), contents, self._attempts),
                batch_size=1,
                compute=ray.data.ActorPoolStrategy(size=actors),
                num_cpus=_CORES_OF_ACTOR,
                scheduling_strategy="SPREAD",
                max_task_retries=-1,  # a node that is lost is nobody's fault; `Attempts` counts
            )
            .iter_rows()
        )

    def next(self, _argument: None) -> UnitDone | None:
        """The next unit that is done, None when all are.

        Raises:
            VitConvertError: as an actor raised it.
            RuntimeError: it failed otherwise.
        """
        try:
            row = next(self._done, None)
        except Exception as error:  # one of Ray's own, which worker_process.py can not send
            raise RuntimeError(str(error)) from error
        if row is None:
            return None
        done: UnitDone | VitConvertError = pickle.loads(row["done"])
        if isinstance(done, VitConvertError):
            raise done
        return done


def main() -> None:
    """Answer requests until there are none."""
    # Ctrl-C in a terminal reaches this process too; whoever started it decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    guarded(_serve, os.environ.get(SCRATCH))


def _serve() -> None:
    try:
        serve(Driver)
    finally:
        import ray

        ray.shutdown()
