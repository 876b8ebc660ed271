"""Folding keeps the logits of any model: the folded one in LiteRT, the textbook's in NumPy.

All options of the configurations are random. `HYPOTHESIS_EXAMPLES=2000` tries more of them.
"""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import textbook
from ai_edge_litert.interpreter import Interpreter
from families import FAMILIES, OPTIONS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vit_convert.architectures import (
    CaiTConfig,
    ModelSpec,
    Preprocessing,
    ViTConfig,
    architectures,
)
from vit_convert.architectures.base import Gelu, Pool, Position, Rotary, TransformerConfig
from vit_convert.exporters.options import ExportOptions
from vit_convert.exporters.tflite.flatbuffer import write
from vit_convert.exporters.tflite.lowering import lower_model
from vit_convert.exporters.tflite.weights import weight_store
from vit_convert.folding import fold

EXAMPLES = int(os.environ.get("HYPOTHESIS_EXAMPLES", 40))
MANY = settings(
    max_examples=EXAMPLES,
    deadline=None,  # pytest-timeout sees to it that nothing hangs
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)
PREPROCESSING = Preprocessing((0.48, 0.45, 0.41), (0.23, 0.22, 0.27))
CONSTANT = {"drop_rate", "attn_drop_rate", "drop_path_rate"}  # for training


@st.composite
def _sizes(draw: st.DrawFn) -> dict[str, Any]:
    patch = draw(st.tuples(st.integers(2, 5), st.integers(2, 5)))
    grid = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    beyond = draw(st.tuples(st.integers(0, 1), st.integers(0, 1)))  # pixels that no patch covers
    heads = draw(st.integers(1, 5))
    return {
        "image_size": tuple(g * p + b for g, p, b in zip(grid, patch, beyond, strict=True)),
        "patch_size": patch,
        "in_channels": draw(st.sampled_from([1, 3, 4])),
        "num_classes": draw(st.sampled_from([0, 1, 7])),
        "embed_dim": heads * 4 * draw(st.integers(1, 3)),
        "depth": draw(st.integers(1, 3)),
        "num_heads": heads,
        "mlp_dim": draw(st.integers(5, 31)),
        "qkv_bias": draw(st.booleans()),
        "gelu": draw(st.sampled_from(get_args(Gelu))),
        "norm_eps": draw(st.sampled_from([1e-6, 1e-5, 1e-3])),
    }


@st.composite
def vits(draw: st.DrawFn) -> ViTConfig:
    """Any ViT that there can be, with what its options ask of each other."""

    def one_of(*choices: Any) -> Any:
        return draw(st.sampled_from(choices))

    flags = ("patch_bias", "patch_norm", "pre_norm", "qk_norm", "attn_norm", "proj_bias")
    flags += ("mlp_bias", "mlp_norm", "layer_scale", "pool_prefix", "head_bias", "class_token")
    chosen = draw(_sizes()) | {name: draw(st.booleans()) for name in flags}
    chosen["norm"] = one_of("layer", "rms")
    chosen["norm_bias"] = chosen["norm"] == "layer" and draw(st.booleans())
    chosen["mlp"] = one_of("plain", "swiglu", "swiglu-packed")
    pools = get_args(Pool) if chosen["class_token"] else ("avg", "max", "avgmax", "map")
    chosen["pool"] = one_of(*pools)
    chosen["final_norm"], chosen["fc_norm"] = draw(st.booleans()), draw(st.booleans())
    if chosen["pool"] == "token-avg":  # twice as wide as a norm is
        chosen["fc_norm"] = False
    if chosen["pool"] == "map":
        heads = [n for n in range(1, 7) if chosen["embed_dim"] % n == 0]
        chosen["pool_heads"] = one_of(None, *heads)
        chosen["pool_mlp_dim"] = one_of(None, 11)
    chosen["distilled"] = chosen["pool"] == "token" and draw(st.booleans())
    if not chosen["distilled"]:  # one head reads them
        chosen["projection"] = one_of(0, 0, 13)
        chosen["unit_features"] = draw(st.booleans())
    chosen["reg_tokens"] = draw(st.integers(0, 3))
    chosen["position"] = one_of(*get_args(Position))
    chosen["parallel"] = one_of(1, 1, 2)
    if chosen["parallel"] == 1:  # timm's parallel blocks have norms in front, and no such positions
        chosen["norm_position"] = one_of("pre", "pre", "post", "res-post")
        chosen["mlp_layer_scale"] = draw(st.booleans())
        chosen["rotary"] = one_of("none", *get_args(Rotary))
        alone = chosen["class_token"] and not chosen["distilled"] and not chosen["reg_tokens"]
        if alone:  # BEiT's tables know of no other token
            chosen["rel_pos"] = one_of("none", "blocks", "shared")
        chosen["rotary_base"] = one_of(30.0, 1e4)
        chosen["rotary_grid"] = one_of((4, 7), (16, 16))
        if chosen["rotary"] == "pe" and not chosen["class_token"]:
            chosen["reg_tokens"] = 0  # places count from 1 behind a class token
    return ViTConfig(**chosen)


