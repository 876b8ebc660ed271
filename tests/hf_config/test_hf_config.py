"""config.json and preprocessor_config.json: what they say, and what they must not do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from schemes import SCHEMES

from vit_convert.architectures import Overrides
from vit_convert.checkpoint import open_checkpoint
from vit_convert.conversion.assumptions import Assumptions
from vit_convert.conversion.convert import recognise
from vit_convert.errors import CheckpointError, RecognitionError
from vit_convert.hf_config import read_sidecars
from vit_convert.images.preprocessing import preprocess
from vit_convert.parity.sources.torch_compat import import_vision

PROCESSOR = {
    "do_center_crop": True,
    "do_normalize": True,
    "image_mean": [0.1, 0.2, 0.3],
    "image_std": [0.4, 0.5, 0.6],
    "resample": 2,
    "rescale_factor": 1 / 255,
    "size": {"shortest_edge": 256},
    "crop_size": {"height": 224, "width": 224},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What save_pretrained writes for a ViT."""
    scheme = next(s for s in SCHEMES if s.name == "transformers ViTForImageClassification")
    scheme.save(tmp_path)
    return tmp_path


def change(folder: Path, name: str = "config.json", **values: Any) -> None:
    path = folder / name
    data = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(data | values))


def test_the_processor_says_how_pictures_are_prepared(folder: Path) -> None:
    change(folder, "preprocessor_config.json", **PROCESSOR)
    found = recognise(open_checkpoint(folder)).recognition
    assert found.preprocessing.mean == (0.1, 0.2, 0.3)
    assert found.preprocessing.std == (0.4, 0.5, 0.6)
    assert found.preprocessing.interpolation == "bilinear"
    assert found.preprocessing.crop_pct == 224 / 256
    assert found.facts["mean"].why == "preprocessor_config.json: image_mean"
    assert not Assumptions.of(found).all


def test_the_processor_of_a_model_that_reads_texts_too_says_it_in_its_own_file(
    folder: Path,
) -> None:
    """processor_config.json, as transformers 5 writes it; preprocessor_config.json comes first."""
    change(folder, "processor_config.json", image_processor=PROCESSOR, processor_class="Llava")
    found = recognise(open_checkpoint(folder)).recognition
    assert found.preprocessing.mean == (0.1, 0.2, 0.3)
    assert found.facts["mean"].why == "processor_config.json: image_mean"
    other = PROCESSOR | {"image_mean": [0.3, 0.2, 0.1]}
    change(folder, "preprocessor_config.json", **other)
    assert recognise(open_checkpoint(folder)).recognition.preprocessing.mean == (0.3, 0.2, 0.1)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"size": {"height": 40, "width": 40}, "do_center_crop": False},
        {"size": {"height": 40, "width": 40}, "do_center_crop": True, "crop_size": 32},
        {"size": {"shortest_edge": 40}, "do_center_crop": True, "crop_size": 32},
        {"size": 40, "do_center_crop": True, "crop_size": 32},
    ],
    ids=str,
)
@pytest.mark.parametrize("processor", ["ViT", "DeiT", "Beit", "Siglip", "CLIP", "Bit"])
def test_pictures_are_prepared_as_the_processor_does(
    processor: str, options: dict[str, Any], folder: Path
) -> None:
    kind = getattr(import_vision("transformers"), f"{processor}ImageProcessorPil")
    theirs = kind(**options)
    theirs.save_pretrained(folder)
    if isinstance(options.get("size"), int):  # as older files have it
        change(folder, "preprocessor_config.json", size=options["size"])
    pixels = np.random.default_rng(0).integers(0, 256, (57, 83, 3), np.uint8)
    expected = theirs(Image.fromarray(pixels), return_tensors="np")["pixel_values"][0]
    found = recognise(open_checkpoint(folder)).recognition.preprocessing
    ours = preprocess(Image.fromarray(pixels), expected.shape[1:], found)
    np.testing.assert_allclose(ours, expected.transpose(1, 2, 0), atol=1e-5)


