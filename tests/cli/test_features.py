"""`vit-convert features`: the colours of patches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from families import small_cait
from PIL import Image

from vit_convert.conversion.h5_file import write_h5
from vit_convert.exporters import ExportOptions, export, open_artifact
from vit_convert.images.decoding import load_image
from vit_convert.images.preprocessing import preprocess
from vit_convert.inference.components import principal_colours

CommandIn = Callable[..., Any]


def test_colours_are_the_principal_components_of_all_patches_together() -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((2, 5, 7, 12)) * np.linspace(9, 1, 12) + 3
    found = principal_colours(values)
    assert found.shape == (2, 5, 7, 3)
    points = values.reshape(-1, 12)
    points = points - points.mean(axis=0)
    _, _, axes = np.linalg.svd(points, full_matrices=False)
    for axis in range(3):
        along = points @ axes[axis]
        low, high = np.percentile(along, [1, 99])
        expected = ((along - low) / (high - low)).clip(0, 1).reshape(2, 5, 7)
        flipped = found[0, 0, 0, axis] - expected[0, 0, 0]
        same = expected if abs(flipped) < 1e-4 else 1 - expected
        np.testing.assert_allclose(found[..., axis], same, atol=1e-5)
    apart = np.concatenate([principal_colours(v[None]) for v in values])
    assert np.abs(apart - found).max() > 0.01  # the components are shared


def test_the_sign_of_a_component_is_that_of_its_largest_weight() -> None:
    points = np.random.default_rng(1).standard_normal((24, 8))
    apart = np.linalg.qr(points - points.mean(axis=0))[0]  # columns that have nothing in common
    values = (apart * [9, 5, 3, 1, 1, 1, 1, 1]).reshape(1, 4, 6, 8)
    found = principal_colours(values)
    for axis in range(3):
        assert np.corrcoef(found[..., axis].ravel(), values[..., axis].ravel())[0, 1] > 0.99


def test_patches_that_are_all_alike_are_grey() -> None:
    assert (principal_colours(np.ones((1, 2, 3, 8))) == 0.5).all()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("features")
    family = small_cait()
    write_h5(path / "cait.h5", family.spec, family.tensors())
    export(path / "cait.h5", ["tflite"], path, ExportOptions(output="tokens"))
    rng = np.random.default_rng(0)
    for name in ("one", "two"):
        Image.fromarray(rng.integers(0, 256, (90, 70, 3), np.uint8)).save(path / f"{name}.png")
    return path


def test_pictures_stand_above_the_colours_of_their_patches(
    folder: Path, command_in: CommandIn, tmp_path: Path
) -> None:
    output = tmp_path / "seen.png"
    done = command_in(
        folder, "features", "cait_float32.tflite", "one.png", "two.png", "-o", str(output)
    )
    assert done.code == 0, done.err
    artifact = open_artifact(folder / "cait_float32.tflite")
    rows, columns, dim = artifact.output.shape
    assert f"2 pictures, {rows} x {columns} patches of {dim} values each" in done.out
    config, how = artifact.spec.config, artifact.spec.preprocessing
    images = [
        preprocess(load_image(folder / f"{n}.png"), config.image_size, how) for n in ("one", "two")
    ]
    colours = principal_colours(artifact.run(np.stack(images))["tokens"])
    sheet = np.asarray(Image.open(output))
    height, width = config.seen_size
    tile = (round(320 * height / max(height, width)), round(320 * width / max(height, width)))
    assert sheet.shape == (2 * tile[0] + 24, 2 * tile[1] + 24, 3)
    for place in range(2):
        left = 8 + place * (tile[1] + 8)
        patches = sheet[8 + tile[0] : 8 + 2 * tile[0], left : left + tile[1]]
        y = ((np.arange(rows) + 0.5) * tile[0] / rows).astype(int)
        x = ((np.arange(columns) + 0.5) * tile[1] / columns).astype(int)
        got = patches[y][:, x] / 255
        assert np.abs(got - colours[place]).max() <= 0.5 / 255 + 1e-6


def test_what_gives_no_tokens_is_refused(
    folder: Path, command_in: CommandIn, tmp_path: Path
) -> None:
    done = command_in(folder, "features", "cait.h5", "one.png", "-o", str(tmp_path / "no.png"))
    assert (done.code, done.out) == (2, "")
    assert "gives logits, not tokens" in done.err
    assert "--output tokens" in done.err
    assert not list(tmp_path.iterdir())
