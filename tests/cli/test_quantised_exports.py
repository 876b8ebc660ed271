"""`export --precision int8...`, as users type it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from vit_convert.architectures import Overrides
from vit_convert.checkpoint import open_checkpoint
from vit_convert.checkpoint.tensor import LazyTensor
from vit_convert.exporters import open_artifact
from vit_convert.exporters.keras_h5 import write_h5
from vit_convert.labels import read_labels
from vit_convert.transfer import torch2keras

WEIGHTS = Path(__file__).parents[2] / "weights"
PRECISIONS = ("--precision", "int8-dynamic", "--precision", "int8")


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vit_convert", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


@pytest.fixture(scope="module", params=["vit_cifar10.pth", "cait_cifar10.safetensors"])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained checkpoint's .h5, its int8 files in out/, and what was said of them in said.txt."""
    folder = tmp_path_factory.mktemp("trained")
    torch2keras(
        WEIGHTS / request.param,
        folder / "model.h5",
        overrides=Overrides(crop_pct=1.0),
        labels=read_labels(WEIGHTS / "cifar10_labels.txt"),
    )
    shutil.copytree(WEIGHTS / "images", folder / "images")
    (folder / "images" / "cat" / "broken.jpg").write_bytes(b"no picture")
    (folder / "out").mkdir()
    done = run(
        folder, "export", "--tflite", *PRECISIONS, "--precision", "float32",
        "--calibration", "images", "-o", "out",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (folder / "said.txt").write_text(done.stdout)
    lines = done.stderr.splitlines()
    assert all(
        line.startswith(("exporting model.h5: ", "warning: not read: images/cat/broken.jpg"))
        for line in lines
    ), done.stderr
    assert any("broken" in line for line in lines)
    (reference,) = WEIGHTS.glob(f"{Path(request.param).stem}_reference.npz")
    shutil.copy(reference, folder / "reference.npz")
    return folder


def test_each_is_compared_with_its_own_float32(trained: Path) -> None:
    said = (trained / "said.txt").read_text().splitlines()
    sizes = {p.name: p.stat().st_size for p in (trained / "out").iterdir()}
    wide = f"against its float32 ({sizes['model_float32.tflite'] / 1e6:.1f} MB) on 64 images"
    compared = [line for line in said if wide in line]
    assert len(compared) == 2
    for line in compared:
        assert "top-1 agreement 100.0 %" in line
        assert "cosine similarity 0.999" in line
    assert sorted(sizes) == [
        "model_float32.tflite", "model_int8-dynamic.tflite", "model_int8.tflite",
    ]  # fmt: skip
    assert max(sizes["model_int8.tflite"], sizes["model_int8-dynamic.tflite"]) < 3.6e6


def test_accuracy_and_agreement_on_the_committed_images(trained: Path) -> None:
    names = [f"out/model_{p}.tflite" for p in ("float32", "int8-dynamic", "int8")]
    done = run(trained, "evaluate", *names, "images", "--json")
    wide, *narrow = json.loads(done.stdout)["artifacts"]
    assert wide["images"] == 64
    for found in narrow:
        assert found["agreement"] >= 99
        assert abs(found["top1"] - wide["top1"]) <= 100 / 64


@pytest.mark.parametrize("precision", ["int8-dynamic", "int8"])
def test_they_verify_and_predict(trained: Path, precision: str) -> None:
    name = f"out/model_{precision}.tflite"
    done = run(trained, "verify", name, "--reference", "reference.npz", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    comparison = json.loads(done.stdout)["comparison"]
    assert 1e-3 < comparison["relative"] < 0.1
    assert comparison["tolerance"] == {"int8-dynamic": 0.08, "int8": 0.25}[precision]
    done = run(trained, "predict", name, "images/ship/0000.jpg", "--json")
    assert done.returncode == 0, done.stderr


def test_what_does_not_fit_together_exits_with_2(trained: Path, tmp_path: Path) -> None:
    model, images = str(trained / "model.h5"), str(trained / "images")
    for given, says in (
        (("--tflite", "--precision", "int8"), "--calibration"),
        (("--tflite", "--calibration", images), "none is asked for"),
        (("--tflite", *PRECISIONS, "--calibration", "nowhere"), "nowhere"),
    ):
        done = run(tmp_path, "export", model, *given)
        assert done.returncode == 2, given
        assert says in done.stderr
        assert "Traceback" not in done.stderr
        assert not list(tmp_path.iterdir())


def test_an_export_that_falls_short_exits_with_1_and_names_operations(tmp_path: Path) -> None:
    """Of a model in whose blocks no picture uses a hidden value with outlying weights behind it."""
    checkpoint = WEIGHTS / "vit_cifar10.pth"
    torch2keras(checkpoint, tmp_path / "broken.h5")
    arrays = {
        name: tensor.read().copy() for name, tensor in open_checkpoint(checkpoint).tensors.items()
    }
    for i in range(6):
        arrays[f"blocks.{i}.mlp.fc1.bias"][5] = -60  # GELU makes it zero
        arrays[f"blocks.{i}.mlp.fc2.weight"][::2, 5] = 5000
    tensors = {name: LazyTensor.of(name, array) for name, array in arrays.items()}
    write_h5(tmp_path / "broken.h5", open_artifact(tmp_path / "broken.h5").spec, tensors)
    done = run(
        tmp_path, "export", "broken.h5", "--tflite", "--precision", "int8-dynamic",
        "--calibration", str(WEIGHTS / "images"),
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert (tmp_path / "broken_int8-dynamic.tflite").is_file()
    costly = [line for line in done.stdout.splitlines() if "costs most: " in line]
    assert re.search(r"FULLY_CONNECTED blocks\.\d\.mlp\.fc2", costly[0])
    assert "FALLS SHORT" in done.stdout
