"""`train` and `finetune` as they are typed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import CLASSES, Command
from PIL import Image

from vit_convert.conversion.h5_file import open_keras
from vit_convert.parity.sources.torch_compat import import_vision


@pytest.fixture
def animals(tmp_path: Path) -> Path:
    """Three pictures of each class of the project's model, which is not in alphabetical order of
    its labels, and one that cannot be read."""
    rng = np.random.default_rng(0)
    for name in CLASSES:
        (tmp_path / "animals" / name).mkdir(parents=True)
        for i in range(3):
            pixels = rng.integers(0, 256, (30, 60, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "animals" / name / f"{i}.png")
    (tmp_path / "animals" / "ant" / "broken.png").write_bytes(b"no picture")
    return tmp_path / "animals"


def test_finetune_keeps_the_head_of_its_own_classes_and_reports(
    command: Command, project: Path, animals: Path, tmp_path: Path
) -> None:
    options = ("--validation", "0.4", "--epochs", "2", "--head-epochs", "1", "--lora", "2")
    done = command("finetune", project / "vit.h5", animals, "-o", "out.h5", "--json", *options)
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["validation_images"] == 8
    assert "broken.png" in done.err
    assert "the 7 classes are the model's own" in done.err
    assert "they are resized" in done.err
    folder = tmp_path / "out_training"
    names = {path.name for path in folder.iterdir()}
    assert names >= {"curves.png", "confusion.png", "mistakes.png", "report.html", "log.csv"}
    assert "state.npz" not in names
    assert "<img" in (folder / "report.html").read_text()
    assert len((folder / "log.csv").read_text().splitlines()) == 3
    again = command("finetune", project / "vit.h5", animals, "-o", "out.h5")
    assert again.code == 2
    assert "exists already" in again.err


def test_positions_are_resampled_to_the_size_that_is_asked_for(
    command: Command, project: Path, animals: Path, tmp_path: Path
) -> None:
    options = ("--validation", "0", "--epochs", "1", "--head-epochs", "1", "--batch-size", "7")
    with open_keras(project / "vit.h5") as (spec, tensors):
        (height, width), old = spec.config.image_size, tensors["pos_embed"].read()
    size = (2 * height, 3 * width)
    asked = f"{size[0]}x{size[1]}"
    done = command(
        "finetune", project / "vit.h5", animals, "-o", "out.h5", "--image-size", asked, *options
    )
    assert done.code == 0, done.err
    assert f"positions resampled from {height}x{width} to {asked}" in done.err
    with open_keras(tmp_path / "out.h5") as (after, tensors):
        assert after.config.image_size == size
        found = tensors["pos_embed"].read()
    grids = [spec.config.grid, after.config.grid]
    expected = import_vision("timm.layers").resample_abs_pos_embed(
        torch.from_numpy(old.copy()), new_size=grids[1], old_size=grids[0]
    )
    # the head alone was trained
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)
    refused = command("finetune", project / "vit.h5", animals, "--image-size", "5")
    assert refused.code == 2
    assert "5" in refused.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--freeze", "some"), "nothing to freeze"),
        (("--freeze", "blocks:99"), "blocks in the model"),
        (("--freeze", "backbone", "--lora", "2"), "LoRA freezes all"),
        (("--head-epochs", "9", "--epochs", "3"), "at most the 3"),
        (("--validation", "1.5"), "cannot be held back"),
        (("--validation", "nowhere"), "there is no such folder"),
        (("-o", "out.keras"), "ends in .h5"),
        (("--resume",), "no training to go on with"),
    ],
)
def test_bad_options_are_said_and_nothing_is_written(
    command: Command, project: Path, animals: Path, tmp_path: Path, options: tuple[str, ...],
    said: str,
) -> None:  # fmt: skip
    done = command("finetune", project / "vit.h5", animals, *options)
    assert done.code == 2
    assert said in done.err
    assert {path.name for path in tmp_path.iterdir()} == {"animals"}


def test_classes_that_contradict_the_models_are_said(
    command: Command, project: Path, animals: Path
) -> None:
    (animals / "ant").rename(animals / "yak")
    done = command("finetune", project / "vit.h5", animals, "--head", "keep")
    assert done.code == 2
    assert "'yak'" in done.err


def test_an_empty_class_is_said(command: Command, animals: Path) -> None:
    (animals / "empty").mkdir()
    done = command("train", "vit_tiny_patch16_224", animals)
    assert done.code == 2
    assert "no picture of the class 'empty'" in done.err
