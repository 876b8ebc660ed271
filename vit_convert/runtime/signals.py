"""Signals that stop a program, as exceptions that let it clean up."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Ctrl-C; what `kill`, systemd, Docker and batch systems send; a terminal that was closed.
# Windows has no SIGHUP.
_STOPPING = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


class Stopped(BaseException):
    """A signal asks the program to end. Like KeyboardInterrupt, it is no Exception.

    Attributes:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(signal.Signals(number).name)


@contextmanager
def stoppable() -> Iterator[list[int]]:
    """Raise Stopped in the main thread for each of the signals that would end the process at once.

    For SIGINT it is KeyboardInterrupt, as ever. A signal that is ignored, as SIGHUP is under nohup,
    stays ignored.

    An exception that is raised while an object of native code is being made or freed is lost there;
    such a signal is sent again. What else breaks there on the way out is not shown.

    Yields:
        the signals that have come. Once there is one, any exception may be what became of it:
        Python before 3.12 makes a RuntimeError of what is raised in a `__set_name__`, and so while
        a module with a dataclass is imported.
    """
    stopping: list[int] = []
    if not _main_thread():
        yield stopping
        return
    default = (signal.SIG_DFL, signal.default_int_handler)
    before = {s: signal.getsignal(s) for s in _STOPPING if signal.getsignal(s) in default}
    show, show_uncaught = sys.unraisablehook, sys.excepthook

    def stop(number: int, _frame: Any) -> None:
        stopping.append(number)
        raise KeyboardInterrupt if number == signal.SIGINT else Stopped(number)

    def lost(what: sys.UnraisableHookArgs) -> None:
        if isinstance(what.exc_value, (Stopped, KeyboardInterrupt)):
            # by another thread and a little later, because it would be lost here again
            threading.Timer(0.01, os.kill, (os.getpid(), stopping[-1])).start()
        elif not stopping:
            show(what)

    def uncaught(*what: Any) -> None:  # nothing is: Cython prints what it loses by this hook too
        if not stopping:
            show_uncaught(*what)

    sys.unraisablehook, sys.excepthook = lost, uncaught
    for number in before:
        signal.signal(number, stop)
    try:
        yield stopping
    finally:
        sys.unraisablehook, sys.excepthook = show, show_uncaught
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def uninterrupted() -> Iterator[list[int]]:
    """Let signals that stop the program wait until the block has ended.

    Blocking them with `pthread_sigmask` would not do: the threads of TensorFlow take them then, and
    Python runs their handlers in the main thread all the same.

    Yields:
        the signals that are waiting.
    """
    waiting: list[int] = []
    before: dict[int, Any] = {}

    def wait(number: int, _frame: Any) -> None:
        waiting.append(number)

    try:
        for number in _STOPPING if _main_thread() else ():
            handler = signal.getsignal(number)
            # None: not installed from Python, so it cannot be put back
            if handler is not None and handler is not signal.SIG_IGN:
                before[number] = handler
                signal.signal(number, wait)
        yield waiting
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in dict.fromkeys(waiting):
            signal.raise_signal(number)


def _main_thread() -> bool:
    """Whether this is the one thread that Python gives signals to."""
    return threading.current_thread() is threading.main_thread()
