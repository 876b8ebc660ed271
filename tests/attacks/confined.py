"""Readers, run on hostile files in a process with limits, which tells what each file cost.

    python confined.py       reads requests, one JSON object a line, and answers each

The process counts what it may not do: open another file than it was given, make one, or start a
process; but it may unpack into a folder of its own in the temporary folder. Time is that of
computing, so that a busy machine fails no test.
"""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import resource
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SECONDS = 5.0
MEGABYTES = 512
_KILLED_AFTER = 20  # seconds of computing
_WALL = 120  # seconds of waiting


@dataclass(frozen=True)
class Outcome:
    """What became of a file.

    Attributes:
        kind: "read", "refused" (with a VitConvertError), "escaped" (another error) or "died".
        message: of the error.
        seconds, megabytes: of computing, and above what the process had before.
        forbidden: what it did that no reader may.
    """

    kind: str
    message: str = ""
    seconds: float = 0.0
    megabytes: float = 0.0
    forbidden: list[str] = field(default_factory=list)

    @property
    def problems(self) -> list[str]:
        """What is wrong with it; empty if nothing is."""
        found = list(self.forbidden)
        if self.kind in ("escaped", "died"):
            found.append(f"{self.kind}: {self.message}")
        if self.seconds > SECONDS:
            found.append(f"{self.seconds:.1f} s")
        if self.megabytes > MEGABYTES:
            found.append(f"{self.megabytes:.0f} MB")
        return found


