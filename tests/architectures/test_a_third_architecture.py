"""An architecture is files of its own and a line in a table: with a Synthesizer (tests/synthesizer)
everything works that works with a ViT, and without the lines nothing takes it for one."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tf_keras
import torch
from families import randomise
from synthesizer import DIALECT, SYNTHESIZER
from synthesizer.config import SynthesizerConfig
from synthesizer.source import Synthesizer

from vit_convert.architectures import ModelSpec, Overrides, registry
from vit_convert.checkpoint import open_checkpoint
from vit_convert.conversion.convert import recognise
from vit_convert.conversion.files import keras2torch, torch2keras
from vit_convert.dialects import selection
from vit_convert.errors import RecognitionError, UsageError
from vit_convert.exporters import ExportOptions, export, open_artifact
from vit_convert.exporters.keras_h5 import load_model
from vit_convert.inference.attention import look
from vit_convert.parity.verify import verify

CONFIG = SynthesizerConfig(
    image_size=(32, 40),  # 4 x 4 patches
    patch_size=(8, 10),
    num_classes=7,
    embed_dim=36,
    depth=2,
    num_heads=1,
    mlp_dim=63,
    value_dim=44,
    pool="avg",
)


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The two lines that make the architecture and its naming scheme known."""
    monkeypatch.setitem(registry.ARCHITECTURES, "synthesizer", SYNTHESIZER)
    monkeypatch.setattr(selection, "_DIALECTS", (*selection.dialects(), DIALECT))


@pytest.fixture(scope="module")
def source() -> torch.nn.Module:
    """The randomised model in PyTorch."""
    return randomise(Synthesizer(CONFIG, 7))


@pytest.fixture
def checkpoint(source: torch.nn.Module, tmp_path: Path) -> Path:
    path = tmp_path / "synthesizer.pth"
    torch.save(source.state_dict(), path)
    return path


@pytest.fixture
def h5(known: None, checkpoint: Path, tmp_path: Path) -> Path:
    torch2keras(checkpoint, tmp_path / "synthesizer.h5")
    return tmp_path / "synthesizer.h5"


def images_and_logits(source: torch.nn.Module) -> tuple[np.ndarray, np.ndarray]:
    images = np.random.default_rng(0).standard_normal((3, 32, 40, 3), np.float32)
    with torch.inference_mode():
        return images, source(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()


def relative(expected: np.ndarray, got: np.ndarray) -> float:
    assert expected.shape == got.shape
    return float(np.abs(expected - got).max() / np.abs(expected).max())


@pytest.mark.usefixtures("known")
def test_it_is_recognised(checkpoint: Path) -> None:
    found = recognise(open_checkpoint(checkpoint))
    assert found.spec.architecture == "synthesizer"
    assert found.spec.config == CONFIG
    assert found.ledger.dialect is DIALECT


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_its_keras_model_gives_what_pytorch_gives(
    h5: Path, source: torch.nn.Module, tmp_path: Path
) -> None:
    images, logits = images_and_logits(source)
    model = load_model(h5)
    assert relative(logits, model(images).numpy()) <= 2e-6
    assert relative(logits, tf_keras.models.load_model(h5)(images).numpy()) <= 2e-6
    model.save(tmp_path / "again.keras")
    again = tf_keras.models.load_model(tmp_path / "again.keras")
    np.testing.assert_array_equal(again(images), model(images))


def test_the_way_back_gives_the_checkpoint(
    h5: Path, source: torch.nn.Module, tmp_path: Path
) -> None:
    keras2torch(h5, tmp_path / "back.pth")
    back = torch.load(tmp_path / "back.pth", weights_only=True)
    assert back.keys() == source.state_dict().keys()
    assert all(torch.equal(back[name], value) for name, value in source.state_dict().items())


@pytest.mark.parametrize("target", ["keras", "saved_model", "hub", "tflite"])
def test_every_artifact_equals_its_source_block_by_block(
    h5: Path, checkpoint: Path, tmp_path: Path, target: str
) -> None:
    artifact = h5 if target == "keras" else export(h5, [target], tmp_path)[0]
    result = verify(artifact, source=checkpoint, profile=True)
    assert result.comparison.passed
    assert result.comparison.relative <= 1e-5
    assert result.profile is not None
    assert [b.name for b in result.profile.blocks] == ["embeddings", "blocks.0", "blocks.1"]
    assert all(block.passed for block in result.profile.blocks)


@pytest.mark.parametrize("precision", ["float16", "int8-dynamic"])
def test_it_is_stored_in_other_precisions(
    h5: Path, checkpoint: Path, tmp_path: Path, precision: str
) -> None:
    options = ExportOptions(precision=precision)  # type: ignore[arg-type]  # from the parameters
    artifact = export(h5, ["tflite"], tmp_path, options)[0]
    result = verify(artifact, source=checkpoint)
    assert result.comparison.passed
    assert result.comparison.relative > 1e-5


def test_the_first_block_that_differs_is_named(h5: Path, checkpoint: Path, tmp_path: Path) -> None:
    changed = torch.load(checkpoint, weights_only=True)
    changed["blocks.1.scores"] = changed["blocks.1.scores"].T.contiguous()
    torch.save(changed, tmp_path / "changed.pth")
    result = verify(h5, source=tmp_path / "changed.pth")
    assert not result.comparison.passed
    assert result.where == "blocks.1"


def test_it_says_that_it_has_no_attention_maps(h5: Path) -> None:
    artifact = open_artifact(h5)
    assert artifact.attention is not None
    maps = artifact.attention(np.zeros((1, 32, 40, 3), np.float32))
    with pytest.raises(UsageError, match="attention"):
        look(artifact.spec, maps)


@pytest.mark.usefixtures("known")
def test_a_size_that_its_parameters_are_tied_to_is_not_changed(
    checkpoint: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"blocks\.0\.scores cannot be resampled"):
        torch2keras(checkpoint, tmp_path / "large.h5", overrides=Overrides(image_size=(64, 40)))
    assert not (tmp_path / "large.h5").exists()


def test_a_checkpoint_is_not_taken_for_a_model_that_is_known(checkpoint: Path) -> None:
    with pytest.raises(RecognitionError, match="not every tensor is of a model that is known"):
        recognise(open_checkpoint(checkpoint))


def test_a_stored_model_of_an_unknown_architecture_is_refused_by_name(
    h5: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(registry.ARCHITECTURES, "synthesizer")
    with pytest.raises(RecognitionError, match="no architecture is called 'synthesizer'"):
        open_artifact(h5)


@pytest.mark.parametrize("field", ["keras_model", "lowering", "source_model"])
def test_a_part_that_is_missing_is_named(
    h5: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, field: str
) -> None:
    part = replace(SYNTHESIZER, **{field: "synthesizer.nowhere:nothing"})
    monkeypatch.setitem(registry.ARCHITECTURES, "synthesizer", part)
    needing: dict[str, Callable[[], object]] = {
        "keras_model": lambda: load_model(h5),
        "lowering": lambda: export(h5, ["tflite"], tmp_path),
        "source_model": lambda: verify(h5, source=checkpoint),
    }
    with pytest.raises(RecognitionError, match=r"synthesizer\.nowhere:nothing"):
        needing[field]()


def test_every_field_of_the_spec_survives_json(known: None) -> None:
    spec = ModelSpec("synthesizer", CONFIG)
    assert ModelSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
