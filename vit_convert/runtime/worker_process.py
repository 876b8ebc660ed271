"""Processes that answer requests: for native code that may end its process, never come to an end or
fill the memory.

Requests go as pickled (verb, argument) to the process's stdin; answers come as pickled
(status, value) from what was its stdout. What native code says on file descriptors 1 and 2 goes to
a log.
"""

from __future__ import annotations

import json
import os
import pickle
import select
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, TypeVar

from vit_convert.errors import VitConvertError

# Isolated from the environment's and the current folder's modules, with the path of this process
_BOOT = (
    "import json, sys; from importlib import import_module; "
    "sys.path[:] = json.loads(sys.argv[1]); import_module(sys.argv[2]).main()"
)
_Some = TypeVar("_Some", bound="Worker")


class WorkerError(Exception):
    """A request failed.

    Attributes:
        message: of the exception that it raised; "" where the process ended.
        log: what native code said meanwhile.
        crashed: whether the process ended.
    """

    def __init__(self, message: str, log: str, crashed: bool) -> None:
        self.message = message
        self.log = log
        self.crashed = crashed
        lines = (message or log).strip().splitlines()
        super().__init__(lines[-1] if lines else "no reason given")


class Worker:
    """A process that runs the function `main` of a module, which calls `serve`.

    Args:
        module: the full name of the module.
        environment: the process's environment variables; by default those of this process.
    """

    def __init__(self, module: str, environment: Mapping[str, str] | None = None) -> None:
        # In append mode, because the process shares the position in the file.
        self._log = tempfile.TemporaryFile("a+b")  # noqa: SIM115 - `close` closes it
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-c", _BOOT, json.dumps(sys.path), module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=None if environment is None else dict(environment),
        )

    def __enter__(self: _Some) -> _Some:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def kill(self) -> None:
        """End the process, whatever it is doing."""
        self._process.kill()
        self.close()

    def stop(self, seconds: float = 10) -> None:
        """Ask the process to end (SIGTERM), and end it if it does not within so many seconds.

        Another thread may be waiting for its answer, and is the one to close it.
        """
        self._process.terminate()
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def close(self) -> None:
        """End the process, once it has answered."""
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):  # it ended before it had read everything
                pipe.close()
        self._process.wait()
        self._log.close()

    @property
    def log(self) -> str:
        """The output of native code so far."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def ask(self, verb: str, argument: Any = None, seconds: float | None = None) -> Any:
        """Call the method `verb` of the served object with an argument, and return its result.

        Args:
            verb, argument: what to call, and with what.
            seconds: how long to wait for the answer; by default as long as it takes. The process
                is of no use after that.

        Raises:
            VitConvertError: as the method raised it.
            WorkerError: it failed otherwise, took longer, or the process ended.
        """
        before = len(self.log)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            pickle.dump((verb, argument), self._process.stdin)
            self._process.stdin.flush()
            if seconds and not select.select([self._process.stdout], [], [], seconds)[0]:
                raise WorkerError("it took too long", self.log[before:], crashed=True)
            status, value = pickle.load(self._process.stdout)
        except (EOFError, BrokenPipeError) as error:
            raise WorkerError("", self.log[before:], crashed=True) from error
        if status == "done":
            return value
        if status == "refused":
            raise value
        raise WorkerError(value, self.log[before:], crashed=False)


def serve(make: Callable[[], Any]) -> None:
    """In the process: answer requests with the methods of one object until there are none.

    Args:
        make: makes the object. The first request calls it, so that its errors are reported too.
    """
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    served: Any = None
    while True:
        try:
            verb, argument = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            served = served or make()
            answer = ("done", getattr(served, verb)(argument))
        except VitConvertError as error:
            answer = ("refused", error)
        except (RuntimeError, ValueError, OSError, MemoryError) as error:
            answer = ("failed", str(error))
        pickle.dump(answer, answers)
        answers.flush()


def limit_process(seconds: int, memory: int) -> None:
    """In the process: let it compute for so long and take so much memory, in bytes, from now on.

    Where the system can. A process that computes for longer is ended; one that asks for more memory
    gets none.
    """
    try:
        import resource
    except ImportError:  # Windows
        return

    def limit(kind: int, soft: int) -> None:
        hard = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (soft if hard < 0 else min(soft, hard), hard))

    usage = resource.getrusage(resource.RUSAGE_SELF)
    limit(resource.RLIMIT_CPU, int(usage.ru_utime + usage.ru_stime) + 1 + seconds)
    with suppress(OSError), open("/proc/self/statm", encoding="ascii") as file:
        pages = int(file.read().split()[5])
        limit(resource.RLIMIT_DATA, pages * resource.getpagesize() + memory)
