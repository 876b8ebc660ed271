"""Checkpoint to .h5 and back: same bits, no heavy imports, whole or not at all."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from families import FAMILIES, small_cait, small_vit
from safetensors.torch import load_file, save_file

from vit_convert.architectures import Overrides
from vit_convert.conversion.files import keras2torch, torch2keras
from vit_convert.conversion.h5_file import open_keras
from vit_convert.errors import ArtifactError, MappingError, OutputError, UsageError
from vit_convert.exporters.keras_h5 import load_model

STATED = {"overrides": Overrides(num_heads=4, image_size=(24, 50))}
DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", FAMILIES)
def test_round_trip_gives_every_bit_back(
    name: str, dtype: torch.dtype, suffix: str, tmp_path: Path
) -> None:
    state = {f"module.{k}": v.to(dtype) for k, v in FAMILIES[name]().model.state_dict().items()}
    source, back = tmp_path / f"source{suffix}", tmp_path / f"back{suffix}"
    save_file(state, source) if suffix == ".safetensors" else torch.save(state, source)
    torch2keras(source, tmp_path / "model.h5", **STATED)
    assert keras2torch(tmp_path / "model.h5", back) == "timm"
    again = load_file(back) if suffix == ".safetensors" else torch.load(back, weights_only=True)
    assert set(again) == set(state)
    for key, tensor in state.items():
        assert again[key].dtype == dtype
        assert torch.equal(again[key], tensor)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", FAMILIES)
def test_h5_opens_in_keras_both_ways(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    family = FAMILIES[name]()
    rounded = {k: v.to(dtype) for k, v in family.model.state_dict().items()}
    torch.save(rounded, tmp_path / "source.pth")
    torch2keras(tmp_path / "source.pth", tmp_path / "model.h5", **STATED)
    family.model.load_state_dict({k: v.float() for k, v in rounded.items()})
    images = family.images()
    expected = family.logits(images)
    ours = load_model(tmp_path / "model.h5")
    import tf_keras

    theirs = tf_keras.models.load_model(tmp_path / "model.h5")
    for model in (ours, theirs):
        got = model(images).numpy()
        assert np.abs(got - expected).max() < 1e-5 * np.abs(expected).max()
        assert model.spec.source.file == "source.pth"


@pytest.mark.slow
def test_keras_opens_the_file_after_import_vit_convert_alone(tmp_path: Path) -> None:
    torch.save(small_vit().model.state_dict(), tmp_path / "source.pth")
    torch2keras(tmp_path / "source.pth", tmp_path / "model.h5", **STATED)
    for imports in (
        "import vit_convert, tf_keras",
        "import tf_keras, vit_convert",
        # as others do, to see whether it is there
        "import vit_convert, importlib.util as u; u.find_spec('tf_keras'); import tf_keras",
    ):
        code = f"{imports}; print(len(tf_keras.models.load_model('model.h5').weights))"
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == "44"


def test_fine_tuned_model_goes_back_as_float32(tmp_path: Path) -> None:
    """Weights that are no longer bfloat16 must not be rounded to it."""
    state = {k: v.bfloat16() for k, v in small_vit().model.state_dict().items()}
    torch.save(state, tmp_path / "source.pth")
    torch2keras(tmp_path / "source.pth", tmp_path / "model.h5", **STATED)
    with h5py.File(tmp_path / "model.h5", "r+") as file:
        file["model_weights/head/head/bias:0"][0] = 0.1
    keras2torch(tmp_path / "model.h5", tmp_path / "back.pth")
    back = torch.load(tmp_path / "back.pth", weights_only=True)
    assert back["head.bias"].dtype == torch.float32
    assert back["head.bias"][0] == torch.tensor(0.1)
    assert back["head.weight"].dtype == torch.bfloat16


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_weights_are_rounded_as_pytorch_rounds_them(
    dtype: torch.dtype, suffix: str, tmp_path: Path
) -> None:
    state = small_cait().model.state_dict()
    first = next(iter(state.values())).view(-1)
    # halves of the last place of bfloat16 and float16, both ways, and what rounds up to no number
    first[:4] = torch.tensor([1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-11, 1 + 3 * 2**-11])
    torch.save({k: v.double() for k, v in state.items()}, tmp_path / "source.pth")
    torch2keras(tmp_path / "source.pth", tmp_path / "model.h5", **STATED)
    back = tmp_path / f"back{suffix}"
    keras2torch(tmp_path / "model.h5", back, dtype=str(dtype).removeprefix("torch."))
    again = load_file(back) if suffix == ".safetensors" else torch.load(back, weights_only=True)
    for key, tensor in state.items():
        assert again[key].dtype == dtype
        assert torch.equal(again[key], tensor.to(dtype)), key


def test_a_value_that_a_type_cannot_hold_is_named(tmp_path: Path) -> None:
    state = small_vit().model.state_dict()
    state["blocks.0.mlp.fc1.bias"][3] = 65520  # the first that rounds to infinity
    torch.save(state, tmp_path / "source.pth")
    torch2keras(tmp_path / "source.pth", tmp_path / "model.h5", **STATED)
    with pytest.raises(MappingError, match=r"65520 is beyond float16") as caught:
        keras2torch(tmp_path / "model.h5", tmp_path / "back.pth", dtype="float16")
    assert caught.value.where == "blocks.0.mlp.fc1.bias"
    assert not (tmp_path / "back.pth").exists()
    with pytest.raises(UsageError, match="no bfloat16"):
        keras2torch(tmp_path / "model.h5", tmp_path / "back.npz", dtype="bfloat16")
    state["blocks.0.mlp.fc1.bias"][3] = 65519
    torch.save(state, tmp_path / "source.pth")
    torch2keras(tmp_path / "source.pth", tmp_path / "model.h5", force=True, **STATED)
    keras2torch(tmp_path / "model.h5", tmp_path / "back.npz", dtype="float16")
    assert np.load(tmp_path / "back.npz")["blocks.0.mlp.fc1.bias"][3] == 65504


def test_training_checkpoint_with_foreign_objects(tmp_path: Path) -> None:
    family = small_cait()
    checkpoint = {
        "model": family.model.state_dict(),
        "args": argparse.Namespace(lr=0.1, model="cait"),
        "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}},
        "best": np.float64(0.7),
        "epoch": 3,
    }
    torch.save(checkpoint, tmp_path / "source.pth")
    with pytest.raises(Exception, match="weights_only"):
        torch.load(tmp_path / "source.pth", weights_only=True)
    result = torch2keras(
        tmp_path / "source.pth", tmp_path / "m.h5", overrides=Overrides(image_size=(24, 50))
    )
    assert result.checkpoint.key == "model"


def test_neither_tensorflow_nor_torch_is_imported(tmp_path: Path) -> None:
    torch.save(small_vit().model.state_dict(), tmp_path / "source.pth")
    code = """
