"""A training that is stopped or killed, and goes on, ends with the weights of one that was not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from vit_convert.conversion.h5_file import open_keras

SHAPE = (
    *("--image-size", "16", "--patch-size", "8", "--depth", "2", "--embed-dim", "24"),
    *("--num-heads", "2", "--pool", "avg", "--batch-size", "16", "--epochs", "6"),
    *("--head-epochs", "1", "--drop-path", "0.3", "--mixup", "0.3", "--cutmix", "1.0"),
    *("--erasing", "0.5", "--ema", "0.9", "--no-xla"),
    *("--optimizer", "muon", "--patch-dropout", "0.5", "--whole-epochs", "1"),
)


def start(folder: Path, pictures: Path, name: str, *more: str) -> subprocess.Popen[str]:
    command = ["train", "vit_tiny_patch16_224", str(pictures), "-o", name, *SHAPE, *more]
    return subprocess.Popen(
        [sys.executable, "-m", "vit_convert", *command],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # a shell that starts the tests in the background has them ignore it
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def weights(path: Path) -> dict[str, np.ndarray]:
    with open_keras(path) as (_, tensors):
        return {name: tensor.read() for name, tensor in tensors.items()}


def stop(process: subprocess.Popen[str], number: signal.Signals) -> str:
    """Send a signal; what the process has said until its end."""
    process.send_signal(number)
    said, _ = process.communicate(timeout=60)
    return said


def wait_until_it_goes_on(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    said = ""
    while "going on after epoch" not in said:
        line = process.stdout.readline()
        assert line, said
        said += line
    return said


@pytest.mark.once
def test_stopped_killed_and_resumed_gives_the_same_weights(tmp_path: Path, pictures: Path) -> None:
    whole = start(tmp_path, pictures, "whole.h5")
    said, _ = whole.communicate(timeout=200)
    assert whole.returncode == 0, said

    stopped = start(tmp_path, pictures, "stopped.h5")
    log = tmp_path / "stopped_training" / "log.csv"
    deadline = time.monotonic() + 120
    while not log.exists() and time.monotonic() < deadline:  # after the first epoch
        time.sleep(0.005)
    said = stop(stopped, signal.SIGINT)
    assert stopped.returncode == 130, said
    assert "--resume goes on after epoch" in said
    assert "Traceback" not in said
    for number, code in ((signal.SIGTERM, 143), (signal.SIGKILL, -9)):
        assert not (tmp_path / "stopped.h5").exists()
        resumed = start(tmp_path, pictures, "stopped.h5", "--resume")
        wait_until_it_goes_on(resumed)
        said = stop(resumed, number)
        assert resumed.returncode == code, said
        assert "Traceback" not in said
    resumed = start(tmp_path, pictures, "stopped.h5", "--resume")
    said, _ = resumed.communicate(timeout=200)
    assert resumed.returncode == 0, said
    assert "going on after epoch" in said
    expected, found = weights(tmp_path / "whole.h5"), weights(tmp_path / "stopped.h5")
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def test_stopped_before_the_first_epoch_has_ended_leaves_nothing(
    tmp_path: Path, pictures: Path
) -> None:
    stopped = start(tmp_path, pictures, "stopped.h5")
    folder = tmp_path / "stopped_training"
    deadline = time.monotonic() + 120
    while not folder.exists() and time.monotonic() < deadline:
        time.sleep(0.002)
    said = stop(stopped, signal.SIGTERM)
    assert stopped.returncode == 143, said
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []
