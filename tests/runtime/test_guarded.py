"""A guarded process takes all that it started with it, and its folder is removed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs prctl(2) and /proc")
# Starts a process that leaves its parents and their session, and makes the folder again whenever it
# is gone, as Ray's do; then ends as it is told, or waits.
PROGRAM = """
import os, signal, subprocess, sys, time
from pathlib import Path
from vit_convert.runtime.guarded import guarded

folder = Path(sys.argv[1])
WRITER = '''
import os, sys, time
from pathlib import Path
folder = Path(sys.argv[1])
while True:
    folder.mkdir(exist_ok=True)
    (folder / "writer.new").write_text(str(os.getpid()))
    (folder / "writer.new").rename(folder / "writer")
    time.sleep(0.001)
'''
STARTER = "import subprocess, sys; subprocess.Popen([sys.executable, *sys.argv[1:]])"

def work():
    subprocess.run(
        [sys.executable, "-c", STARTER, "-c", WRITER, sys.argv[1]], start_new_session=True
    )
    while not (folder / "writer").exists():
        time.sleep(0.01)
    if sys.argv[2] == "returns":
        return
    if sys.argv[2] == "crashes":
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(100)

guarded(work, sys.argv[1])
"""
OUTER = "import subprocess, sys; subprocess.Popen([sys.executable, *sys.argv[1:]]).wait()"


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[[str], tuple[subprocess.Popen[bytes], int]]]:
    """`started(ending)` runs the program; gives the process that started it, and the number of the
    process that was left alone."""
    folder = tmp_path / "folder"
    known: list[int] = []

    def start(ending: str) -> tuple[subprocess.Popen[bytes], int]:
        folder.mkdir()
        process = subprocess.Popen([sys.executable, "-c", OUTER, "-c", PROGRAM, folder, ending])
        until = time.monotonic() + 60
        while not known and process.poll() is None and time.monotonic() < until:
            with suppress(OSError):
                known.append(int((folder / "writer").read_text()))
        assert known or ending != "waits"
        return process, known[0] if known else 0

    yield start
    for writer in filter(running, known):
        os.kill(writer, signal.SIGKILL)


def running(process: int) -> bool:
    try:
        return "folder" in Path(f"/proc/{process}/cmdline").read_text()
    except OSError:
        return False


def children(process: int) -> list[int]:
    return [int(n) for n in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def is_over(folder: Path, writer: int) -> None:
    until = time.monotonic() + 30
    while running(writer) or folder.exists():
        assert time.monotonic() < until
        time.sleep(0.02)
    time.sleep(0.05)
    assert not folder.exists()


@pytest.mark.parametrize("ending", ["returns", "crashes"])
def test_when_the_work_ends(
    ending: str, started: Callable[..., tuple[subprocess.Popen[bytes], int]], tmp_path: Path
) -> None:
    process, writer = started(ending)
    process.wait(60)
    assert not running(writer)
    assert not (tmp_path / "folder").exists()


def test_when_the_guard_is_terminated(
    started: Callable[..., tuple[subprocess.Popen[bytes], int]], tmp_path: Path
) -> None:
    process, writer = started("waits")
    (guard,) = children(process.pid)
    os.kill(guard, signal.SIGTERM)
    process.wait(60)
    assert not running(writer)
    assert not (tmp_path / "folder").exists()


def test_when_the_process_that_started_it_is_killed(
    started: Callable[..., tuple[subprocess.Popen[bytes], int]], tmp_path: Path
) -> None:
    process, writer = started("waits")
    process.kill()
    process.wait(60)
    is_over(tmp_path / "folder", writer)
