"""Norms are right for large and small values of the residual stream, also on a GPU that computes in
float16."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from exporting import FAMILIES, relative
from families import Family

from vit_convert.conversion.h5_file import write_h5
from vit_convert.exporters import ExportOptions, export, open_artifact
from vit_convert.exporters.tflite.runtime import FLOAT16, FileGraph, run
from vit_convert.folding import stream as stream_passes

WRITERS = ("patch_embed.proj", "pos_embed", "cls_token", "dist_token", "attn.proj", "mlp.fc2")


def with_stream_times(factor: float, family: Family) -> Family:
    """The residual stream multiplied by a factor, all else as it was."""
    with torch.no_grad():
        for name, value in family.model.named_parameters():
            stem = name.removesuffix(".weight").removesuffix(".bias")
            if stem.endswith(WRITERS):
                value.mul_(factor)
    return family


def with_massive_patches(value: float, family: Family) -> Family:
    """Two patches of the image with two huge channels each, as large transformers have them."""
    with torch.no_grad():
        family.model.pos_embed[:, -3::2, 5] = value
        family.model.pos_embed[:, -3::2, 22] = -value
    return family


def exported(family: Family, folder: Path, **options: object) -> Path:
    write_h5(folder / "model.h5", family.spec, family.tensors())
    (path,) = export(folder / "model.h5", ["tflite"], folder, ExportOptions(**options), force=True)
    return path


def in_float16(path: Path, images: np.ndarray) -> np.ndarray:
    graph = FileGraph(path)
    name = graph.tensors[graph.outputs[0]].name
    runs = (run(graph, {graph.inputs[0]: image[None]}, FLOAT16) for image in images)
    return np.concatenate([each[name] for each in runs])


STREAMS = {
    "as it is": lambda family: family,
    "deviation 100": lambda family: with_stream_times(70, family),  # sums of squares overflow
    "values of 2500": lambda family: with_massive_patches(2500, family),  # squares do
}
NAMES = ("vit", "average pool", "cait")


@pytest.mark.parametrize(
    ("name", "stream", "precision"),
    [*product(NAMES, STREAMS, ["float32"]), ("vit", "values of 2500", "float16")],
)
def test_the_model_survives_float16_activations(name, stream, precision, tmp_path):
    family = STREAMS[stream](FAMILIES[name]())
    path, images = exported(family, tmp_path, precision=precision), family.images()
    assert relative(family.logits(images), in_float16(path, images)) <= 1e-2


@pytest.mark.parametrize("stream", ["deviation 100", "values of 2500"])
@pytest.mark.parametrize("name", ["vit", "cait"])
def test_without_the_scale_it_would_not(name, stream, tmp_path, monkeypatch):
    monkeypatch.setattr(stream_passes, "STREAM_SCALE", 1.0)
    family = STREAMS[stream](FAMILIES[name]())
    path, images = exported(family, tmp_path), family.images()
    assert relative(family.logits(images), open_artifact(path).run(images)["logits"]) <= 1e-5
    assert not relative(family.logits(images), in_float16(path, images)) <= 5e-2


@pytest.mark.parametrize("factor", [1e-3, 1e2])
@pytest.mark.parametrize("name", NAMES)
def test_float32_is_right_where_epsilon_matters(name, factor, tmp_path):
    family = with_stream_times(factor, FAMILIES[name]())
    path, images = exported(family, tmp_path), family.images()
    artifact = open_artifact(path)
    assert relative(family.logits(images), artifact.run(images)["logits"]) <= 1e-5


def test_the_scale_is_a_power_of_two():
    """So that no float32 is rounded otherwise."""
    assert np.frexp(stream_passes.STREAM_SCALE)[0] == 0.5
