"""Artifacts of vit-convert 0.1 still open; those of newer versions are refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from vit_convert.errors import ArtifactError
from vit_convert.exporters import describe_artifact, open_artifact
from vit_convert.exporters.metadata import FORMAT, Metadata

GOLDENS = Path(__file__).parents[1] / "goldens" / "artifacts_0_1"


@pytest.mark.parametrize("name", ["vit", "cait"])
def test_a_tflite_file_of_0_1_gives_the_logits_that_were_recorded(name: str) -> None:
    with np.load(GOLDENS / "expected.npz") as arrays:
        images, logits = arrays[f"{name}_images"], arrays[f"{name}_logits"]
    artifact = open_artifact(GOLDENS / f"{name}.tflite")
    got = artifact.run(images)["logits"]
    assert np.abs(got - logits).max() <= 2e-6 * np.abs(logits).max()
    assert artifact.blocks is not None
    blocks = artifact.blocks(images)
    assert set(blocks) == set(artifact.spec.block_names())
    assert all(tokens.ndim == 3 for tokens in blocks.values())


def test_a_newer_format_is_refused_by_name() -> None:
    data = json.loads(describe_artifact(GOLDENS / "vit.tflite").to_json())
    assert data["format"] == FORMAT
    text = json.dumps(data | {"format": FORMAT + 1})
    with pytest.raises(ArtifactError, match=f"newer vit-convert: .* format {FORMAT + 1}") as error:
        Metadata.from_json(text, "model.tflite")
    assert error.value.where == "model.tflite"


@pytest.mark.parametrize("value", ["1", None, [1]])
def test_a_format_that_is_no_number_is_damage(value: object) -> None:
    data = json.loads(describe_artifact(GOLDENS / "vit.tflite").to_json())
    with pytest.raises(ArtifactError, match="cannot be read"):
        Metadata.from_json(json.dumps(data | {"format": value}), "model.tflite")
