"""`export --precision int8...`, as users type it."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ai_edge_litert.schema_py_generated import TensorType

from vit_convert.architectures import Overrides
from vit_convert.checkpoint import open_checkpoint
from vit_convert.checkpoint.tensor import LazyTensor
from vit_convert.conversion.files import torch2keras
from vit_convert.conversion.h5_file import write_h5
from vit_convert.exporters import open_artifact
from vit_convert.exporters.tflite.flatbuffer import tree_of
from vit_convert.labels.names import read_labels

WEIGHTS = Path(__file__).parents[2] / "weights"
# trained models are exported, by the command itself
pytestmark = [pytest.mark.slow, pytest.mark.once]
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
    assert done.returncode == ("FALLS SHORT" in done.stdout), done.stderr
    (folder / "said.txt").write_text(done.stdout)
    lines = done.stderr.splitlines()
    once = (
        "int8-dynamic agrees on ",
        "int8 agrees on ",
        "mean or std differ between the channels, which MediaPipe",
        "warning: not read: images/cat/broken.jpg",
    )
    assert all(line.startswith(("exporting model.h5: ", *once)) for line in lines), done.stderr
    assert all(sum(line.startswith(note) for line in lines) <= 1 for note in once)
    assert any("broken" in line for line in lines)
    (reference,) = WEIGHTS.glob(f"{Path(request.param).stem}_reference.npz")
    shutil.copy(reference, folder / "reference.npz")
    return folder


def test_each_is_compared_with_its_own_float32(trained: Path) -> None:
    said = (trained / "said.txt").read_text().splitlines()
    sizes = {p.name: p.stat().st_size for p in (trained / "out").iterdir()}
    wide = f"against its float32 ({sizes['model_float32.tflite'] / 1e6:.1f} MB): agrees on "
    compared = [line for line in said if wide in line]
    assert len(compared) == 2
    for line in compared:  # a picture may lie between two classes
        assert re.search(r"agrees on (100\.0|96\.8) % of 32 pictures \(at least 99 asked\)", line)
        assert "cosine similarity 0.999" in line
    measured = [line for line in said if line.startswith("  measured on ")]
    assert (
        measured
        == ["  measured on 32 pictures of images, which chose nothing (32 others calibrated it)"]
        * 2
    )
    assert sum("FALLS SHORT" in line for line in said) == sum("96.8 %" in c for c in compared)
    assert sorted(sizes) == [
        "model_float32.tflite", "model_int8-dynamic.tflite", "model_int8.tflite",
    ]  # fmt: skip


def weights_of(path: Path) -> tuple[dict[bytes, Any], list[Any]]:
    """The weights of a file's linear layers by name, and all of its tensors."""
    tensors = tree_of(path.read_bytes()).subgraphs[0].tensors
    linear = (t for t in tensors if t.name.endswith(b".weight") and len(t.shape) == 2)
    return {t.name: t for t in linear}, tensors


@pytest.mark.parametrize("precision", ["int8-dynamic", "int8"])
def test_a_file_is_smaller_by_three_bytes_of_each_weight_that_is_in_int8(
    trained: Path, precision: str
) -> None:
    """All are but those of layers that are said to be in float. A scale takes 4 bytes and its zero
    point 8, of each row of a weight and, in int8, of each number of a bias."""
    wide, path = trained / "out/model_float32.tflite", trained / f"out/model_{precision}.tflite"
    weights, tensors = weights_of(path)
    narrow = {name: t for name, t in weights.items() if t.type == TensorType.INT8}
    said = (trained / "said.txt").read_text().partition(f"model_{precision}.tflite")[2]
    said = said.partition("model_")[0]
    spared = re.findall(r"computes in float: FULLY_CONNECTED (\S+) ", said)
    assert weights.keys() - narrow.keys() == {f"{layer}.weight".encode() for layer in spared}
    assert weights.keys() == weights_of(wide)[0].keys()
    assert len(spared) <= len(weights) / 4
    scales = [t.quantization.scale for t in tensors if t.quantization is not None]
    expected = wide.stat().st_size - 3 * sum(math.prod(t.shape) for t in narrow.values())
    expected += 12 * sum(len(scale) for scale in scales if scale is not None)
    tables = 16_000  # of operations and tensors that only one of the two files has
    assert abs(path.stat().st_size - expected) < tables


def test_accuracy_and_agreement_on_the_committed_images(trained: Path) -> None:
    names = [f"out/model_{p}.tflite" for p in ("float32", "int8-dynamic", "int8")]
    done = run(trained, "evaluate", *names, "images", "--json")
    wide, *narrow = json.loads(done.stdout)["artifacts"]
    assert wide["images"] == 64
    for found in narrow:  # half of the pictures chose nothing: one may lie between two classes
        assert found["agreement"] >= 100 * 63 / 64
        assert abs(found["top1"] - wide["top1"]) <= 100 / 64


@pytest.mark.parametrize("precision", ["int8-dynamic", "int8"])
def test_they_verify_and_predict(trained: Path, precision: str) -> None:
    name = f"out/model_{precision}.tflite"
    done = run(trained, "verify", name, "--reference", "reference.npz", "--json")
    said = (trained / "said.txt").read_text().partition(f"model_{precision}.tflite")[2]
    fell_short = "FALLS SHORT" in said.partition("model_")[0]
    assert done.returncode == fell_short, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["verdict"]["word"] == ("falls short" if fell_short else "agrees")
    comparison = found["comparison"]
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
    """Of a model in all of whose blocks no picture uses a hidden value, and a channel of attention,
    with outlying weights behind them. Twelve of the 37 layers are too many to spare: of at most a
    quarter, 1, 2, 4 and 8 are tried."""
    checkpoint = WEIGHTS / "vit_cifar10.pth"
    torch2keras(checkpoint, tmp_path / "broken.h5")
    arrays = {
        name: tensor.read().copy() for name, tensor in open_checkpoint(checkpoint).tensors.items()
    }
    for i in range(6):
        arrays[f"blocks.{i}.mlp.fc1.bias"][5] = -60  # GELU makes it zero
        arrays[f"blocks.{i}.mlp.fc2.weight"][::2, 5] = 5000
        values = 2 * arrays[f"blocks.{i}.attn.proj.weight"].shape[0]  # behind queries and keys
        arrays[f"blocks.{i}.attn.qkv.weight"][values + 5] = 0
        arrays[f"blocks.{i}.attn.qkv.bias"][values + 5] = 0
        arrays[f"blocks.{i}.attn.proj.weight"][::2, 5] = 5000
    tensors = {name: LazyTensor.of(name, array) for name, array in arrays.items()}
    write_h5(tmp_path / "broken.h5", open_artifact(tmp_path / "broken.h5").spec, tensors)
    done = run(
        tmp_path, "export", "broken.h5", "--tflite", "--precision", "int8-dynamic",
        "--calibration", str(WEIGHTS / "images"),
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert (tmp_path / "broken_int8-dynamic.tflite").is_file()
    assert "FALLS SHORT" in done.stdout
    spared, costly = (
        re.findall(rf"  {says}: FULLY_CONNECTED (\S+) ", done.stdout)
        for says in ("computes in float", "costs most")
    )
    assert len(costly) == 5
    assert len(set(costly)) == 5
    assert all(re.fullmatch(r"blocks\.[0-5]\.(mlp\.fc2|attn\.proj)", layer) for layer in costly)
    assert spared[:5] == costly[: len(spared)]
    assert len(spared) in (1, 2, 4, 8)
