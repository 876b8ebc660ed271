"""A process that has imported vit-convert and runs commands in forks of itself, each with a fault.

A fork costs milliseconds where a new interpreter costs a second, so that hundreds of faults can be
tried. What a command does between two system calls is the same in a fork.

Requests come as lines of JSON on stdin, answers go as lines of JSON to stdout; see `Commands`.
"""

from __future__ import annotations

import fcntl
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SECONDS = 120  # after which a command hangs
# what touches files; the rest is Python's own business
EVENTS = ("open", "os.", "shutil.", "tempfile.", "mmap.", "fcntl.", "fsync", "renameat2")


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        code: its exit code; negative where a signal ended it.
        out, err: what it printed.
        events: the names of the calls that touched files, in order.
        seconds: how long it took.
    """

    code: int
    out: str
    err: str
    events: list[str] = field(default_factory=list)
    seconds: float = 0.0


class Commands:
    """Runs `vit-convert` in a folder, with a fault.

    Args:
        folder: the working folder of the commands.
        imports: modules that are imported once, beforehand.
    """

    def __init__(self, folder: Path, imports: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ
            | {
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                "TF_CPP_MIN_LOG_LEVEL": "3",  # as vit-convert sets it before it imports TensorFlow
                **{"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1"},  # trainings repeat
            },
        )
        self._ask({"imports": imports})

    def close(self) -> None:
        """End the process."""
        self._process.communicate(timeout=SECONDS)

    def __call__(self, *arguments: str, folder: Path | None = None, **fault: Any) -> Ended:
        """Run a command.

        Args:
            arguments: of vit-convert.
            folder: where, if elsewhere.
            fault: at most one of:
                signal, at: send itself this signal when it makes its `at`-th call (from 0).
                signal, after: send it this signal after so many seconds.
                call, at, errno: fail the `at`-th call of this name with an errno.
                without: "exchange": the system has no renameat2. May be combined.
                file_size: files can grow to so many bytes, as if the disk were full.
        """
        where = str(folder or self.folder)
        return Ended(**self._ask({"arguments": arguments, "folder": where, "fault": fault}))

    def _ask(self, request: Mapping[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the nursery died"
        return json.loads(answer)


@contextmanager
def commands(folder: Path, imports: tuple[str, ...] = ()) -> Iterator[Commands]:
    """Commands, until the block ends."""
    made = Commands(folder, imports)
    try:
        yield made
    finally:
        made.close()


def observe(tell: Callable[[str], None]) -> None:
    """Call a function before each call that touches files; what it raises, the call raises.

    Python's audit events (PEP 578) tell of nearly all of them; fsync and renameat2 have none.
    """
    from vit_convert.runtime import renames

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event.startswith(EVENTS):
            # a file that is only read has another name than one that is written
            written = event == "open" and isinstance(arguments[1], str) and arguments[1][:1] != "r"
            tell("open to write" if written else event)

    sys.addaudithook(hook)
    fsync, call = os.fsync, renames._renameat2()
    assert call is not None

    def told_fsync(descriptor: int) -> None:
        tell("fsync")
        fsync(descriptor)

    def told_rename(*arguments: Any) -> int:
        try:
            tell("renameat2")
        except OSError as error:
            return error.errno or 0
        return call(*arguments)

    os.fsync = told_fsync
    renames._renameat2 = lambda: told_rename  # type: ignore[assignment]  # has no cache_clear


def _prepare(fault: Mapping[str, Any], log: int) -> None:
    """In the fork: have the fault happen, and each call written to a log."""
    from vit_convert.runtime import renames

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    seen = 0

    def tell(event: str) -> None:
        nonlocal seen
        os.write(log, f"{event}\n".encode())
        if fault.get("call", event) == event:
            seen += 1
            if seen - 1 == fault.get("at"):
                if "errno" in fault:
                    raise OSError(fault["errno"], os.strerror(fault["errno"]))
                os.kill(os.getpid(), fault["signal"])

    observe(tell)
    if fault.get("without") == "exchange":
        renames._renameat2 = lambda: None  # type: ignore[assignment]  # as above
    if "file_size" in fault:
        resource.setrlimit(resource.RLIMIT_FSIZE, (fault["file_size"],) * 2)


class _Pipe:
    """What a fork writes. A pipe, because no limit on the size of files holds for it."""

    def __init__(self) -> None:
        self._read, self.write = os.pipe()
        fcntl.fcntl(self.write, fcntl.F_SETPIPE_SZ, 2**20)
        os.set_blocking(self._read, False)

    def text(self) -> str:
        """All of it, once the fork has ended."""
        os.close(self.write)
        parts = []
        with suppress(BlockingIOError):  # a worker process of the fork may still hold its end
            while part := os.read(self._read, 2**16):
                parts.append(part)
        os.close(self._read)
        return b"".join(parts).decode()


def _run(request: Mapping[str, Any]) -> dict[str, Any]:
    out, err, events = pipes = [_Pipe() for _ in range(3)]
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        _be_the_command(request, *(pipe.write for pipe in pipes))
    return {
        "code": _wait(child, request["fault"], started),
        "seconds": time.monotonic() - started,
        "out": out.text(),
        "err": err.text(),
        "events": events.text().splitlines(),
    }


def _be_the_command(request: Mapping[str, Any], out: int, err: int, events: int) -> None:
    """In the fork: run the command and exit."""
    from vit_convert.cli import main

    code: Any = 70  # what no command gives
    try:
        for number, pipe, stream in ((1, out, "stdout"), (2, err, "stderr")):
            os.dup2(pipe, number)
            setattr(sys, stream, open(number, "w", closefd=False))  # noqa: SIM115 - until the end
        os.chdir(request["folder"])
        sys.argv = ["vit-convert", *request["arguments"]]
        _prepare(request["fault"], events)
        main()
        code = 0
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _wait(child: int, fault: Mapping[str, Any], started: float) -> int:
    """The exit code of a fork, which gets a signal at its time."""
    send_at = started + fault["after"] if "after" in fault else None
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        now = time.monotonic()
        if send_at is not None and now >= send_at:
            os.kill(child, fault["signal"])
            send_at = None
        if now > started + SECONDS:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return 99
        time.sleep(0.0005)


def main() -> None:
    """Answer requests until there are none."""
    for line in sys.stdin:
        request = json.loads(line)
        if "imports" in request:
            for module in request["imports"]:
                __import__(module)
            answer: Any = None
        else:
            answer = _run(request)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
