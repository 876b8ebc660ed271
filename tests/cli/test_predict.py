"""vit-convert predict, and the same in Python."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from commands import Command
from families import PREPROCESSING, small_vit
from PIL import Image, ImageOps

import vit_convert
from vit_convert.errors import UsageError
from vit_convert.exporters import open_artifact
from vit_convert.inference.running import prepare, steps_of
from vit_convert.parity.sources.torch_compat import import_vision

EXIF_ORIENTATION = 0x0112


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [("RGB", ".jpg"), ("RGBA", ".png"), ("L", ".png"), ("LA", ".png"), ("P", ".png"),
     ("CMYK", ".jpg"), ("RGB", ".webp"), ("RGBA", ".webp")],
)  # fmt: skip
def test_pictures_enter_as_timm_prepares_them(
    mode: str, suffix: str, project: Path, tmp_path: Path
) -> None:
    """From the file on, turned by its EXIF orientation: within 1/255 per pixel."""
    pixels = np.random.default_rng(0).integers(0, 256, (61, 47, 3), np.uint8)
    smooth = Image.fromarray(pixels).resize((140, 90), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6
    path = tmp_path / f"picture{suffix}"
    smooth.convert(mode).save(path, exif=exif)
    transform = import_vision("timm.data").create_transform(
        (3, 24, 50),
        interpolation=PREPROCESSING.interpolation,
        mean=PREPROCESSING.mean,
        std=PREPROCESSING.std,
        crop_pct=PREPROCESSING.crop_pct,
        crop_mode="center",
    )
    with Image.open(path) as image:
        upright = ImageOps.exif_transpose(image)
        assert upright.size == (90, 140)
        expected = transform(upright.convert("RGB")).permute(1, 2, 0).numpy()
    got = prepare([path], open_artifact(project / "vit_float32.tflite"))[0]
    difference = np.abs(got - expected) * np.array(PREPROCESSING.std)
    assert difference.max() <= 1 / 255


def test_verbose_says_how_pictures_are_prepared(command: Command, project: Path) -> None:
    picture = project / "pictures/bee/1.png"
    done = command("predict", project / "vit_float32.tflite", picture, "--verbose")
    assert done.code == 0, done.err
    for said in ("EXIF", "bicubic", "crop_pct 0.9", "24 x 50", "0.48, 0.45, 0.41", "0.23, 0.22"):
        assert said in done.err
        assert said not in done.out
    quiet = command("predict", project / "vit_float32.tflite", picture, "--json")
    assert "EXIF" not in quiet.err
    assert "0.9" in json.loads(quiet.out)["preprocessing"][1]


def test_the_side_that_is_resized_to_is_named(project: Path) -> None:
    artifact = open_artifact(project / "vit_float32.tflite")
    square = replace(artifact, spec=artifact.spec.with_config(image_size=(224, 224)))
    assert "shorter side resized to 248 pixels" in steps_of(square)[1]
    assert "cover 26 x 55 pixels" in steps_of(artifact)[1]


def test_labels_replace_the_artifacts(command: Command, project: Path) -> None:
    names = [f"name {i}" for i in range(7)]
    Path("names.json").write_text(json.dumps(names))
    arguments = ("predict", project / "vit_float32.tflite", project / "pictures/bee/1.png")
    own = json.loads(command(*arguments, "--json").out)["predictions"][0]
    done = command(*arguments, "--labels", "names.json", "--json")
    theirs = json.loads(done.out)["predictions"][0]
    assert theirs["labels"] == [names[i] for i in own["classes"]]
    Path("names.json").write_text(json.dumps(names[1:]))
    done = command(*arguments, "--labels", "names.json")
    assert (done.code, done.out) == (2, "")
    assert "expected: 7" in done.err


def test_python_takes_paths(project: Path) -> None:
    picture = str(project / "pictures/bee/1.png")
    (result,) = vit_convert.predict(str(project / "vit_float32.tflite"), [picture], top=2)
    assert result.path == Path(picture)
    assert len(result.labels) == 2


@pytest.mark.parametrize("output", ["softmax", "sigmoid"])
def test_probabilities_of_an_artifact_are_shown_as_they_are(
    output: Literal["softmax", "sigmoid"], project: Path, tmp_path: Path
) -> None:
    """None is put through a softmax again."""
    (path,) = vit_convert.export(
        project / "vit.h5", ["tflite"], tmp_path, vit_convert.ExportOptions(output=output)
    )
    picture = project / "pictures/bee/1.png"
    artifact = open_artifact(project / "vit_float32.tflite")
    logits = torch.from_numpy(artifact.first_output(prepare([picture], artifact))[0]).double()
    expected = logits.softmax(0) if output == "softmax" else logits.sigmoid()
    (result,) = vit_convert.predict(path, picture, top=5)
    assert [*result.classes] == expected.argsort(descending=True)[:5].tolist()
    differences = torch.tensor(result.probabilities) - expected.sort(descending=True).values[:5]
    assert differences.abs().max() < 1e-6


def test_an_artifact_that_takes_no_rgb_is_refused(project: Path, tmp_path: Path) -> None:
    from vit_convert.conversion.h5_file import write_h5

    family = small_vit(in_channels=1, depth=1)
    write_h5(tmp_path / "grey.h5", family.spec, family.tensors())
    with pytest.raises(UsageError, match="1 channels, and pictures have 3"):
        vit_convert.predict(tmp_path / "grey.h5", [project / "pictures/bee/1.png"])
