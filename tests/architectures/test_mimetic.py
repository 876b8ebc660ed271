"""Mimetic values make fresh attention local, as the paper says."""

from __future__ import annotations

import numpy as np
import pytest

from vit_convert.architectures.creation import new_spec
from vit_convert.architectures.initialisation import initial_values
from vit_convert.architectures.mimetic import mimetic_values, sines
from vit_convert.errors import UsageError

SHAPE = {
    "image_size": (24, 40),
    "patch_size": 4,
    "embed_dim": 96,
    "num_heads": 3,
    "depth": 2,
    "num_classes": 7,
}


def values(**options: object) -> dict[str, np.ndarray]:
    spec = new_spec("vit_tiny_patch16_224", SHAPE | options)
    return dict(initial_values(spec, 0, init="mimetic"))


def test_values_and_projection_turn_the_sign() -> None:
    found = values()
    for i in range(2):
        value = found[f"blocks.{i}.attn.qkv.weight"][2 * 96 :].T.astype(np.float64)
        product = value @ found[f"blocks.{i}.attn.proj.weight"].T
        noise = product + 0.4 * np.eye(96)
        assert abs(noise.mean()) < 0.01
        assert noise.std() == pytest.approx(0.4 / np.sqrt(96), rel=0.03)


def test_queries_meet_keys_of_the_same_position() -> None:
    """Each head has the nearest matrix of its rank to 0.7 of noise and 0.7 of identity: all that
    it lacks is beyond its largest singular values."""
    weight = values()["blocks.1.attn.qkv.weight"].astype(np.float64)
    queries, keys = (weight[i * 96 : (i + 1) * 96].reshape(3, 32, 96) for i in (0, 1))
    for query, key in zip(queries, keys, strict=True):
        product = query.T @ key
        largest = np.linalg.svd(product, compute_uv=False)[:32]
        assert 0.5 < largest.min() <= largest.max() < 2.2
        assert np.trace(product) / 96 > 0.2
    assert not np.allclose(queries[0], queries[1])


def test_attention_of_positions_is_local() -> None:
    """The mean distance that a patch looks is far below that of looking everywhere."""
    weight = values(image_size=32)["blocks.0.attn.qkv.weight"]
    x = sines(8, 8, 96)
    x = (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True)
    query, key = x @ weight[:32].T, x @ weight[96:128].T
    scores = query @ key.T / np.sqrt(32)
    attention = np.exp(scores - scores.max(axis=1, keepdims=True))
    attention /= attention.sum(axis=1, keepdims=True)
    place = np.mgrid[:8, :8].reshape(2, -1)
    distance = np.sqrt(((place[:, :, None] - place[:, None]) ** 2).sum(axis=0))
    assert (attention * distance).sum(axis=1).mean() < 0.75 * distance.mean()


def test_positions_are_sines_and_tokens_have_none() -> None:
    found = values(reg_tokens=0)["pos_embed"]
    assert found.shape == (1, 61, 96)
    assert not found[0, 0].any()
    grid = found[0, 1:].reshape(6, 10, 96)
    np.testing.assert_allclose(grid[2, 3, :24], np.sin(3 * 10_000.0 ** -(np.arange(24) / 24)), 1e-5)
    np.testing.assert_array_equal(grid[2, :, 48:], np.broadcast_to(grid[2, :1, 48:], (10, 48)))
    np.testing.assert_array_equal(grid[:, 3, :48], np.broadcast_to(grid[:1, 3, :48], (6, 48)))


def test_the_rest_is_as_usual() -> None:
    spec = new_spec("vit_tiny_patch16_224", SHAPE)
    usual, mimetic = dict(initial_values(spec, 0)), values()
    special = set(mimetic_values(spec, 0))
    assert special == {
        "pos_embed",
        *(f"blocks.{i}.attn.{n}.weight" for i in (0, 1) for n in ("qkv", "proj")),
    }
    for name in usual.keys() - special:
        np.testing.assert_array_equal(mimetic[name], usual[name])


def test_models_that_cannot_begin_so_are_refused() -> None:
    with pytest.raises(UsageError, match="cannot begin with mimetic values"):
        mimetic_values(new_spec("beit_base_patch16_224", {}), 0)
