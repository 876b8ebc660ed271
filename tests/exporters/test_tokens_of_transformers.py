"""Tokens are transformers' own `last_hidden_state`, at the trained size and at another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from families import channels_first, randomise
from transformers_sources import HF, transformers

from vit_convert.architectures import Overrides
from vit_convert.conversion.files import torch2keras
from vit_convert.exporters import ExportOptions, export, open_artifact
from vit_convert.parity.verify import verify

PATCH = HF["patch_size"]


def vit() -> torch.nn.Module:
    return transformers.ViTModel(transformers.ViTConfig(**HF), add_pooling_layer=False)


def dinov2() -> torch.nn.Module:
    sizes = {key: value for key, value in HF.items() if key != "intermediate_size"}
    return transformers.Dinov2Model(transformers.Dinov2Config(**sizes, mlp_ratio=2))


@pytest.mark.parametrize("size", [(16, 16), (24, 32)])
@pytest.mark.parametrize("make", [vit, dinov2])
@pytest.mark.filterwarnings("ignore::vit_convert.errors.AssumptionWarning")
def test_tokens_are_the_last_hidden_state(make, size: tuple[int, int], tmp_path: Path) -> None:
    model = randomise(make()).eval()
    model.save_pretrained(tmp_path / "source")
    torch2keras(tmp_path / "source", tmp_path / "m.h5", overrides=Overrides(image_size=size))
    (file,) = export(tmp_path / "m.h5", ["tflite"], tmp_path, ExportOptions(output="tokens"))
    pictures = np.random.default_rng(0).standard_normal((2, *size, 3), np.float32)
    resized = {"interpolate_pos_encoding": True} if make is vit else {}
    with torch.inference_mode():
        found = model(channels_first(pictures), **resized).last_hidden_state.numpy()
    expected = found[:, 1:].reshape(2, size[0] // PATCH, size[1] // PATCH, -1)
    got = open_artifact(file).first_output(pictures)
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() <= 1e-5 * np.abs(expected).max()
    assert verify(file, source=tmp_path / "source").comparison.passed