import sys
from vit_convert.cli import cli
try:
    cli(sys.argv[1:], standalone_mode=False)
finally:
    heavy = {"tensorflow", "torch", "keras", "tf_keras", "PIL", "matplotlib"} & set(sys.modules)
    print("heavy:", heavy)
"""
    for command in (
        ["torch2keras", "source.pth", "--num-heads", "4", "--image-size", "24x50"],
        ["keras2torch", "source.h5"],
        ["inspect", "source.safetensors"],
        ["--help"],
    ):
        done = subprocess.run(
            [sys.executable, "-c", code, *command], cwd=tmp_path, capture_output=True, text=True
        )
        assert "heavy: set()" in done.stdout


def test_existing_output_is_kept_unless_forced(tmp_path: Path) -> None:
    torch.save(small_vit().model.state_dict(), tmp_path / "source.pth")
    target = tmp_path / "model.h5"
    target.write_text("mine")
    with pytest.raises(OutputError, match="exists"):
        torch2keras(tmp_path / "source.pth", target, **STATED)
    assert target.read_text() == "mine"
    torch2keras(tmp_path / "source.pth", target, force=True, **STATED)
    with open_keras(target) as (spec, _):
        assert spec.architecture == "vit"


def test_an_error_while_writing_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(small_vit().model.state_dict(), tmp_path / "source.pth")
    before = set(tmp_path.iterdir())
    original = np.ascontiguousarray
    calls = []

    def fails_later(array: np.ndarray) -> np.ndarray:
        calls.append(1)
        if len(calls) == 20:
            raise RuntimeError("halfway")
        return original(array)

    monkeypatch.setattr(np, "ascontiguousarray", fails_later)
    with pytest.raises(RuntimeError, match="halfway"):
        torch2keras(tmp_path / "source.pth", tmp_path / "model.h5", **STATED)
    assert set(tmp_path.iterdir()) == before


def test_unclear_kind_of_output_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not clear"):
        keras2torch(tmp_path / "model.h5", tmp_path / "out.bytes")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no readable HDF5"),
        (b"nonsense", "no readable HDF5"),
        (b"\x89HDF\r\n\x1a\n and then nothing", "truncated or damaged"),
    ],
)
def test_what_is_no_h5_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "model.h5").write_bytes(content)
    with pytest.raises(ArtifactError, match=message):
        keras2torch(tmp_path / "model.h5", tmp_path / "out.pth")


def test_a_foreign_h5_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "model.h5", "w") as file:
        file["x"] = np.ones(3)
    with pytest.raises(ArtifactError, match="none that vit-convert wrote"):
        keras2torch(tmp_path / "model.h5", tmp_path / "out.pth")


def test_a_damaged_h5_names_the_variable(tmp_path: Path) -> None:
    torch.save(small_vit().model.state_dict(), tmp_path / "source.pth")
    torch2keras(tmp_path / "source.pth", tmp_path / "model.h5", **STATED)
    with h5py.File(tmp_path / "model.h5", "r+") as file:
        del file["model_weights/blocks.1/blocks.1/attn/qkv/kernel:0"]
    with pytest.raises(ArtifactError, match=r"blocks\.1/attn/qkv/kernel"):
        load_model(tmp_path / "model.h5")