def test_the_users_word_counts_more(folder: Path) -> None:
    stated = Overrides(gelu="tanh", mean=(0.5, 0.5, 0.5))
    found = recognise(open_checkpoint(folder), stated)
    assert found.recognition.config.gelu == "tanh"
    assert found.recognition.preprocessing.mean == (0.5, 0.5, 0.5)


def test_without_config_json_the_defaults_of_transformers_are_assumed(folder: Path) -> None:
    (folder / "config.json").unlink()
    found = recognise(open_checkpoint(folder), Overrides(num_heads=3)).recognition
    assert found.config.norm_eps == 1e-12
    assert {"gelu", "norm_eps"} <= set(Assumptions.of(found).all)


@pytest.mark.parametrize(
    ("activation", "gelu"),
    [
        ("gelu", "erf"),
        ("gelu_new", "tanh"),
        ("gelu_pytorch_tanh", "tanh"),
        ("quick_gelu", "quick"),
        ("relu", "relu"),
    ],
)
def test_activations(activation: str, gelu: str, folder: Path) -> None:
    change(folder, hidden_act=activation)
    assert recognise(open_checkpoint(folder)).recognition.config.gelu == gelu


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"hidden_size": 24}, "embed_dim is 24 (config.json: hidden_size), but the tensors say 12"),
        ({"num_hidden_layers": 3}, "depth is 3"),
        ({"intermediate_size": 40}, "mlp_dim is 40"),
        ({"image_size": 32}, "image_size is 32x32"),
        ({"patch_size": [4, 2]}, "patch_size is 4x2"),
        ({"qkv_bias": False}, "qkv_bias is False"),
        ({"num_channels": 1}, "in_channels is 1"),
    ],
    ids=str,
)
def test_a_config_of_another_model_is_an_error(
    changes: dict[str, Any], says: str, folder: Path
) -> None:
    change(folder, **changes)
    with pytest.raises(RecognitionError, match="of another model") as error:
        recognise(open_checkpoint(folder))
    assert says in error.value.what


@pytest.mark.parametrize(
    "changes",
    [
        {"num_attention_heads": "many"},
        {"num_attention_heads": 0},
        {"num_attention_heads": True},
        {"num_attention_heads": 10**30},
        {"layer_norm_eps": "small"},
        {"layer_norm_eps": -1},
        {"layer_norm_eps": 1e400},
        {"hidden_act": "mish"},
        {"hidden_act": ["gelu"]},
        {"image_size": [1, 2, 3]},
        {"image_size": -4},
        {"qkv_bias": 1},
        {"id2label": ["a"]},
        {"id2label": {"0": "a", "2": "b"}},
        {"id2label": {str(i): i for i in range(5)}},
        {"id2label": {"0": "a", "1": "b"}},
        {"model_type": ["vit"], "num_attention_heads": None},
    ],
    ids=str,
)
def test_impossible_values_are_refused(changes: dict[str, Any], folder: Path) -> None:
    change(folder, **changes)
    with pytest.raises(CheckpointError) as error:
        recognise(open_checkpoint(folder))
    assert "config.json" in error.value.where


@pytest.mark.parametrize(
    "content", [b"{", b"[1]", b"\xff" * 9, b"[" * 100_000, b'{"a": 1}' + b" " * 20_000_000]
)
@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
def test_files_that_are_no_json_objects_are_refused(
    name: str, content: bytes, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError) as error:
        read_sidecars(tmp_path)
    assert error.value.where.endswith(name)


@pytest.mark.parametrize(
    "changes",
    [
        {"image_mean": [0.1, 0.2]},
        {"image_std": [0.1, 0.2, 0]},
        {"image_std": ["a", "b", "c"]},
        {"rescale_factor": 0.5},
    ],
    ids=str,
)
def test_impossible_processors_are_refused(changes: dict[str, Any], tmp_path: Path) -> None:
    change(tmp_path, "preprocessor_config.json", **PROCESSOR | changes)
    with pytest.raises(CheckpointError):
        read_sidecars(tmp_path)


def test_placeholders_are_no_labels(folder: Path) -> None:
    assert read_sidecars(folder).labels == ()
