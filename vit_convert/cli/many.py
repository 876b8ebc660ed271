"""Several inputs of one command, in processes of their own: it goes on past one that fails."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Queue
from typing import Any

from vit_convert.cli import console
from vit_convert.errors import OutputError, VitConvertError
from vit_convert.progress import Progress
from vit_convert.runtime.worker_process import Worker, WorkerError

Result = Any  # or the VitConvertError that it failed with


def run_all(
    verb: str, arguments: Sequence[Any], names: Sequence[Path], jobs: int, progress: Progress
) -> Iterator[tuple[int, Result]]:
    """Have processes do something with each of several inputs.

    Args:
        verb: a method of `vit_convert.cli.many_worker.Doing`.
        arguments: its argument for each input.
        names: of the inputs.
        jobs: processes at a time.
        progress: told how many are done.

    Yields:
        (place of the input, result or VitConvertError), as they are done.
    """
    waiting: Queue[int] = Queue()
    for index in range(len(arguments)):
        waiting.put(index)
    done: Queue[tuple[int, Result]] = Queue()
    processes = _Processes()

    def work() -> None:
        worker: Worker | None = None
        try:
            while True:
                index = waiting.get_nowait()
                worker = worker or processes.start()
                try:
                    done.put((index, worker.ask(verb, arguments[index])))
                except VitConvertError as error:
                    done.put((index, error))
                except WorkerError as error:
                    done.put((index, _failed(error, names[index])))
                    if error.crashed:
                        worker.kill()
                        worker = None
        except Empty:
            pass
        finally:
            if worker is not None:
                worker.close()

    threads = [threading.Thread(target=work) for _ in range(min(jobs, len(arguments)))]
    for thread in threads:
        thread.start()
    try:
        progress(verb, 0, len(arguments))
        for count in range(len(arguments)):
            yield done.get()
            progress(verb, count + 1, len(arguments))
    finally:  # also where a signal stops this one
        with waiting.mutex:
            waiting.queue.clear()
        processes.stop()
        for thread in threads:
            thread.join()


def done_of_all(
    verb: str,
    arguments: Sequence[Any],
    names: Sequence[Path],
    jobs: int,
    progress: Progress,
    say: Callable[[Result, str], None],
) -> list[Result]:
    """As `run_all`, and say of each input what there is to say as soon as it is done.

    Args:
        verb, arguments, names, jobs, progress: as of `run_all`.
        say: prints warnings and notes of a result, given what to put in front of each.

    Returns:
        what `run_all` gives, in the order of the inputs.
    """
    results: dict[int, Result] = {}
    for index, result in run_all(verb, arguments, names, jobs, progress):
        results[index] = result
        if isinstance(result, VitConvertError):
            console.error(result, str(names[index]))
        else:
            say(result, f"{names[index]}: ")
    return [results[index] for index in range(len(names))]


def as_dicts(names: Sequence[Path], results: Sequence[Result]) -> list[dict[str, Any]]:
    """Results and errors of all inputs in values that JSON knows."""
    return [
        console.error_dict(name, result)
        if isinstance(result, VitConvertError)
        else result.to_dict() | {"error": None}
        for name, result in zip(names, results, strict=True)
    ]


def failed_row(name: Path, error: VitConvertError) -> tuple[str, str, str, str]:
    """The row of an input that failed, in a table of four columns."""
    return str(name), f"failed: {error.what}", "-", "-"


class _Processes:
    """Those that were started."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stopped = False
        self._all: list[Worker] = []

    def start(self) -> Worker:
        """Another one."""
        with self._lock:
            if self._stopped:
                raise Empty
            worker = Worker("vit_convert.cli.many_worker")
            self._all.append(worker)
            return worker

    def stop(self) -> None:
        """Have all of them end, and clean up what they were writing."""
        with self._lock:
            self._stopped = True
        for worker in self._all:
            worker.stop()


def _failed(error: WorkerError, name: Path) -> VitConvertError:
    what = "its process ended" if error.crashed else "it failed"
    return VitConvertError(
        f"{what}: {error}", where=str(name), hint=f"vit-convert --debug, with {name} alone"
    )


@contextmanager
def made_folder(folder: Path) -> Iterator[None]:
    """A folder to write to, which is made if need be, and removed again if nothing is in it.

    Raises:
        OutputError: it cannot be made.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot be made: {error.strerror or error}",
            where=str(folder),
            expected="a folder to write to",
            hint="another -o",
        ) from error
    try:
        yield
    finally:
        for path in missing:
            if any(path.iterdir()):
                break
            path.rmdir()