@st.composite
def caits(draw: st.DrawFn) -> CaiTConfig:
    """Any CaiT."""
    return CaiTConfig(
        **draw(_sizes()),
        depth_token_only=draw(st.integers(1, 3)),
        mlp_dim_token_only=draw(st.integers(5, 31)),
    )


def random_weights(config: TransformerConfig, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Sizeable ones, so that each matters; float32, as checkpoints have them."""
    name = next(a.name for a in architectures() if isinstance(config, a.config_class))
    found = {}
    for parameter in ModelSpec(name, config, PREPROCESSING).parameters():
        array = rng.standard_normal(parameter.shape)
        leaf = parameter.name.rpartition(".")[2]
        if leaf == "weight" and array.ndim == 1:  # a norm's
            array = 1 + 0.3 * array
        elif "gamma" in leaf:
            array = 0.5 + 0.2 * array
        elif leaf == "weight":
            array *= 1.3 * max(array[0].size, 1) ** -0.5
        elif leaf == "bias":
            array *= 0.3
        else:
            array *= 0.7
        found[parameter.name] = array.astype(np.float32)
    return found


def folded_logits(
    config: TransformerConfig, weights: dict[str, np.ndarray], images: np.ndarray, path: Path
) -> np.ndarray:
    """What LiteRT makes of the folded model."""
    name = next(a.name for a in architectures() if isinstance(config, a.config_class))
    model = fold(ModelSpec(name, config, PREPROCESSING), weights)
    options = ExportOptions(batch_size=len(images))
    write(path, lower_model(model, options, weight_store("float32")).model)
    interpreter = Interpreter(model_content=path.read_bytes(), num_threads=1)
    interpreter.allocate_tensors()
    (entrance,), (end,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.set_tensor(entrance["index"], images)
    interpreter.invoke()
    return interpreter.get_tensor(end["index"])


def check(config: TransformerConfig, seed: int, folder: Path) -> None:
    rng = np.random.default_rng(seed)
    weights = random_weights(config, rng)
    shape = (2, *config.image_size, config.in_channels)
    images = rng.standard_normal(shape).astype(np.float32)
    expected = textbook.logits(config, weights, images)
    got = folded_logits(config, weights, images, folder / "model.tflite")
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("name", [*FAMILIES, *OPTIONS])
def test_the_textbook_gives_what_timm_gives(name: str) -> None:
    family = (FAMILIES | OPTIONS)[name]()
    images = family.images(2)
    expected, got = (
        family.logits(images),
        textbook.logits(family.spec.config, family.arrays(), images),
    )
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() <= 1e-5 * np.abs(expected).max()


@MANY
@given(config=vits(), seed=st.integers(0, 2**32 - 1))
def test_folding_keeps_the_logits_of_any_vit(
    tmp_path_factory: pytest.TempPathFactory, config: ViTConfig, seed: int
) -> None:
    check(config, seed, tmp_path_factory.getbasetemp())


@MANY
@given(config=caits(), seed=st.integers(0, 2**32 - 1))
def test_folding_keeps_the_logits_of_any_cait(
    tmp_path_factory: pytest.TempPathFactory, config: CaiTConfig, seed: int
) -> None:
    check(config, seed, tmp_path_factory.getbasetemp())


@pytest.mark.parametrize(
    ("strategy", "constant"),
    [(vits(), CONSTANT), (caits(), {*CONSTANT, "pool"})],
    ids=["vit", "cait"],
)
def test_every_option_is_random(
    strategy: st.SearchStrategy[TransformerConfig], constant: set[str]
) -> None:
    seen: dict[str, set[Any]] = {}

    @settings(
        max_examples=300,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def look(config: TransformerConfig) -> None:
        for field in fields(config):
            seen.setdefault(field.name, set()).add(getattr(config, field.name))

    look()
    assert {name for name, values in seen.items() if len(values) < 2} == constant
