"""Processes that answer requests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from vit_convert.errors import ArtifactError
from vit_convert.runtime.worker_process import Worker, WorkerError

MODULE = """
import os
from vit_convert.errors import ArtifactError
from vit_convert.runtime.worker_process import serve

class Served:
    def double(self, number):
        return 2 * number

    def shout(self, text):
        os.write(1, text.encode())

    def fail(self, text):
        os.write(2, b"native reason\\n")
        raise RuntimeError(text)

    def refuse(self, _argument):
        raise ArtifactError("broken", where="here", expected="whole", hint="again")

    def end(self, _argument):
        os.write(2, b"aborting\\n")
        os._exit(3)

def main():
    serve(Served)
"""


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    (tmp_path / "served.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    with Worker("served") as process:
        yield process


def test_answers_are_those_of_the_served_object(worker: Worker) -> None:
    assert [worker.ask("double", n) for n in (3, "ab")] == [6, "abab"]


def test_what_native_code_says_goes_to_the_log_and_not_into_the_answers(worker: Worker) -> None:
    assert worker.ask("shout", "hello") is None
    assert worker.log == "hello"


def test_a_failed_request_tells_its_reason_and_what_was_said_meanwhile(worker: Worker) -> None:
    worker.ask("shout", "before\n")
    with pytest.raises(WorkerError, match=r"^last line$") as caught:
        worker.ask("fail", "first line\nlast line")
    assert caught.value.log == "native reason\n"
    assert not caught.value.crashed
    assert worker.ask("double", 2) == 4


def test_an_error_that_the_user_can_act_on_arrives_with_all_its_parts(worker: Worker) -> None:
    with pytest.raises(ArtifactError) as caught:
        worker.ask("refuse")
    error = caught.value
    assert (error.what, error.where, error.expected, error.hint) == (
        "broken",
        "here",
        "whole",
        "again",
    )


def test_the_end_of_the_process_is_an_error_with_its_last_words(worker: Worker) -> None:
    for _ in range(2):
        with pytest.raises(WorkerError) as caught:
            worker.ask("end")
        assert caught.value.crashed
    assert worker.log == "aborting\n"
