"""Processes that end with what they started.

Libraries that start processes of their own (Ray does) leave them running for a while, or for ever,
when they are killed themselves; what is left still writes into folders that were just removed.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_LOOK = 0.05  # seconds between two looks at who is still there
# of Linux's prctl(2)
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


def guarded(work: Callable[[], None], scratch: str | None = None) -> None:
    """Run a function in a child of this process, and leave nothing behind, however it ends.

    Whether the function returns, its process crashes, this process gets a SIGTERM, or the process
    that started this one is killed: all that the child started is ended, then the folder is
    removed. On Linux that goes for grandchildren too, whoever their parent was; elsewhere the child
    gets a SIGTERM, and ends its own.

    Must be called before there are threads, because it forks.

    Args:
        work: what to run. stdin and stdout are its own.
        scratch: a folder that only `work` and what it starts write to.
    """
    parent, stopped = os.getppid(), False

    def stop(_number: int, _frame: object) -> None:
        nonlocal stopped
        stopped = True

    before = signal.signal(signal.SIGTERM, stop)
    linux = sys.platform == "linux"
    if linux:  # processes whose parent has ended become children of this one
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    guard = os.getpid()
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGTERM, before)
        if linux:
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() == guard:
            work()
        return
    for stream in (0, 1):  # whoever reads or writes them sees the end of the child
        os.close(stream)
    while not stopped and os.getppid() == parent:
        ended, _ = os.waitpid(-1, os.WNOHANG)
        if ended == child:
            break
        if not ended:
            time.sleep(_LOOK)
    if not linux:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGTERM)
    _end_children(kill=linux)
    if scratch:
        shutil.rmtree(scratch, ignore_errors=True)


def _end_children(kill: bool) -> None:
    """Wait until this process has no children, those that come to it meanwhile included."""
    with suppress(ChildProcessError):  # there is none
        while True:
            for process in _children() if kill else ():
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            os.waitpid(-1, 0)


def _children() -> list[int]:
    """The numbers of this process's children (Linux)."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            # after the name, which is in brackets and may hold anything: state, parent, ...
            if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == os.getpid():
                found.append(int(entry.name))
    return found
