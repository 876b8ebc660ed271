"""TensorFlow and LiteRT without the chatter of their start-up, conversion and delegates."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import IO

_STDERR = 2
_PYTHON_LOGGERS = ("tensorflow", "absl")
_log = logging.getLogger(__name__)


def import_tensorflow() -> ModuleType:
    """Import TensorFlow without any output on stderr."""
    with quiet():
        import tensorflow
    return tensorflow


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the output of TensorFlow's and LiteRT's native code and loggers off stderr.

    Python can still write to `sys.stderr` (to show progress, for example). If the block raises, the
    output that was held back is added to the exception as a note, from Python 3.11 on. Nothing is
    held back while this module's logger is enabled for DEBUG.
    """
    # 3 rather than 2, because a machine without a GPU is an error to it, told when the first
    # variable is made. Lines before absl's logging is initialised are written whatever this says.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if _log.isEnabledFor(logging.DEBUG):
        yield
        return
    with ExitStack() as stack:
        for name in _PYTHON_LOGGERS:
            stack.enter_context(_only_errors(logging.getLogger(name)))
        held = stack.enter_context(tempfile.TemporaryFile())
        if not _redirect(held, stack):
            yield
            return
        try:
            yield
        except Exception as error:
            held.seek(0)
            said = held.read().decode(errors="replace").strip()
            if said and sys.version_info >= (3, 11):
                error.add_note(f"TensorFlow said:\n{said}")
            raise


@contextmanager
def _only_errors(logger: logging.Logger) -> Iterator[None]:
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _redirect(held: IO[bytes], stack: ExitStack) -> bool:
    """Send file descriptor 2 into `held` until the stack unwinds; False where there is none."""
    try:
        kept = os.dup(_STDERR)
    except OSError:
        return False
    stack.callback(os.close, kept)
    _keep_python_stderr(kept, stack)
    os.dup2(held.fileno(), _STDERR)
    stack.callback(os.dup2, kept, _STDERR)
    return True


def _keep_python_stderr(descriptor: int, stack: ExitStack) -> None:
    """Let `sys.stderr` write to `descriptor` if it is file descriptor 2."""
    stream = sys.stderr
    try:
        if stream.fileno() != _STDERR:
            return
    except (AttributeError, OSError, ValueError):  # none, in memory, or closed
        return
    stream.flush()
    sys.stderr = open(  # noqa: SIM115 - the stack closes it
        descriptor, "w", encoding=stream.encoding, errors=stream.errors, buffering=1, closefd=False
    )

    def restore(ours: IO[str] = sys.stderr) -> None:
        ours.flush()
        if sys.stderr is ours:
            sys.stderr = stream

    stack.callback(restore)