class Confined:
    """The process."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, reader: str, path: str | Path) -> Outcome:
        """Have a file read."""
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL if "PYTEST_VERSION" in os.environ else None,
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(sys.path),
                    "PYTHONDONTWRITEBYTECODE": "1",  # a module it imports would be a file it makes
                },
                start_new_session=True,
            )
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps([reader, str(path)]).encode() + b"\n")
            process.stdin.flush()
        except BrokenPipeError:
            self._process = None
            return Outcome("died", "after the file before this one")
        ready, _, _ = select.select([process.stdout], [], [], _WALL)
        line = process.stdout.readline() if ready else b""
        if line:
            return Outcome(**json.loads(line))
        if not ready:
            os.killpg(process.pid, signal.SIGKILL)
        code = process.wait()
        self.close()
        return Outcome("died", "it did not end" if not ready else f"exit code {code}")

    def close(self) -> None:
        """End it."""
        if self._process is not None:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.close()
            self._process.stdout.close()
            self._process.wait()
            self._process = None


def _checkpoint(path: Path) -> None:
    """All that `inspect` and `torch2keras` do before they write."""
    from vit_convert.checkpoint import open_checkpoint
    from vit_convert.conversion.convert import recognise
    from vit_convert.errors import VitConvertError

    file = open_checkpoint(path)
    for tensor in file.tensors.values():
        with contextlib.suppress(VitConvertError):
            tensor.read()
    recognise(file)


def _h5(path: Path) -> None:
    from vit_convert.conversion.h5_file import open_keras

    with open_keras(path) as (_, tensors):
        for tensor in tensors.values():
            tensor.read()


def _tflite(path: Path) -> None:
    from vit_convert.errors import VitConvertError
    from vit_convert.exporters.tflite.description import described
    from vit_convert.exporters.tflite.file_reader import read_file
    from vit_convert.exporters.tflite.opening import describe_file

    with contextlib.suppress(VitConvertError):
        described(read_file(path))
    describe_file(path)


def _saved_model(path: Path) -> None:
    from vit_convert.exporters.tf_module import read_metadata

    read_metadata(path.parent if path.is_file() else path)


def _labels(path: Path) -> None:
    from vit_convert.labels.names import read_labels

    read_labels(path)


def _rules(path: Path) -> None:
    from vit_convert.dialects import rules_of

    rules_of(path)


def _reference(path: Path) -> None:
    from vit_convert.parity.recorded import read_reference

    read_reference(path)


def _sidecars(path: Path) -> None:
    from vit_convert.hf_config import read_sidecars

    read_sidecars(path.parent)


def _image(path: Path) -> None:
    from vit_convert.images.decoding import load_image

    load_image(path)


def _inspect(path: Path) -> None:
    from vit_convert.cli import cli

    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        cli(["inspect", str(path)], standalone_mode=False)


READERS: dict[str, Callable[[Path], None]] = {
    "checkpoint": _checkpoint,
    "h5": _h5,
    "tflite": _tflite,
    "saved_model": _saved_model,
    "labels": _labels,
    "rules": _rules,
    "reference": _reference,
    "sidecars": _sidecars,
    "image": _image,
    "inspect": _inspect,
}

_UNPACKED = "model.weights.h5"
_FORBIDDEN = (
    "os.",
    "subprocess.Popen",
    "socket.",
    "shutil.",
    "ctypes.",
    "webbrowser.",
    "urllib.Request",
    "tempfile.",
)
# os.kill: of a worker in which libhdf5 hangs
_HARMLESS = (
    "os.kill",
    "os.scandir",
    "os.listdir",
    "os.walk",
    "os.fwalk",
    "os.putenv",
    "os.unsetenv",
)
_HARMLESS += ("ctypes.dlopen", "ctypes.dlsym", "ctypes.dlsym/handle", "os.add_dll_directory")
_HARMLESS += ("ctypes.cdata", "ctypes.cdata/buffer", "ctypes.get_errno", "ctypes.set_errno")
_HARMLESS += ("ctypes.addressof", "ctypes.string_at", "ctypes.create_string_buffer")


class _Watch:
    """An audit hook that notes what no reader may do."""

    def __init__(self) -> None:
        self.allowed: Path | None = None
        self.noted: list[str] = []
        places = [Path(place) for place in {sys.prefix, sys.base_prefix, *sys.path} if place]
        self._own = [p.absolute() for p in places] + [p.resolve() for p in places]
        self._temporary = tempfile.gettempdir()
        self._scratch = os.path.join(self._temporary, "vit-convert-")
        sys.addaudithook(self._hook)

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if self.allowed is None or len(self.noted) > 20:
            return
        if event == "open":
            path, _, flags = args
            if not self._may_open(path, flags):
                self.noted.append(f"open {path!r}")
        elif event in ("subprocess.Popen", "os.posix_spawn"):  # from Python 3.13 on, the second too
            if "vit_convert.conversion.h5_worker" not in map(str, args[1]):
                self.noted.append(f"{event} {str(args)[:80]}")
        elif (
            event.startswith(_FORBIDDEN) and event not in _HARMLESS and not self._own_scratch(args)
        ):
            self.noted.append(f"{event} {str(args)[:80]}")

    def _own_scratch(self, args: tuple[Any, ...]) -> bool:
        """Whether an event makes or removes a folder to unpack into, or its one file."""
        first = args[0] if args else None
        if isinstance(first, str) and os.path.abspath(first) == first:
            return first.startswith(self._scratch)
        # inside of it, shutil.rmtree names files beside the folder's number
        return first == _UNPACKED and len(args) > 1 and isinstance(args[-1], int)

    def _may_open(self, path: Any, flags: int) -> bool:
        if isinstance(path, int):
            return True  # it is open already
        text = os.fsdecode(path)
        if text == self._temporary:
            return True  # a nameless file, for a worker's log
        if os.path.abspath(text) == text and text.startswith(self._scratch):
            return True
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return text == os.devnull
        here = Path(os.path.abspath(text))  # resolve() would open nothing, but is slow
        assert self.allowed is not None
        own = any(here.is_relative_to(place) for place in self._own)
        return own or here.is_relative_to(self.allowed) or text.startswith(("/proc/self/", "/sys"))


def _memory() -> tuple[float, float]:
    """Resident megabytes now, and the most since `_forget`."""
    with open("/proc/self/status", encoding="ascii") as file:
        table = dict(line.split(":", 1) for line in file)
    return tuple(int(table[key].split()[0]) / 1024 for key in ("VmRSS", "VmHWM"))  # type: ignore[return-value]


def _forget() -> None:
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")


def _measured(watch: _Watch, reader: str, path: Path) -> Outcome:
    from vit_convert.errors import VitConvertError

    gc.collect()
    _forget()
    before, _ = _memory()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    spent = int(usage.ru_utime + usage.ru_stime)
    resource.setrlimit(resource.RLIMIT_CPU, (spent + _KILLED_AFTER, resource.RLIM_INFINITY))
    watch.noted, watch.allowed = [], (path if path.is_dir() else path.parent).absolute()
    started = time.process_time()
    kind, message = "read", ""
    try:
        READERS[reader](path)
    except VitConvertError as error:
        kind, message = "refused", error.message()[:2000]
    except BaseException as error:
        kind, message = "escaped", f"{type(error).__name__}: {str(error)[:300]}"
    finally:
        watch.allowed = None
    seconds = time.process_time() - started
    return Outcome(kind, message, seconds, _memory()[1] - before, watch.noted)


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for module in (
        "vit_convert.conversion.files",
        "vit_convert.parity.recorded",
        "vit_convert.exporters.tflite.description",
        "vit_convert.exporters.tflite.opening",
        "vit_convert.cli",
        "vit_convert.images.preprocessing",
        "ai_edge_litert.schema_py_generated",
        "PIL.Image",
    ):
        __import__(module)
    gc.collect()
    gc.freeze()  # what is imported needs not be looked at again after each file
    watch = _Watch()
    with open("/proc/self/statm", encoding="ascii") as file:
        data = int(file.read().split()[5]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_DATA, (data + 3 * (MEGABYTES << 20), resource.RLIM_INFINITY))
    for line in sys.stdin:
        reader, path = json.loads(line)
        outcome = _measured(watch, reader, Path(path))
        answers.write(json.dumps(vars(outcome)) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
