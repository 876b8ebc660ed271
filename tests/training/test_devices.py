"""Two devices, and bfloat16, give the curve of one device in float32."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_training import SHAPE, training

from vit_convert.training.recipe import FROM_SCRATCH, Recipe

# Nothing is drawn by a device for itself, so that the batches are the same.
RECIPE = FROM_SCRATCH.but(
    {"epochs": 6, "batch_size": 16, "warmup_epochs": 1, "drop_path": 0.0, "ema": 0.9, "xla": False}
)


@pytest.fixture(scope="module")
def curve(
    pictures: Path, held_back: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, np.ndarray]:
    """Of one device in float32."""
    return curve_of(RECIPE, pictures, held_back, tmp_path_factory.mktemp("one"))


def curve_of(recipe: Recipe, pictures: Path, held: Path, folder: Path) -> dict[str, np.ndarray]:
    run = training(pictures, held, folder, recipe)
    run.run()
    names = ("loss", "validation_loss")
    return {name: np.array([getattr(row, name) for row in run.history]) for name in names}


def test_two_parts_of_the_cpu_train_together(
    curve: dict[str, np.ndarray], pictures: Path, held_back: Path, tmp_path: Path
) -> None:
    """In a process of its own, whose CPU can be divided."""
    shape = [f"--{name.replace('_', '-')}={value}" for name, value in SHAPE.items()]
    chosen = [
        f"--{name.replace('_', '-')}={getattr(RECIPE, name)}"
        for name in ("epochs", "batch_size", "warmup_epochs", "drop_path", "ema")
    ]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "vit_convert", "train", "vit_tiny_patch16_224", str(pictures)),
            *("--validation", str(held_back), "-o", "two.h5", "--devices", "2", *shape, *chosen),
        ],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    with (tmp_path / "two_training/log.csv").open() as file:
        rows = list(csv.DictReader(file))
    for name, expected in curve.items():
        found = np.array([float(row[name]) for row in rows])
        np.testing.assert_allclose(found, expected, rtol=2e-3, err_msg=name)


def test_bfloat16_gives_the_same_curve(
    curve: dict[str, np.ndarray], pictures: Path, held_back: Path, tmp_path: Path
) -> None:
    mixed = curve_of(RECIPE.but({"mixed_precision": True}), pictures, held_back, tmp_path)
    for name, expected in curve.items():
        np.testing.assert_allclose(mixed[name], expected, rtol=0.03, err_msg=name)
        assert not np.array_equal(mixed[name], expected)
