"""Each pass of folding changes weights as its docstring says, exactly in float64."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vit_convert.architectures import (
    CaiTConfig,
    ModelSpec,
    Preprocessing,
    TransformerConfig,
    ViTConfig,
    architectures,
)
from vit_convert.architectures.vit.relative_position import relative_position_index
from vit_convert.exporters.options import ExportOptions
from vit_convert.exporters.tflite.lowering import lower_model
from vit_convert.exporters.tflite.weights import weight_store
from vit_convert.folding import PASSES, FoldedModel, fold, unfolded
from vit_convert.folding.attention import (
    drop_what_softmax_does_not_see,
    frequencies_into_tables,
    look_up_relative_positions,
    neighbours_into_halves,
    query_into_pooling_keys,
    scale_into_queries_and_keys,
    split_fused,
)
from vit_convert.folding.embeddings import TOKENS, pixels_into_patches, tokens_into_positions
from vit_convert.folding.norms import norms_into_linears
from vit_convert.folding.stream import (
    STREAM_SCALE,
    centre_stream,
    layer_scale_into_branches,
    scale_stream,
)

SMALL = {
    "image_size": (24, 50),
    "patch_size": (8, 10),
    "num_classes": 7,
    "embed_dim": 24,
    "depth": 2,
    "num_heads": 3,
    "mlp_dim": 31,
}
VIT = ViTConfig(**SMALL, layer_scale=True, class_token=True, reg_tokens=2, position="class")
CAIT = CaiTConfig(**SMALL, mlp_dim_token_only=29)
PREPROCESSING = Preprocessing((0.48, 0.45, 0.41), (0.23, 0.22, 0.27))


def model_of(config: TransformerConfig, seed: int = 0) -> tuple[FoldedModel, dict[str, np.ndarray]]:
    """A model with random weights, and these in float64."""
    name = next(a.name for a in architectures() if isinstance(config, a.config_class))
    spec = ModelSpec(name, config, PREPROCESSING)
    rng = np.random.default_rng(seed)
    arrays = {p.name: rng.standard_normal(p.shape) for p in spec.parameters()}
    return unfolded(spec, arrays), arrays


def computed(model: FoldedModel) -> dict[str, np.ndarray]:
    found = {name: weight.compute() for name, weight in model.weights.items()}
    assert {k: v.shape for k, v in found.items()} == {k: w.shape for k, w in model.weights.items()}
    return found


def linear(weights: dict[str, np.ndarray], layer: str, x: np.ndarray) -> np.ndarray:
    return x @ weights[f"{layer}.weight"].T + weights.get(f"{layer}.bias", 0.0)


def layer_norm(x: np.ndarray, epsilon: float) -> np.ndarray:
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + epsilon)


def inputs(channels: int, count: int = 5, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, channels))


def close(a: np.ndarray, b: np.ndarray) -> bool:
    assert a.shape == b.shape
    return np.abs(a - b).max() <= 1e-12 * np.abs(a).max()


def test_what_no_pass_touches_is_as_it_was():
    model, arrays = model_of(VIT)
    found = computed(model)
    assert found.keys() == arrays.keys()
    assert all(np.array_equal(found[name], arrays[name]) for name in found)


def test_computing_changes_nothing_that_was_given():
    """Passes work in place, on copies."""
    model, arrays = model_of(VIT)
    before = {name: array.copy() for name, array in arrays.items()}
    for change in PASSES:
        model = change(model)
    first, second = computed(model), computed(model)
    assert all(np.array_equal(arrays[name], before[name]) for name in arrays)
    assert all(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("config", [VIT, replace(VIT, qkv_bias=False), CAIT], ids=repr)
def test_split_fused(config):
    model, arrays = model_of(config)
    found = computed(split_fused(model))
    x = inputs(24)
    whole = linear(arrays, "blocks.1.attn.qkv", x)
    for i, part in enumerate("qkv"):
        assert close(whole[:, 24 * i : 24 * (i + 1)], linear(found, f"blocks.1.attn.{part}", x))
    assert not [name for name in found if ".qkv." in name]


def test_split_fused_of_a_gated_mlp():
    model, arrays = model_of(replace(VIT, mlp="swiglu-packed"))
    found, x = computed(split_fused(model)), inputs(24)
    whole = linear(arrays, "blocks.0.mlp.fc1", x)
    assert close(whole[:, :31], linear(found, "blocks.0.mlp.fc1_g", x))
    assert close(whole[:, 31:], linear(found, "blocks.0.mlp.fc1_x", x))


@pytest.mark.parametrize(
    ("config", "layer", "scale", "width"),
    [
        (VIT, "blocks.1.attn.proj", "blocks.1.ls1.gamma", 24),
        (VIT, "blocks.0.mlp.fc2", "blocks.0.ls2.gamma", 31),
        (CAIT, "blocks.1.attn.proj", "blocks.1.gamma_1", 24),
        (CAIT, "blocks_token_only.1.mlp.fc2", "blocks_token_only.1.gamma_2", 29),
        (replace(VIT, parallel=2), "blocks.1.ffns.1.mlp.fc2", "blocks.1.ffns.1.ls.gamma", 31),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_layer_scale_into_branches(config, layer, scale, width):
    model, arrays = model_of(config)
    found, x = computed(layer_scale_into_branches(model)), inputs(width)
    assert close(arrays[scale] * linear(arrays, layer, x), linear(found, layer, x))
    assert scale not in found


@pytest.mark.parametrize("config", [VIT, CAIT], ids=["vit", "cait"])
def test_centre_stream(config):
    model, arrays = model_of(config)
    centred = centre_stream(model)
    found = computed(centred)
    for branch in model.graph.branches:
        x = inputs(arrays[f"{branch.output}.weight"].shape[1])
        before, after = linear(arrays, branch.output, x), linear(found, branch.output, x)
        assert close(before - before.mean(axis=-1, keepdims=True), after)
        # and a norm that reads it then needs no mean
        assert close(layer_norm(before, 1e-6), after / np.sqrt((after**2).mean(-1)[:, None] + 1e-6))
    for name in ("pos_embed", "cls_token"):
        assert np.abs(found[name].mean(axis=-1)).max() < 1e-15
    assert np.abs(found["patch_embed.proj.weight"].mean(axis=0)).max() < 1e-15
    stream = {norm.name for norm in model.graph.norms if norm.reads == "stream"}
    assert centred.centred_norms == stream
    assert stream >= {"norm", "blocks.0.norm1", "blocks.1.norm2"}


def test_a_stream_that_others_read_is_left_as_it_is():
    for changes in ({"norm_position": "post"}, {"pool": "max", "final_norm": False}):
        model, arrays = model_of(replace(VIT, **changes))
        for change in (centre_stream, scale_stream):
            done = change(model)
            found = computed(done)
            assert all(np.array_equal(found[name], arrays[name]) for name in arrays)
            assert (done.stream_scale, done.centred_norms) == (1.0, frozenset())


def test_a_norm_of_a_branch_centres_that_branch_alone():
    model, arrays = model_of(replace(VIT, norm_position="res-post"))
    done = centre_stream(model)
    assert done.centred_norms == {f"blocks.{i}.norm{n}" for i in (0, 1) for n in (1, 2)}
    found, x = computed(done), inputs(24)
    assert np.abs(linear(found, "blocks.0.attn.proj", x).mean(axis=-1)).max() < 1e-14
    assert np.array_equal(found["pos_embed"], arrays["pos_embed"])


def test_a_norm_before_the_stream_is_centred_and_recentred():
    model, _ = model_of(replace(VIT, pre_norm=True))
    done = centre_stream(model)
    assert "norm_pre" in done.centred_norms
    assert done.recentred_norms == {"norm_pre"}


RMS = replace(VIT, norm="rms", norm_bias=False)


@pytest.mark.parametrize("changes", [{}, {"pre_norm": True}, {"norm_position": "res-post"}])
def test_rms_norms_subtract_no_mean_and_nothing_is_centred(changes):
    """The mean over the channels is part of what they normalise."""
    model, arrays = model_of(replace(RMS, **changes))
    done = centre_stream(model)
    found = computed(done)
    assert all(np.array_equal(found[name], arrays[name]) for name in arrays)
    assert (done.centred_norms, done.recentred_norms) == (frozenset(), frozenset())
    assert not any(done.subtracts_mean(norm.name) for norm in model.graph.norms)


def test_layer_norms_subtract_a_mean_unless_their_input_has_none():
    model, _ = model_of(replace(VIT, qk_norm=True))
    done = centre_stream(model)
    assert model.subtracts_mean("blocks.0.norm1")
    assert not done.subtracts_mean("blocks.0.norm1")
    assert done.subtracts_mean("blocks.0.attn.q_norm")


def test_a_norm_of_patches_starts_the_stream_in_place_of_their_convolution():
    """What it gives is scaled, and not centred; the bias of the convolution stays before it."""
    model, arrays = model_of(replace(VIT, patch_norm=True))
    assert centre_stream(model).centred_norms == frozenset()
    found = computed(scale_stream(model))
    for leaf in ("weight", "bias"):
        scaled, kept = (f"patch_embed.{layer}.{leaf}" for layer in ("norm", "proj"))
        assert np.array_equal(found[scaled], arrays[scaled] * STREAM_SCALE)
        assert np.array_equal(found[kept], arrays[kept])
    assert scale_stream(model).epsilons["patch_embed.norm"] == 1e-6
    done = computed(tokens_into_positions(model))
    assert np.array_equal(done["patch_embed.proj.bias"], arrays["patch_embed.proj.bias"])
    positions = arrays["pos_embed"][:, 1:]
    assert np.array_equal(done[TOKENS][:, 3:], positions)


@pytest.mark.parametrize("config", [VIT, CAIT, RMS], ids=["vit", "cait", "rms"])
def test_scale_stream(config):
    model, arrays = model_of(config)
    done = scale_stream(model)
    found = computed(done)
    for branch in model.graph.branches:
        x = inputs(arrays[f"{branch.output}.weight"].shape[1])
        before, after = linear(arrays, branch.output, x), linear(found, branch.output, x)
        assert np.array_equal(before * STREAM_SCALE, after)  # a power of two
    x, epsilon = 1e-3 * inputs(24), done.epsilons["blocks.0.norm1"]
    assert close(layer_norm(x, model.epsilons["blocks.0.norm1"]), layer_norm(x / 16, epsilon))
    assert done.stream_scale == STREAM_SCALE


def test_epsilon_inside_a_branch_is_left_as_it_is():
    model, _ = model_of(replace(VIT, mlp_norm=True, attn_norm=True, qk_norm=True))
    done = scale_stream(model)
    for norm in ("mlp.norm", "attn.norm", "attn.q_norm"):
        assert done.epsilons[f"blocks.0.{norm}"] == 1e-6


@pytest.mark.parametrize("bias", [True, False])
def test_norms_into_linears(bias):
    model, arrays = model_of(replace(VIT, qkv_bias=bias, mlp_norm=True, attn_norm=True))
    model = split_fused(model)
    before, after = computed(model), computed(norms_into_linears(model))
    checked = 0
    for norm in model.graph.norms:
        gamma, beta = arrays[f"{norm.name}.weight"], arrays[f"{norm.name}.bias"]
        n = inputs(len(gamma))
        for layer in norm.into:
            assert close(linear(before, layer, n * gamma + beta), linear(after, layer, n))
            checked += 1
        assert (f"{norm.name}.weight" in after) == (not norm.into)
    assert checked == 2 * (3 + 1 + 1 + 1) + 1  # q k v, proj, fc1, fc2 of two blocks; the head


def test_norms_that_have_to_stay_keep_no_other_from_going():
    """They come first, and what is folded would be equal without the others."""
    model, _ = model_of(replace(VIT, patch_norm=True, pre_norm=True, qk_norm=True))
    left = computed(norms_into_linears(split_fused(model)))
    gone = {norm.name for norm in model.graph.norms if f"{norm.name}.weight" not in left}
    assert gone == {"norm"} | {f"blocks.{i}.norm{n}" for i in (0, 1) for n in (1, 2)}


def test_norms_without_a_bias_give_the_linears_none():
    config = replace(RMS, qkv_bias=False, mlp_bias=False, mlp="swiglu")
    model = split_fused(model_of(config)[0])
    before, after = computed(model), computed(norms_into_linears(model))
    for layer, norm in (("attn.q", "norm1"), ("mlp.fc1_g", "norm2"), ("mlp.fc1_x", "norm2")):
        gamma, n = before[f"blocks.1.{norm}.weight"], inputs(24)
        layer = f"blocks.1.{layer}"
        assert close(linear(before, layer, n * gamma), linear(after, layer, n))
        assert f"{layer}.bias" not in after
    assert "head.bias" in after


@pytest.mark.parametrize("norms", [True, False])
def test_scale_into_queries_and_keys(norms):
    model, _ = model_of(replace(VIT, qk_norm=norms))
    model = split_fused(model)
    done = scale_into_queries_and_keys(model)
    before, after = computed(model), computed(done)
    x = inputs(24)

    def scores(weights):
        q, k = (linear(weights, f"blocks.0.attn.{part}", x).reshape(5, 3, 8) for part in "qk")
        if norms:
            q, k = (
                layer_norm(y, 1e-6) * weights[f"blocks.0.attn.{part}.weight"]
                + weights[f"blocks.0.attn.{part}.bias"]
                for y, part in ((q, "q_norm"), (k, "k_norm"))
            )
        return np.einsum("nhd,mhd->hnm", q, k)

    assert close(scores(before) / np.sqrt(8), scores(after))
    assert (model.attention_scaled, done.attention_scaled) == (False, True)


@pytest.mark.parametrize("config", [VIT, CAIT], ids=["vit", "cait"])
def test_drop_what_softmax_does_not_see(config):
    model, _ = model_of(config)
    model = split_fused(model)
    before, after = computed(model), computed(drop_what_softmax_does_not_see(model))
    blocks = ["blocks.1.attn"] + ["blocks_token_only.0.attn"] * (config is CAIT)
    for attn in blocks:
        x = inputs(24)

        def scores(weights, attn=attn, x=x):
            q, k = (linear(weights, f"{attn}.{part}", x).reshape(5, 3, 8) for part in "qk")
            found = np.einsum("nhd,mhd->nmh", q, k)
            if f"{attn}.proj_l.weight" in weights:
                found = linear(weights, f"{attn}.proj_l", found)
            return found

        difference = scores(before) - scores(after)
        assert np.abs(difference).max() > 0.1
        # the same for all keys
        assert np.abs(difference - difference[:, :1]).max() <= 1e-12 * np.abs(difference).max()
    gone = before.keys() - after.keys()
    assert gone == {name for name in before if name.endswith((".k.bias", ".proj_l.bias"))}


@pytest.mark.parametrize("changes", [{"qk_norm": True}, {"rotary": "eva02"}, {"rotary": "mixed"}])
def test_a_bias_that_softmax_sees_stays(changes):
    model, _ = model_of(replace(VIT, **changes))
    model = split_fused(model)
    assert drop_what_softmax_does_not_see(model).weights.keys() == model.weights.keys()


def test_neighbours_into_halves():
    model, _ = model_of(replace(VIT, rotary="eva02"))
    model = split_fused(model)
    before, after, x = computed(model), computed(neighbours_into_halves(model)), inputs(24)
    for part in "qk":
        neighbours = linear(before, f"blocks.1.attn.{part}", x).reshape(5, 3, 4, 2)
        halves = linear(after, f"blocks.1.attn.{part}", x).reshape(5, 3, 2, 4)
        assert np.array_equal(neighbours, halves.transpose(0, 1, 3, 2))
    assert np.array_equal(before["blocks.1.attn.v.weight"], after["blocks.1.attn.v.weight"])


def test_frequencies_into_tables():
    """A pair of neighbouring channels is turned as a complex number; here it is two halves."""
    model, arrays = model_of(replace(VIT, rotary="mixed"))
    found = computed(frequencies_into_tables(model))
    assert "rope.freqs" not in found
    cosines, sines = (found[f"blocks.1.attn.{leaf}"] for leaf in ("cosines", "sines"))
    assert cosines.shape == sines.shape == (1, 3 + 15, 3, 8)
    of_column, of_row = arrays["rope.freqs"][:, 1, 2]  # of the second block's third head
    for row, column in ((0, 0), (1, 3), (2, 4)):
        angles = column * of_column + row * of_row
        token = 3 + 5 * row + column
        x = inputs(8, 1)[0]
        turned = (x[:4] + 1j * x[4:]) * np.exp(1j * angles)
        got = x * cosines[0, token, 2] + np.roll(x, 4) * sines[0, token, 2]
        assert close(np.concatenate([turned.real, turned.imag]), got)
    assert np.array_equal(cosines[0, :3], np.ones((3, 3, 8)))  # tokens that are no patches
    assert not sines[0, :3].any()


@pytest.mark.parametrize("kind", ["blocks", "shared"])
def test_look_up_relative_positions(kind):
    model, arrays = model_of(replace(VIT, rel_pos=kind, reg_tokens=0))
    found = computed(look_up_relative_positions(model))
    module = "rel_pos_bias" if kind == "shared" else "blocks.1.attn"
    table = arrays[f"{module}.relative_position_bias_table"]
    bias = found[f"{module}.relative_position_bias"]
    index = relative_position_index((3, 5))
    assert bias.shape == (1, 3, 16, 16)
    assert all(
        bias[0, h, i, j] == table[index[i, j], h] for h in range(3) for i in (0, 4) for j in (0, 9)
    )
    assert f"{module}.relative_position_bias_table" not in found


def test_query_into_pooling_keys():
    model, arrays = model_of(replace(VIT, pool="map"))
    model = split_fused(model)
    before, after = computed(model), computed(query_into_pooling_keys(model))
    x = inputs(24, 6)

    def softmax(scores):
        powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
        return powers / powers.sum(axis=-1, keepdims=True)

    q = linear(before, "attn_pool.q", arrays["attn_pool.latent"].reshape(1, 24)).reshape(3, 8)
    k, v = (linear(before, f"attn_pool.{part}", x).reshape(6, 3, 8) for part in "kv")
    weights = softmax(np.einsum("hd,nhd->hn", q, k) / np.sqrt(8))
    expected = np.einsum("hn,nhd->hd", weights, v).reshape(1, 24)
    weights = softmax(linear(after, "attn_pool.scores", x).T)
    values = linear(after, "attn_pool.v", x).reshape(6, 3, 8)
    got = np.einsum("hn,nhd->hd", weights, values).reshape(1, 24)
    assert close(linear(before, "attn_pool.proj", expected), linear(after, "attn_pool.proj", got))


@pytest.mark.parametrize("position", ["all", "class", "patches", "none"])
def test_tokens_into_positions(position):
    model, arrays = model_of(replace(VIT, position=position))
    found = computed(tokens_into_positions(model))
    cls, registers = arrays["cls_token"], arrays["reg_token"]
    patches = arrays["patch_embed.proj.bias"][None, None] + np.zeros((1, 15, 24))
    pos = arrays.get("pos_embed")
    if position == "all":
        expected = np.concatenate([cls, registers, patches], axis=1) + pos
    elif position == "class":
        expected = np.concatenate([cls + pos[:, :1], registers, patches + pos[:, 1:]], axis=1)
    else:
        shifted = patches if position == "none" else patches + pos
        expected = np.concatenate([cls, registers, shifted], axis=1)
    assert np.allclose(found[TOKENS], expected, rtol=0, atol=1e-14)
    assert not found.keys() & {"pos_embed", "cls_token", "reg_token", "patch_embed.proj.bias"}


def test_nothing_but_a_bias_stays_in_the_patch_embedding():
    config = replace(VIT, class_token=False, reg_tokens=0, position="none", pool="avg")
    found = computed(tokens_into_positions(model_of(config)[0]))
    assert "patch_embed.proj.bias" in found
    assert TOKENS not in found


@pytest.mark.parametrize("bias", [True, False])
def test_pixels_into_patches(bias):
    model, arrays = model_of(replace(VIT, patch_bias=bias))
    done = pixels_into_patches(model)
    found = computed(done)
    pixels = np.random.default_rng(2).uniform(0, 255, (3, 8, 10))
    mean, std = (np.array(v)[:, None, None] for v in (PREPROCESSING.mean, PREPROCESSING.std))

    def patch(weights, picture):
        kernel = weights["patch_embed.proj.weight"]
        return np.einsum("ochw,chw->o", kernel, picture) + weights.get("patch_embed.proj.bias", 0)

    assert close(patch(arrays, (pixels / 255 - mean) / std), patch(found, pixels))
    assert (model.pixels, done.pixels) == (False, True)


def test_folding_is_the_list_of_passes():
    model, arrays = model_of(VIT)
    for change in PASSES:
        model = change(model)
    folded = fold(model.spec, arrays)
    assert folded.weights.keys() == model.weights.keys()
    first, second = computed(model), computed(folded)
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert all(array.dtype == np.float32 for array in (w.array() for w in folded.weights.values()))


@pytest.mark.parametrize(
    "left_out", [split_fused, layer_scale_into_branches, scale_into_queries_and_keys]
)
def test_lowering_refuses_a_model_that_lacks_a_pass(left_out):
    model, _ = model_of(replace(VIT, norm_position="post"))
    for change in PASSES:
        if change is not left_out:
            model = change(model)
    with pytest.raises(ValueError, match="not folded"):
        lower_model(model, ExportOptions(), weight_store("float32"))
