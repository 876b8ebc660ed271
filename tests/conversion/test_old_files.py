"""Files of vit-convert 0.1 still open; what this version does not read is refused by name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from vit_convert.architectures import ModelSpec
from vit_convert.architectures.model_spec import FORMAT
from vit_convert.conversion.h5_file import open_keras, write_h5
from vit_convert.errors import ArtifactError, RecognitionError, VitConvertError
from vit_convert.exporters.keras_h5 import load_model
from vit_convert.exporters.metadata import Metadata

GOLDENS = Path(__file__).parents[1] / "goldens" / "artifacts_0_1"


def expected(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Images, and the logits that timm gave for them."""
    with np.load(GOLDENS / "expected.npz") as arrays:
        return arrays[f"{name}_images"], arrays[f"{name}_logits"]


@pytest.mark.parametrize("name", ["vit", "cait"])
def test_an_h5_of_0_1_gives_the_logits_that_were_recorded(name: str) -> None:
    images, logits = expected(name)
    got = load_model(GOLDENS / f"{name}.h5")(images).numpy()
    assert got.shape == logits.shape
    assert np.abs(got - logits).max() <= 2e-6 * np.abs(logits).max()


def test_its_spec_has_the_values_of_its_source() -> None:
    with open_keras(GOLDENS / "vit.h5") as (spec, weights):
        assert (spec.config.gelu, spec.config.norm_eps, spec.config.layer_scale) == (
            "tanh",
            1e-5,
            True,
        )
        assert spec.source.file == "vit.safetensors"
        assert spec.source.provenance["num_heads"] == "given"
        assert weights["blocks.0.ls1.gamma"].read().shape == (20,)


def test_the_metadata_of_a_saved_model_of_0_1_is_read() -> None:
    text = (GOLDENS / "saved_model.json").read_text()
    metadata = Metadata.from_json(text, "saved_model.json")
    with open_keras(GOLDENS / "vit.h5") as (spec, _):
        assert metadata.spec == spec


def changed(folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A copy of an .h5 of 0.1 whose stored spec is changed."""
    path = folder / "changed.h5"
    shutil.copy(GOLDENS / "vit.h5", path)
    with h5py.File(path, "r+") as file:
        stored = json.loads(file.attrs["model_config"])
        change(stored["config"]["spec"])
        file.attrs["model_config"] = json.dumps(stored).encode()
    return path


def refused(path: Path, kind: type[VitConvertError], match: str) -> VitConvertError:
    with pytest.raises(kind, match=match) as error, open_keras(path):
        pass
    return error.value


def test_a_folded_model_of_0_1_is_refused_by_name(tmp_path: Path) -> None:
    path = changed(tmp_path, lambda spec: spec["config"].update(folded=True, stream_scale=0.0625))
    error = refused(path, ArtifactError, "folded model of vit-convert 0.1")
    assert error.where == str(path)
    assert "convert the checkpoint again" in error.hint


def test_a_newer_format_is_refused_by_name(tmp_path: Path) -> None:
    path = changed(tmp_path, lambda spec: spec.update(format=FORMAT + 1))
    error = refused(path, ArtifactError, f"newer vit-convert, in format {FORMAT + 1}")
    assert error.where == str(path)
    assert "upgrade" in error.hint


def test_an_architecture_that_is_not_known_is_refused_by_name(tmp_path: Path) -> None:
    path = changed(tmp_path, lambda spec: spec.update(architecture="mixer"))
    refused(path, RecognitionError, "no architecture is called 'mixer'")


@pytest.mark.parametrize("value", ["1", -1, None, True, 1.0], ids=repr)
def test_a_format_that_is_no_number_is_damage(tmp_path: Path, value: Any) -> None:
    path = changed(tmp_path, lambda spec: spec.update(format=value))
    refused(path, ArtifactError, "none that vit-convert wrote")


def test_a_value_that_this_version_does_not_know_is_not_passed_over(tmp_path: Path) -> None:
    path = changed(tmp_path, lambda spec: spec["config"].update(mixture_of_experts=4))
    refused(path, ArtifactError, "none that vit-convert wrote")


def test_the_fields_of_folding_are_none_of_the_new_format(tmp_path: Path) -> None:
    path = changed(tmp_path, lambda spec: spec.update(format=1))
    refused(path, ArtifactError, "none that vit-convert wrote")


def test_what_format_1_called_recognised_was_assumed(tmp_path: Path) -> None:
    def change(spec: dict[str, Any]) -> None:
        for name in ("folded", "stream_scale"):
            del spec["config"][name]
        spec["format"] = 1
        spec["source"]["known"] |= {"norm_eps": "recognised"}

    with open_keras(changed(tmp_path, change)) as (spec, _):
        assert spec.source.provenance["norm_eps"] == "assumed"
        assert spec.source.provenance["num_heads"] == "given"


def test_a_file_written_again_has_the_format_of_this_version(tmp_path: Path) -> None:
    path = tmp_path / "again.h5"
    with open_keras(GOLDENS / "vit.h5") as (spec, weights):
        write_h5(path, spec, weights)
    with h5py.File(path) as file:
        stored = json.loads(file.attrs["model_config"])["config"]["spec"]
    assert stored["format"] == FORMAT
    assert not {"folded", "stream_scale"} & stored["config"].keys()
    assert ModelSpec.from_dict(stored) == spec
