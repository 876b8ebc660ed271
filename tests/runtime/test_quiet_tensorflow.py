"""TensorFlow's chatter stays off stderr, and everything else gets through."""

from __future__ import annotations

import logging
import os
import subprocess
import sys

import pytest

from vit_convert.runtime.quiet_tensorflow import quiet


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=environment
    )


@pytest.mark.slow
def test_exporting_and_opening_say_nothing(tmp_path):
    from families import small_cait

    from vit_convert.conversion.h5_file import write_h5

    family = small_cait(depth=1)
    write_h5(tmp_path / "model.h5", family.spec, family.tensors())
    code = """
import sys, numpy as np
from pathlib import Path
from vit_convert.exporters import ExportOptions, export_all, open_artifact
folder = Path(sys.argv[1])
jobs = [(name, ExportOptions()) for name in ("saved_model", "hub", "tflite")]
jobs.append(("tflite", ExportOptions(precision="float16", embed_preprocessing=True)))
exported = [artifact.path for artifact in export_all(folder / "model.h5", jobs, folder)]
for path in [folder / "model.h5", *exported]:
    artifact = open_artifact(path)
    artifact.run(np.ones((2, 24, 50, 3), np.float32))
    artifact.blocks(np.ones((2, 24, 50, 3), np.float32))
"""
    done = run(code, str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert len(list(tmp_path.iterdir())) == 5


@pytest.mark.slow
def test_importing_the_models_says_nothing():
    done = run("import vit_convert.models")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_what_python_writes_gets_through_and_native_code_does_not():
    code = """
import os, sys
from vit_convert.runtime.quiet_tensorflow import quiet
os.write(2, b"1 ")
with quiet():
    os.write(2, b"native ")
    print("2 ", end="", file=sys.stderr)
    with quiet():
        os.write(2, b"native ")
        print("3 ", end="", file=sys.stderr)
    os.write(2, b"native ")
    print("4 ", end="", file=sys.stderr)
os.write(2, b"5 ")
print("6", file=sys.stderr)
"""
    done = run(code)
    assert (done.returncode, done.stderr) == (0, "1 2 3 4 5 6\n")


def test_an_error_gets_through_with_what_native_code_said():
    code = """
import os
from vit_convert.runtime.quiet_tensorflow import quiet
with quiet():
    os.write(2, b"the reason\\n")
    raise ValueError("it failed")
"""
    done = run(code)
    assert done.returncode == 1
    assert "ValueError: it failed" in done.stderr
    if sys.version_info >= (3, 11):
        assert "the reason" in done.stderr


def test_with_debug_logging_nothing_is_held_back():
    code = """
import logging, os
from vit_convert.runtime.quiet_tensorflow import quiet
logging.basicConfig(level=logging.DEBUG)
with quiet():
    os.write(2, b"native")
"""
    assert "native" in run(code).stderr


def test_a_process_without_stderr_works():
    code = """
import os, sys
os.close(2)
from vit_convert.runtime.quiet_tensorflow import quiet
with quiet():
    print("done")
"""
    done = run(code)
    assert (done.returncode, done.stdout) == (0, "done\n")


@pytest.mark.parametrize("name", ["tensorflow", "absl"])
def test_loggers_get_their_level_back(name):
    logger = logging.getLogger(name)
    before = logger.level
    with quiet():
        assert not logger.isEnabledFor(logging.WARNING)
        assert logger.isEnabledFor(logging.ERROR)
    assert logger.level == before


def test_the_verbosity_that_the_user_set_is_kept(monkeypatch):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    with quiet():
        assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "0"
