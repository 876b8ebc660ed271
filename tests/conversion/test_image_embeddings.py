"""`--output embedding` gives what transformers' get_image_features gives, of length 1."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from families import channels_first

from vit_convert import torch2keras
from vit_convert.architectures import ModelSpec
from vit_convert.conversion.changes import fresh_head
from vit_convert.conversion.h5_file import open_keras
from vit_convert.errors import UsageError
from vit_convert.exporters import ExportOptions, export, open_artifact
from vit_convert.inference.running import probabilities
from vit_convert.parity.verify import verify

_TOWER = {
    "hidden_size": 36,
    "intermediate_size": 56,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "image_size": 32,
    "patch_size": 8,
}
_TEXT = {
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "vocab_size": 50,
}


def clip() -> Any:
    config = transformers.CLIPConfig(vision_config=_TOWER, text_config=_TEXT, projection_dim=14)
    return transformers.CLIPModel(config)


def siglip() -> Any:
    text = {**_TEXT, "projection_size": 36}
    return transformers.SiglipModel(
        transformers.SiglipConfig(vision_config=_TOWER, text_config=text)
    )


Saved = tuple[Path, np.ndarray, np.ndarray]


@pytest.fixture(scope="module", params=[clip, siglip], ids=["CLIP", "SigLIP"])
def saved(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """A folder with model/ and model.h5; images, and their features by transformers."""
    from families import randomise

    folder = tmp_path_factory.mktemp("tower")
    model = randomise(request.param())
    model.save_pretrained(folder / "model")
    torch2keras(folder / "model", folder / "model.h5")
    images = np.random.default_rng(0).standard_normal((3, 32, 32, 3), np.float32)
    with torch.inference_mode():
        found = model.get_image_features(pixel_values=channels_first(images))
    features = getattr(found, "pooler_output", found).numpy()
    return folder, images, features


@pytest.mark.parametrize("target", ["tflite", "saved_model"])
def test_embeddings_are_those_of_transformers(target: str, saved: Saved, tmp_path: Path) -> None:
    folder, images, features = saved
    (path,) = export(
        folder / "model.h5", [target], tmp_path, ExportOptions(output="embedding", batch_size=3)
    )
    got = open_artifact(path).run(images)["embedding"]
    expected = features / np.linalg.norm(features, axis=1, keepdims=True)
    assert np.abs(got - expected).max() <= 1e-5 * np.abs(expected).max()
    result = verify(path, source=folder / "model")
    assert result.passed, result
    assert (result.output, result.has_classes) == ("embedding", False)


def test_a_projection_is_no_classifier(saved: Saved) -> None:
    folder, images, features = saved
    artifact = open_artifact(folder / "model.h5")
    assert (artifact.output.kind, artifact.output.shape) == ("features", features.shape[1:])
    got = artifact.run(images)["logits"]
    assert np.abs(got - features).max() <= 1e-5 * np.abs(features).max()
    with pytest.raises(UsageError, match="gives features, not classes"):
        probabilities(artifact, images)


def test_a_fresh_head_has_classes_again(saved: Saved) -> None:
    folder, _, _ = saved
    with open_keras(folder / "model.h5") as (spec, tensors):
        fresh = fresh_head(spec, dict(tensors), 5)
    assert (fresh.output().kind, fresh.output().shape) == ("logits", (5,))
    assert fresh.output("embedding").shape == (36,)
    with pytest.raises(UsageError, match="no head for classes"):
        spec.output("softmax")


def test_what_the_head_gives_is_told_of_older_files(saved: Saved) -> None:
    folder, _, _ = saved
    with open_keras(folder / "model.h5") as (spec, _):
        stored: dict[str, Any] = spec.to_dict()
    del stored["head"]
    assert ModelSpec.from_dict(stored | {"format": 2}).head == spec.head
