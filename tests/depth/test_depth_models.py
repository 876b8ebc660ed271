"""Models for depth are transformers' own: whatever the readout, the factors and the size."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from depth_sources import depth_anything, dinov2, dpt, own_names
from families import channels_first

from vit_convert.architectures import Overrides
from vit_convert.architectures.dense.resizing import bilinear_weights
from vit_convert.architectures.ranges import as_text
from vit_convert.checkpoint import open_checkpoint
from vit_convert.cli import cli
from vit_convert.conversion.assumptions import Assumptions
from vit_convert.conversion.convert import Conversion, convert
from vit_convert.conversion.convert import recognise as recognised
from vit_convert.conversion.h5_file import open_keras
from vit_convert.errors import RecognitionError, UsageError, VitConvertError
from vit_convert.models import build
from vit_convert.statements.option_template import options_template

BACKBONE = {"hidden_size": 24, "num_hidden_layers": 5, "patch_size": 7, "image_size": 28}
FIVE = {"out_indices": [1, 2, 4, 5]}
FOUR: dict[str, Any] = {
    "neck_hidden_sizes": [5, 6, 7, 8],
    "reassemble_factors": [4, 2, 1, 0.5],
    "fusion_hidden_size": 10,
}
PLAIN = BACKBONE | FOUR | {"backbone_out_indices": [0, 1, 3, 4], "intermediate_size": 40}

# name -> model, and the picture's size where it is not the trained one
CASES: dict[str, tuple[Callable[[], Any], tuple[int, int] | None]] = {
    "Depth Anything": (lambda: depth_anything(dinov2(**BACKBONE, **FIVE), **FOUR), (35, 49)),
    "Depth Anything, odd factors": (
        lambda: depth_anything(
            dinov2(**BACKBONE, out_indices=[2, 3, 5]),
            neck_hidden_sizes=[5, 6, 7],
            reassemble_factors=[3, 1, 0.25],
        ),
        (49, 35),
    ),
    "Depth Anything, metric": (
        lambda: depth_anything(
            dinov2(**BACKBONE, out_indices=[2, 5]), depth_estimation_type="metric", max_depth=20
        ),
        (21, 35),
    ),
    "DPT": (lambda: dpt(**PLAIN), (35, 35)),
    "DPT, class token added, batch norms": (
        lambda: dpt(**PLAIN, readout_type="add", use_batch_norm_in_fusion_residual=True),
        None,
    ),
    "DPT, no class token, no biases": (
        lambda: dpt(**PLAIN, readout_type="ignore", use_bias_in_fusion_residual=False),
        None,
    ),
    "DPT on DINOv2, with a projection": (
        lambda: dpt(
            backbone_config=dinov2(**BACKBONE, **FIVE),
            **FOUR | {"fusion_hidden_size": 256},
            add_projection=True,
        ),
        (21, 35),
    ),
}


def converted(name: str, folder: Path) -> tuple[Any, Conversion]:
    make, size = CASES[name]
    model = make()
    model.save_pretrained(folder)
    return model, convert(open_checkpoint(folder), Overrides(image_size=size))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore::vit_convert.errors.AssumptionWarning")
def test_keras_gives_transformers_depth(name: str, tmp_path: Path) -> None:
    model, found = converted(name, tmp_path)
    config = found.spec.config
    pictures = np.random.default_rng(0).standard_normal((2, *config.image_size, 3), np.float32)
    with torch.inference_mode():
        expected = model(channels_first(pictures)).predicted_depth.numpy()
    keras = build(found.spec)
    keras.assign({name: tensor.read() for name, tensor in found.weights.items()})
    got = keras(pictures).numpy()
    assert got.shape == expected.shape == (2, *config.output_size)
    assert np.count_nonzero(expected) > expected.size / 4
    assert np.abs(got - expected).max() < 1e-5 * np.ptp(expected)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(
    ("old", "new"), [(7, 7), (1, 4), (5, 10), (4, 13), (13, 4), (6, 1), (2, 3)]
)
def test_matrices_resize_as_pytorch_does(old: int, new: int, align_corners: bool) -> None:
    rows = np.random.default_rng(old).standard_normal((3, old))
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(rows)[None, :, None],
        size=(1, new),
        mode="bilinear",
        align_corners=align_corners,
    ).numpy()[0, :, 0]
    np.testing.assert_allclose(
        rows @ bilinear_weights(old, new, align_corners).T, expected, rtol=0, atol=1e-12
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of each, which only the configurations of are changed."""
    folder = tmp_path_factory.mktemp("saved")
    dpt().save_pretrained(folder / "dpt")
    depth_anything().save_pretrained(folder / "depth_anything")
    return folder


def with_config(saved: Path, folder: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    shutil.copy(saved / "model.safetensors", folder)
    config = json.loads((saved / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("is_hybrid", True, "is_hybrid is true"),
        ("head_in_index", 0, "head_in_index is '0'"),
        ("readout_type", "sum", "readout_type is 'sum'"),
        ("reassemble_factors", [2, "half"], "reassemble_factors is"),
        ("neck_hidden_sizes", [4, 8], "neck_dims is"),
        ("fusion_hidden_size", 7, "fusion_dim is 7"),
        ("backbone_out_indices", [1, 0], "no model that is known"),
        ("backbone_out_indices", [0, 9], "no model that is known"),
        ("backbone_out_indices", [0, -1], "backbone_out_indices is"),
        ("backbone_out_indices", [0], "no model that is known"),
        ("backbone_out_indices", "all", "backbone_out_indices is 'all'"),
        ("add_projection", 1, "add_projection is"),
        ("use_batch_norm_in_fusion_residual", True, "fusion_norm is True"),
        ("reassemble_factors", [2, 2], "neck_factors is"),
        ("reassemble_factors", [2, 0.4], "no model that is known"),
    ],
)
def test_a_config_that_is_not_the_models_is_refused(
    key: str, value: Any, message: str, saved: Path, tmp_path: Path
) -> None:
    source = with_config(saved / "dpt", tmp_path, lambda config: config.update({key: value}))
    with pytest.raises(VitConvertError, match=message):
        recognised(open_checkpoint(source))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("apply_layernorm", False),
        ("reshape_hidden_states", True),
        ("model_type", "dinov2_with_registers"),
        ("model_type", "dinov3_vit"),
    ],
)
def test_a_backbone_that_gives_something_else_is_refused(
    key: str, value: Any, saved: Path, tmp_path: Path
) -> None:
    source = with_config(
        saved / "depth_anything",
        tmp_path,
        lambda config: config["backbone_config"].update({key: value}),
    )
    with pytest.raises(RecognitionError, match=f"backbone_config.{key} is"):
        recognised(open_checkpoint(source))


