"""Signals that stop a program, as exceptions that let it clean up."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
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
def stoppable() -> Iterator[None]:
    """Raise Stopped in the main thread for each of the signals that would end the process at once.

    A signal that is ignored, as SIGHUP is under nohup, stays ignored, and Python's own
    KeyboardInterrupt for SIGINT stays what it is.
    """

    def stop(number: int, _frame: Any) -> None:
        raise Stopped(number)

    changed = [s for s in _STOPPING if _main_thread() and signal.getsignal(s) is signal.SIG_DFL]
    for number in changed:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in changed:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def uninterrupted() -> Iterator[list[int]]:
    """Let signals that stop the program wait until the block has ended.

    Blocking them with `pthread_sigmask` would not do: the threads of TensorFlow take them then, and
    Python runs their handlers in the main thread all the same.

    Yields:
        the signals that are waiting.
    """
    waiting: list[int] = []
    before: dict[int, Callable[..., Any] | signal.Handlers] = {}

    def wait(number: int, _frame: Any) -> None:
        waiting.append(number)

    try:
        for number in _STOPPING if _main_thread() else ():
            handler = signal.getsignal(number)
            # None: not installed from Python, so it cannot be put back
            if handler is not None and handler is not signal.SIG_IGN:
                before[number] = handler  # type: ignore[assignment]  # int is of no use here
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
