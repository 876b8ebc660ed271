"""Embeddings and tokens of every artifact are those of timm."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from exporting import TARGET_NAMES, as_input, relative
from families import channels_first
from pictures import paint

from vit_convert.exporters import ExportOptions, export_all, open_artifact
from vit_convert.parity.compare import TOLERANCES

# one of each way to pool; the norm stands before the pooling, after it, or nowhere
TFLITE = (
    "vit",
    "average pool",
    "deit",
    "cait",
    "siglip",
    "dinov3",
    "rms norms everywhere",
    "no norm",
    "post-norm",
)
EVERYWHERE = [
    *product(("tflite",), TFLITE),
    *product([name for name in TARGET_NAMES if name != "tflite"], ("vit", "cait")),
]


def timm_tokens(model, images, block=None):
    """timm's own tokens, (n, rows, columns, dim), in its own order, with its last norm."""
    config = model.family.spec.config
    taken = [config.depth - 1 if block is None else block]
    with torch.inference_mode():
        (found,) = model.family.model.forward_intermediates(
            channels_first(images), indices=taken, norm=True, intermediates_only=True
        )
    return found.permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize(("target", "family"), EVERYWHERE)
def test_embeddings_are_features_of_length_one(sample, opened, target, family):
    model, artifact = sample(family), opened(target, family, output="embedding")
    outputs = artifact.run(as_input(artifact, model.images))
    assert list(outputs) == ["embedding"]
    features = model.endpoints({"features": "features"})["features"].astype(np.float64)
    expected = features / np.linalg.norm(features, axis=-1, keepdims=True)
    assert artifact.output.shape == expected.shape[1:]
    assert relative(expected, outputs["embedding"]) <= 1e-5


@pytest.mark.parametrize("block", [None, 0])
@pytest.mark.parametrize(("target", "family"), EVERYWHERE)
def test_tokens_are_those_of_timm(sample, opened, target, family, block):
    model, artifact = sample(family), opened(target, family, output="tokens", block=block)
    outputs = artifact.run(as_input(artifact, model.images))
    assert list(outputs) == ["tokens"]
    expected = timm_tokens(model, model.images, block)
    assert artifact.output.shape == expected.shape[1:]
    assert relative(expected, outputs["tokens"]) <= 1e-5


@pytest.mark.parametrize("precision", ["float16", "int8-dynamic", "int8"])
@pytest.mark.parametrize("output", ["embedding", "tokens"])
def test_other_precisions_are_within_their_rounding(sample, opened, tmp_path, output, precision):
    model, wide = sample("vit"), opened("tflite", "vit", output=output)
    calibration = paint(tmp_path / "pictures", 16) if precision == "int8" else None
    options = ExportOptions(output=output, precision=precision, calibration=calibration)
    (made,) = export_all(model.h5, [("tflite", options)], tmp_path)
    expected = wide.first_output(as_input(wide, model.images))
    found = relative(expected, open_artifact(made.path).first_output(model.images))
    assert 1e-5 < found <= TOLERANCES[precision]
    if made.report:
        assert made.report.difference.agreement is None
        assert 99 < made.report.difference.score < 100