@cache
def own_state() -> dict[str, torch.Tensor]:
    backbone = dinov2(num_hidden_layers=12, out_indices=[3, 6, 9, 12])
    return own_names(depth_anything(backbone, **FOUR))


@pytest.mark.parametrize(
    ("name", "taps", "activation", "max_depth"),
    [
        ("depth_anything_v2_vits", (2, 5, 8, 11), "relu", 1.0),
        ("depth_anything_v2_metric_hypersim_vits", (2, 5, 8, 11), "sigmoid", 20.0),
        ("depth_anything_v2_metric_vkitti_vits", (2, 5, 8, 11), "sigmoid", 80.0),
        ("depth_anything_vits14", (8, 9, 10, 11), "relu", 1.0),
    ],
)
def test_what_the_authors_files_do_not_say_is_assumed_by_their_names(
    name: str, taps: tuple[int, ...], activation: str, max_depth: float, tmp_path: Path
) -> None:
    torch.save(own_state(), tmp_path / f"{name}.pth")
    found = recognised(open_checkpoint(tmp_path / f"{name}.pth"), Overrides(num_heads=3))
    config = found.spec.config
    assert (config.taps, config.depth_activation, config.max_depth) == (taps, activation, max_depth)
    for field in ("taps", "depth_activation", "max_depth"):
        fact = found.facts[field]
        assert fact.provenance == "assumed"
        assert fact.rivals


@pytest.fixture(scope="module")
def own_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("own") / "weights.pth"
    torch.save(own_state(), path)
    return path


DEPTH = ("taps", "depth_activation", "max_depth")


@pytest.mark.parametrize(
    ("given", "values", "open_fields"),
    [
        ({"taps": (8, 9, 10, 11)}, ((8, 9, 10, 11), "relu", 1.0), DEPTH[1:]),
        ({"depth_activation": "relu"}, ((2, 5, 8, 11), "relu", 1.0), DEPTH[:1]),
        ({"depth_activation": "sigmoid"}, ((2, 5, 8, 11), "sigmoid", 20.0), ("taps", "max_depth")),
        ({"max_depth": 80}, ((2, 5, 8, 11), "sigmoid", 80.0), DEPTH[:2]),
    ],
)
def test_what_files_do_not_say_is_an_option_that_their_message_names(
    given: dict[str, Any], values: tuple[Any, ...], open_fields: tuple[str, ...], own_file: Path
) -> None:
    found = recognised(open_checkpoint(own_file), Overrides(num_heads=3, **given))
    config = found.spec.config
    assert (config.taps, config.depth_activation, config.max_depth) == values
    assert {found.facts[name].provenance for name in given} == {"given"}
    assumed = Assumptions.of(found.recognition).open
    assert [name for name in DEPTH if name in assumed] == [*open_fields]
    lines = Assumptions.of(found.recognition).warnings()
    for name in open_fields:
        (line,) = (line for line in lines if line.startswith(f"{name} is assumed"))
        value = assumed[name].rivals[0].value
        option = f"--{name.replace('_', '-')} {as_text(value, name)}"
        assert line.endswith(f"; {option}")
        again = recognised(open_checkpoint(own_file), Overrides(num_heads=3, **{name: value}))
        assert getattr(again.spec.config, name) == value
    text = options_template(found.spec, found.recognition, "weights.pth")
    assert all(re.search(f"^{name} = ", text, re.M) for name in DEPTH)


def test_the_command_takes_them(own_file: Path, tmp_path: Path) -> None:
    (tmp_path / "depth.toml").write_text("taps = [8, 9, 10, 11]\nmax_depth = 20\nnum_heads = 3\n")
    options = ["--config", tmp_path / "depth.toml", "--max-depth", "80"]
    options += ["--depth-activation", "sigmoid", "-o", tmp_path / "m.h5", "--json"]
    ran = CliRunner().invoke(cli, ["torch2keras", str(own_file), *map(str, options)])
    assert ran.exception is None, ran.exception
    with open_keras(tmp_path / "m.h5") as (spec, _):
        config = spec.config
    assert (config.taps, config.max_depth) == ((8, 9, 10, 11), 80.0)
    assert "taps" not in ran.stderr


@pytest.mark.parametrize("taps", [(2, 5), (2, 5, 8, 10), (5, 2, 8, 11), (2, 5, 8, 12)])
def test_blocks_that_the_head_cannot_read_are_refused(
    taps: tuple[int, ...], own_file: Path
) -> None:
    with pytest.raises(UsageError, match="the head reads 4 of the blocks 0 to 11") as refused:
        recognised(open_checkpoint(own_file), Overrides(num_heads=3, taps=taps))
    assert refused.value.where == f"--taps {','.join(map(str, taps))}"
