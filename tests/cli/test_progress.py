"""Long work shows bars on a terminal, and lines where stderr is none; stdout never gets them."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from vit_convert.cli import console
from vit_convert.progress import counted, of_part, silent

WORK = """
from vit_convert.cli import console
from vit_convert.progress import counted, of_part
with console.progress("digging") as progress:
    progress("looking for [red]spades[/red]")
    for part, name in enumerate(("hole", "ditch")):
        for each in counted(of_part(progress, name, part, 2), "shovelling", range(37)):
            pass
    console.note("enough")
console.out("dug")
"""


def on_terminal(*command: str, folder: Path, term: str = "xterm-256color") -> tuple[str, str]:
    """What a command writes to stdout, a pipe, and to stderr, a terminal."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": term, "COLUMNS": "100"}
    with subprocess.Popen(
        [sys.executable, *command],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
    ) as running:
        os.close(theirs)
        said = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # Linux's way to say that nobody has the other end
                break
            if not part:
                break
            said += part
        os.close(ours)
        assert running.stdout is not None
        out = running.stdout.read()
    assert running.returncode == 0, said
    return out, said.decode()


def test_a_terminal_shows_bars_of_the_step_and_of_all_parts(tmp_path: Path) -> None:
    out, err = on_terminal("-c", WORK, folder=tmp_path)
    assert out == "dug\n"
    plain = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", err)
    last = [line for line in re.split(r"[\r\n]+", plain) if "\u2501" in line][-2:]
    assert re.search(r"\u2501 +1/2 +0:00:\d\d +digging", last[0])
    assert re.search(r"\u2501 +37/37 +0:00:\d\d +ditch: shovelling", last[1])
    assert "enough\r\n" in plain
    assert err.rindex("\x1b[2K") > err.rindex("\u2501")  # no bar stays behind


def test_names_are_no_markup(tmp_path: Path) -> None:
    work = WORK.partition("    for part")[0]
    assert "digging: looking for [red]spades[/red]" in on_terminal("-c", work, folder=tmp_path)[1]


def test_a_terminal_that_cannot_move_its_cursor_gets_lines(tmp_path: Path) -> None:
    _, err = on_terminal("-c", WORK, folder=tmp_path, term="dumb")
    assert err.splitlines() == ["digging: looking for [red]spades[/red]", "enough"]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The time, which the test moves; afterwards as much is said as before."""
    now = [100.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    yield now
    console.show("normal")


def test_lines_come_every_five_seconds_at_most(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with console.progress("digging") as progress:
        for _ in counted(progress, "shovelling", range(60)):
            clock[0] += 1.5
        progress("resting")
        clock[0] += 5
        progress("resting", 0, 0, 1, 2)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [
        *(f"digging: shovelling, {done} of 60" for done in range(0, 61, 6)),
        "digging: 2 of 2, resting",
    ]
    with console.progress("digging") as progress:
        for _ in counted(progress, "shovelling", range(60)):
            clock[0] += 0.25
    assert [int(n) for n in re.findall(r", (\d+) of", capsys.readouterr().err)] == [0, 20, 40, 60]


def test_verbose_shows_every_step_and_quiet_none(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> list[str]:
        with console.progress("digging") as progress:
            progress("looking")
            for _ in counted(progress, "shovelling", range(20)):
                clock[0] += 0.01
        console.note("enough")
        console.warn("deep")
        return capsys.readouterr().err.splitlines()

    console.show("verbose")
    steps = [f"digging: shovelling, {done} of 20" for done in range(0, 21, 2)]
    assert work() == ["digging: looking", *steps, "enough", "warning: deep"]
    console.show("quiet")
    assert work() == ["warning: deep"]


@pytest.mark.parametrize(("before", "progress"), [("", 1), ("--quiet", 0), ("--verbose", 2)])
def test_commands_say_as_much_as_is_asked(before: str, progress: int, project: Path) -> None:
    command = [sys.executable, "-m", "vit_convert", *before.split(), "predict", "--json"]
    done = subprocess.run(
        [*command, "vit_float32.tflite", "pictures/bee/1.png"],
        cwd=project,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0
    assert done.stdout.startswith(("{", "["))
    lines = [line for line in done.stderr.splitlines() if line.startswith("looking at pictures")]
    assert min(len(lines), 2) == progress, done.stderr


def test_a_step_of_a_part_is_told_with_its_name() -> None:
    told: list[tuple[object, ...]] = []
    tell = of_part(lambda *what: told.append(what), "vit.tflite", 1, 3)
    tell("opening")
    assert list(counted(tell, "reading", "ab")) == ["a", "b"]
    assert told == [
        ("vit.tflite: opening", 0, 0, 1, 3),
        *(("vit.tflite: reading", done, 2, 1, 3) for done in range(3)),
    ]
    assert list(counted(silent, "reading", "ab")) == ["a", "b"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("predict", "vit_float32.tflite", "pictures/bee/1.png"), "1/1"),
        (("evaluate", "vit_float32.tflite", "vit_float32.tflite", "pictures"), "15/15"),
        (("benchmark", "vit_float32.tflite", "--runs", "4"), "4/4"),
    ],
    ids=lambda x: x[0] if isinstance(x, tuple) else "",
)
def test_commands_have_bars(arguments: tuple[str, ...], says: str, project: Path) -> None:
    out, err = on_terminal("-m", "vit_convert", *arguments, folder=project)
    assert out
    assert "\u2501" not in out
    assert f" {says} " in re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", err)


def test_a_warning_stands_out_on_a_terminal_and_so_does_its_option(tmp_path: Path) -> None:
    work = (
        "from vit_convert.cli import console\n"
        "console.warn('gelu is assumed to be erf; --norm-eps changes well-known x--y')"
    )
    _, err = on_terminal("-c", work, folder=tmp_path)
    bold = re.findall(r"\x1b\[1m(.*?)\x1b\[0m", err)
    assert bold == ["warning", "--norm-eps"]
    assert "\x1b[33m" in err
    done = subprocess.run([sys.executable, "-c", work], capture_output=True, text=True)
    assert done.stderr == (
        "warning: gelu is assumed to be erf; --norm-eps changes well-known x--y\n"
    )
