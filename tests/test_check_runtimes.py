"""scripts/check_runtimes and check_mediapipe: what they say of a runtime is what it did."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

SCRIPTS = str(Path(__file__).parent.parent / "scripts")


pytestmark = pytest.mark.torch  # scripts/runtimes/files.py exports the models of families.py


@pytest.fixture(scope="module", autouse=True)
def scripts_on_the_path() -> Iterator[None]:
    sys.path.insert(0, SCRIPTS)
    yield
    sys.path.remove(SCRIPTS)


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory):
    from runtimes.files import written

    (file,) = written(tmp_path_factory.mktemp("files"), ["vit float32 with maps"])
    return file


@pytest.fixture
def saying(tmp_path: Path):
    """(what it says, exit status) -> a program that does nothing else, in place of Python."""

    def make(text: str, code: int = 1) -> Path:
        program = tmp_path / "python"
        program.write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\nexit {code}\n")
        program.chmod(0o755)
        return program

    return make


@pytest.mark.parametrize("where", ["cpu", "gpu"])
def test_a_file_that_runs_rightly_is_right(tried, where: str) -> None:
    from runtimes.trying import on_litert

    result = on_litert(Path(sys.executable), tried, where)
    assert result.verdict == "right", result
    assert result.good
    assert result.difference is not None
    assert 0 < result.difference < 1e-5


def test_other_logits_than_the_sources_are_wrong(tried) -> None:
    from runtimes.trying import on_litert

    other = replace(tried, expected=tried.expected + np.float32(0.01))
    result = on_litert(Path(sys.executable), other, "cpu")
    assert result.verdict == "wrong"
    assert not result.good


def test_a_damaged_file_fails(tried, tmp_path: Path) -> None:
    from runtimes.trying import on_litert

    path = tmp_path / "half.tflite"
    path.write_bytes(tried.path.read_bytes()[:5000])
    result = on_litert(Path(sys.executable), replace(tried, path=path), "cpu")
    assert result.verdict == "failed"
    assert result.reason


def test_a_runtime_that_hangs_is_ended(tried, saying, monkeypatch: pytest.MonkeyPatch) -> None:
    from runtimes import trying

    monkeypatch.setattr(trying, "TIMEOUT", 1)
    program = saying("")
    program.write_text("#!/bin/sh\nexec sleep 100\n")
    result = trying.on_litert(program, tried, "gpu")
    assert (result.verdict, result.good) == ("failed", False)
    assert "did not end within 1 s" in str(result)


def test_what_the_delegate_refuses_is_named(tried, saying) -> None:
    from runtimes.trying import on_litert

    log = (
        "ERROR: Following operations are not supported by GPU delegate:\n"
        "SPLIT: Operation is not supported.\n"
        "90 operations will run on the GPU, and the remaining 9 operations will run on the CPU."
    )
    result = on_litert(saying(log), tried, "gpu")
    assert str(result) == "refused by the delegate (SPLIT: Operation is not supported)"


@pytest.mark.parametrize(
    ("log", "code", "verdict"),
    [
        ("Open() failed: Conversion from TfLite model failed.", 1, "refused"),
        ("No shader implementation\nthird_party/tensorflow/lite/delegates/gpu/gl/x.cc:1", 1,
         "accepted"),
        ("a picture's class", 0, "accepted"),
        ("no EGL", 1, "failed"),
    ],
)  # fmt: skip
def test_the_classic_front_end_is_judged_alone(tried, saying, log, code, verdict) -> None:
    from runtimes.trying import on_classic

    assert on_classic(saying(log, code), tried).verdict == verdict


@pytest.fixture(scope="module")
def forms(tmp_path_factory: pytest.TempPathFactory):
    """A form that MediaPipe refuses, and one that it takes."""
    from runtimes.mediapipe_forms import FORMS, written

    folder = tmp_path_factory.mktemp("forms")
    return [written(form, folder) for form in FORMS[:2]]


def test_what_export_says_of_mediapipe_is_held_against_it(forms, saying) -> None:
    from runtimes.mediapipe_forms import judged

    refused, taken = forms
    log = "RuntimeError: Per-channel image normalization is not available."
    assert judged(saying(log), refused).good
    assert not judged(saying(log), taken).good
    assert not judged(saying("RuntimeError: something else"), refused).good

    def scores(tried, change: float) -> str:
        found = [dict(zip(tried.labels, row + change, strict=True)) for row in tried.expected]
        return "a warning\n" + json.dumps([{k: float(v) for k, v in e.items()} for e in found])

    assert judged(saying(scores(taken, 0), 0), taken).good
    assert not judged(saying(scores(taken, 1e-3), 0), taken).good
    assert "export says that it is refused" in str(judged(saying(scores(refused, 0), 0), refused))
