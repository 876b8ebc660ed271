"""A training that is killed and goes on ends with the weights of one that was not, bit by bit."""

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
    )


def weights(path: Path) -> dict[str, np.ndarray]:
    with open_keras(path) as (_, tensors):
        return {name: tensor.read() for name, tensor in tensors.items()}


def test_killed_and_resumed_gives_the_same_weights(tmp_path: Path, pictures: Path) -> None:
    whole = start(tmp_path, pictures, "whole.h5")
    said, _ = whole.communicate(timeout=200)
    assert whole.returncode == 0, said
    killed = start(tmp_path, pictures, "killed.h5")
    log = tmp_path / "killed_training" / "log.csv"
    deadline = time.monotonic() + 120
    while not log.exists() and time.monotonic() < deadline:  # after the first epoch
        time.sleep(0.005)
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=30)
    if killed.returncode == 0:
        pytest.fail("it was over before it could be killed")
    assert not (tmp_path / "killed.h5").exists()
    resumed = start(tmp_path, pictures, "killed.h5", "--resume")
    said, _ = resumed.communicate(timeout=200)
    assert resumed.returncode == 0, said
    assert "going on after epoch" in said
    expected, found = weights(tmp_path / "whole.h5"), weights(tmp_path / "killed.h5")
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)
