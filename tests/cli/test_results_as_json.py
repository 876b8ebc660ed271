"""`to_json` of a result in Python is what `--json` of the command prints."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Command
from families import small_vit

import vit_convert
from vit_convert.parity.recorded import record_reference
from vit_convert.results import Result

# these say how fast a machine was
VARYING = {"seconds", "images_per_second", "ratio", "peak_memory_bytes"}
GOLDEN = Path(__file__).parents[1] / "goldens/dialects/timm-vit/model.pth"


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reference") / "reference.npz"
    family = small_vit()
    images = family.images(3)
    record_reference(path, images, family.logits(images))
    return path


def convert(project: Path, reference: Path) -> Result:
    stated = vit_convert.Overrides(num_heads=3)
    return vit_convert.torch2keras(GOLDEN, "golden.h5", overrides=stated, force=True)


def exported(project: Path, reference: Path) -> Result:
    (written,) = vit_convert.export_all(
        project / "vit.h5", [("tflite", vit_convert.ExportOptions())], force=True
    )
    return written


Found = Callable[[Any], Any]
CASES: dict[str, tuple[tuple[str, ...], Callable[[Path, Path], Result], Found]] = {
    "predict": (
        ("predict", "{project}/vit_float32.tflite", "{project}/pictures/bee/1.png", "--json"),
        lambda project, _: vit_convert.predict(
            project / "vit_float32.tflite", project / "pictures/bee/1.png"
        )[0],
        lambda said: said["predictions"][0],
    ),
    "evaluate": (
        ("evaluate", "{project}/vit_float32.tflite", "{project}/pictures", "--json"),
        lambda project, _: vit_convert.evaluate(
            project / "vit_float32.tflite", project / "pictures"
        ),
        lambda said: said["artifacts"][0],
    ),
    "verify": (
        ("verify", "{project}/vit_float32.tflite", "--reference", "{reference}", "--json"),
        lambda project, reference: vit_convert.verify(
            project / "vit_float32.tflite", reference=reference
        ),
        lambda said: said,
    ),
    "benchmark": (
        ("benchmark", "{project}/vit_float32.tflite", "--runs", "1", "--threads", "1", "--json"),
        lambda project, _: vit_convert.benchmark(project / "vit_float32.tflite", runs=1, threads=1),
        lambda said: said["artifacts"][0],
    ),
    "torch2keras": (
        ("torch2keras", str(GOLDEN), "-o", "golden.h5", "--num-heads", "3", "--json", "--force"),
        convert,
        lambda said: said,
    ),
    "export": (
        ("export", "{project}/vit.h5", "--tflite", "--json", "--force"),
        exported,
        lambda said: said["artifacts"][0],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_command_prints_what_the_result_says(
    name: str, command: Command, project: Path, reference: Path
) -> None:
    arguments, call, found = CASES[name]
    done = command(*(a.format(project=project, reference=reference) for a in arguments))
    assert done.code == 0, done.err
    printed = found(json.loads(done.out))
    result = json.loads(call(project, reference).to_json())
    assert list(result) == list(printed)
    assert set(result) > VARYING & set(result)
    for key in set(result) - VARYING:
        if not key.endswith("_ms"):
            assert result[key] == printed[key], key


def test_a_recording_says_what_the_command_prints() -> None:
    recorded = vit_convert.Recorded(
        path=Path("r.npz"),
        images=5,
        pictures=1,
        image_size=(24, 50),
        classes=7,
        blocks=("embeddings", "blocks.0"),
        preprocessing=small_vit().spec.preprocessing,
        taken_from="your options",
        made_with="timm",
    )
    assert json.loads(recorded.to_json()) == {
        "file": "r.npz",
        "images": 5,
        "pictures": 1,
        "image_size": [24, 50],
        "classes": 7,
        "blocks": ["embeddings", "blocks.0"],
        "mean": [0.48, 0.45, 0.41],
        "std": [0.23, 0.22, 0.27],
        "taken_from": "your options",
        "made_with": "timm",
    }


def test_arrays_and_paths_become_plain_values() -> None:
    features = vit_convert.Features("a.png", np.array([1.5, -2], np.float32))
    assert json.loads(features.to_json()) == {"path": "a.png", "features": [1.5, -2.0]}
    assert "\n" not in features.to_json(indent=None)
    page = vit_convert.WebPage(Path("page"), Path("m.tflite"), 3)
    assert json.loads(page.to_json()) == {"folder": "page", "model": "m.tflite", "size": 3}
