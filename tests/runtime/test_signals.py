"""Signals that stop a program arrive as exceptions, late rather than never."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import click
import pytest
from click.testing import CliRunner

from vit_convert.cli import cli
from vit_convert.runtime.signals import Stopped, stoppable, uninterrupted

LOST = """
import os, signal, time
from vit_convert.runtime.signals import Stopped, stoppable

class Native:
    def __del__(self):  # what is raised here goes nowhere
        os.kill(os.getpid(), signal.{name})
        time.sleep(0.001)

with stoppable():
    try:
        Native()
        for _ in range(500):
            time.sleep(0.01)
        print("never stopped")
    except (Stopped, KeyboardInterrupt) as error:
        print(repr(error))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_is_an_exception_and_then_what_it_was(number: signal.Signals) -> None:
    before = signal.signal(
        number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
    )
    try:
        default = signal.getsignal(number)
        kind = KeyboardInterrupt if number == signal.SIGINT else Stopped
        with pytest.raises(kind), stoppable():
            os.kill(os.getpid(), number)
        assert signal.getsignal(number) is default
    finally:
        signal.signal(number, before)


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stoppable(), uninterrupted() as waiting:
            os.kill(os.getpid(), signal.SIGHUP)
        assert waiting == []
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_signal_waits_until_the_block_has_ended() -> None:
    steps = []

    def work() -> None:
        with stoppable():
            try:
                with uninterrupted() as waiting:
                    os.kill(os.getpid(), signal.SIGTERM)
                    steps.append(list(waiting))
            finally:
                steps.append("after")

    with pytest.raises(Stopped, match="SIGTERM"):
        work()
    assert steps == [[signal.SIGTERM], "after"]


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_that_is_lost_comes_again(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOST.format(name=name)],
        capture_output=True,
        text=True,
        # a shell that starts the tests in the background has them ignore it
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        timeout=60,
    )
    assert done.stdout.startswith("Stopped" if name == "SIGTERM" else "KeyboardInterrupt")
    assert done.stderr == ""


class Named:
    """Gets a signal while the class that has it is being made, as dataclasses' fields may."""

    def __set_name__(self, owner: type, name: str) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.001)


def test_what_python_makes_of_a_signal_is_not_shown_as_a_bug() -> None:
    @click.command()
    def define() -> None:
        type("Defined", (), {"values": Named()})

    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        group = type(cli)(commands={"define": define})
        result = CliRunner().invoke(group, ["define"])
    finally:
        signal.signal(signal.SIGTERM, before)
    assert result.exit_code == 128 + signal.SIGTERM, result.exception
    assert "stopped" in result.output
