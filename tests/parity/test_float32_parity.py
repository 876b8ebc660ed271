"""What an int8 file was made of: a mistake that hides below what rounding does is found there."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from families import FAMILIES, PREPROCESSING, Family
from pictures import paint

from vit_convert.checkpoint.tensor import LazyTensor
from vit_convert.conversion.h5_file import write_h5
from vit_convert.errors import ArtifactError
from vit_convert.exporters import Artifact, ExportOptions, export, open_artifact
from vit_convert.exporters.metadata import Metadata
from vit_convert.exporters.tflite.calibration import probe_images
from vit_convert.images.preprocessing import normalise
from vit_convert.parity.inputs import random_images
from vit_convert.parity.recorded import Recording
from vit_convert.parity.references import LiveReference, RecordedReference
from vit_convert.parity.report import row
from vit_convert.parity.result import VerifyResult
from vit_convert.parity.sources.timm_source import TorchReference
from vit_convert.parity.verify import verify_artifact

Arrays = dict[str, np.ndarray]


def check(family: Family, artifact: Artifact) -> VerifyResult:
    features = artifact.options.output == "features"
    model = TorchReference(family.spec, family.tensors(), features)
    return verify_artifact(artifact, LiveReference(model, random_images(artifact)))


def exported(
    family: Family,
    folder: Path,
    arrays: Arrays | None = None,
    built_with: dict[str, Any] | None = None,
    **options: Any,
) -> Artifact:
    """A .tflite file of a family, with other weights or built with another configuration."""
    tensors = {k: LazyTensor.of(k, v) for k, v in (arrays or family.arrays()).items()}
    write_h5(folder / "model.h5", family.spec.with_config(**built_with or {}), tensors)
    chosen = ExportOptions(**{"precision": "int8-dynamic"} | options)
    (path,) = export(folder / "model.h5", ["tflite"], folder, chosen)
    return replace(open_artifact(path), spec=family.spec)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((name, {}) for name in FAMILIES),
        ("vit", {"output": "softmax"}),
        ("deit", {"output": "features"}),
        ("cait", {"embed_preprocessing": True}),
        ("deit", {"batch_size": 3}),
    ],
    ids=str,
)
def test_a_right_int8_file_was_made_of_a_float32_that_equals_the_source(
    name: str, options: dict[str, Any], tmp_path: Path
) -> None:
    family = FAMILIES[name]()
    result = check(family, exported(family, tmp_path, **options))
    assert result.passed, result
    assert result.note == ""
    assert result.made_of is not None
    assert result.made_of.relative < 2e-6 < 1e-3 < result.comparison.relative
    if "output" not in options:
        assert result.made_of.tolerance == 1e-5


def filled(name: str, value: float) -> Callable[[Arrays], None]:
    return lambda arrays: arrays[name].fill(value)


def transposed(name: str) -> Callable[[Arrays], None]:
    return lambda arrays: arrays.update({name: np.swapaxes(arrays[name], -1, -2).copy()})


def q_and_k_swapped(block: str) -> Callable[[Arrays], None]:
    def mutate(arrays: Arrays) -> None:
        for leaf in ("weight", "bias"):
            q, k, v = np.split(arrays[f"{block}.attn.qkv.{leaf}"], 3)
            arrays[f"{block}.attn.qkv.{leaf}"] = np.concatenate([k, q, v])

    return mutate


def nothing(arrays: Arrays) -> None:
    """The mistake is in the graph."""


@dataclass(frozen=True)
class Hidden:
    """A mistake that changes the logits by less than the tolerance of a precision."""

    family: str
    precision: str
    mutate: Callable[[Arrays], None]
    built_with: dict[str, Any]


MISTAKES = {
    "q and k swapped": Hidden("cait", "int8-dynamic", q_and_k_swapped("blocks.2"), {}),
    "bias left out": Hidden("cait", "int8-dynamic", filled("blocks.1.mlp.fc1.bias", 0), {}),
    "another GELU": Hidden("vit", "int8-dynamic", nothing, {"gelu": "tanh"}),
    "another epsilon": Hidden("deit", "int8-dynamic", nothing, {"norm_eps": 1e-3}),
    "bias of the head left out": Hidden("deit", "int8", filled("head.bias", 0), {}),
    "heads mixed the other way": Hidden(
        "cait", "int8", transposed("blocks.2.attn.proj_w.weight"), {}
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=list(MISTAKES))
def test_a_mistake_that_rounding_hides_is_found(mistake: Hidden, tmp_path: Path) -> None:
    family = FAMILIES[mistake.family]()
    arrays = family.arrays()
    mistake.mutate(arrays)
    options = (
        {"calibration": paint(tmp_path / "pictures", 16)} if mistake.precision == "int8" else {}
    )
    artifact = exported(
        family, tmp_path, arrays, mistake.built_with, precision=mistake.precision, **options
    )
    result = check(family, artifact)
    assert result.comparison.passed, "the tolerance of the precision finds it already"
    assert not result.passed
    assert result.made_of is not None
    assert not result.made_of.passed
    assert result.where.startswith("the float32 that it was made of (relative difference ")
    assert row(result)[-1] == f"DIFFERS: {result.where}"
    data = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert (data["passed"], data["made_of"]["passed"]) == (False, False)


def test_what_cannot_be_told_is_said(tmp_path: Path) -> None:
    family = FAMILIES["vit"]()
    artifact = exported(family, tmp_path)
    images = family.images(2)
    recorded = RecordedReference(Recording(images, family.logits(images)))
    result = verify_artifact(artifact, recorded)
    assert (result.passed, result.made_of) == (True, None)
    assert result.note.startswith("mistakes smaller than what rounding to int8 does go unnoticed")
    assert "--source CHECKPOINT" in result.note
    result = check(family, replace(artifact, float32_outputs=None))
    assert (result.passed, result.made_of) == (True, None)
    assert result.note.endswith("export it again")


def test_other_precisions_are_made_of_nothing_else(tmp_path: Path) -> None:
    family = FAMILIES["vit"]()
    result = check(family, exported(family, tmp_path, precision="float16"))
    assert (result.passed, result.made_of, result.note) == (True, None, "")


def test_the_images_are_the_same_everywhere_and_for_ever() -> None:
    """For files that were made long ago."""
    spec = FAMILIES["vit"]().spec
    pixels = probe_images(spec, as_pixels=True)
    assert pixels.shape == (4, 24, 50, 3)
    assert pixels.ravel()[:6].tolist() == [193, 107, 112, 98, 120, 148]
    assert len(np.unique(pixels)) == 256
    assert np.array_equal(probe_images(spec, False), normalise(pixels, PREPROCESSING))


@pytest.mark.parametrize("damage", [{"shape": [3, 7]}, {"base64": "?"}, {"base64": None}], ids=str)
def test_damaged_float32_outputs_are_refused(damage: dict[str, Any]) -> None:
    outputs = np.float32(np.arange(14).reshape(2, 7)) / 3
    whole = Metadata(
        "tflite", FAMILIES["vit"]().spec, ExportOptions(), "normalised", ("logits",), 1.0, outputs
    )
    text = whole.to_json()
    assert np.array_equal(Metadata.from_json(text, "here").float32_outputs, outputs)
    data = json.loads(text)
    data["float32_outputs"] |= damage
    with pytest.raises(ArtifactError) as caught:
        Metadata.from_json(json.dumps(data), "here")
    assert caught.value.where == "here"
