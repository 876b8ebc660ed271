"""Resampled position embeddings equal PyTorch's and timm's, live."""

from __future__ import annotations

from functools import cache
from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vit_convert.architectures.base import Resampling
from vit_convert.conversion.pos_embed import Grid, resample_pos_embed
from vit_convert.errors import UsageError
from vit_convert.parity.sources.torch_compat import import_vision

CHANNELS = 5
METHODS: tuple[Resampling, ...] = ("antialias", "bicubic", "bilinear")
SIDES = st.integers(1, 26)
GRIDS = st.tuples(SIDES, SIDES)


@cache
def timm_layers() -> ModuleType:
    return import_vision("timm.layers")


def embedding(grid: Grid, prefix: int, dtype: str = "float32", seed: int = 0) -> np.ndarray:
    tokens = prefix + grid[0] * grid[1]
    return np.random.default_rng(seed).standard_normal((1, tokens, CHANNELS)).astype(dtype)


def pytorch(patches: np.ndarray, old: Grid, new: Grid, method: Resampling) -> np.ndarray:
    """Resize (1, h * w, channels) through F.interpolate, in the dtype of `patches`."""
    picture = torch.from_numpy(patches).reshape(1, *old, CHANNELS).permute(0, 3, 1, 2)
    mode = "bilinear" if method == "bilinear" else "bicubic"
    resized = torch.nn.functional.interpolate(
        picture, size=new, mode=mode, align_corners=False, antialias=method == "antialias"
    )
    return resized.permute(0, 2, 3, 1).reshape(1, -1, CHANNELS).numpy()


def assert_close_in_float32(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Within 1e-6: PyTorch's own float32 rounding is up to 4e-6 of the largest value here (0.2)."""
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
@given(old=GRIDS, new=GRIDS, prefix=st.integers(0, 6))
@settings(max_examples=150, deadline=None)
def test_equals_pytorch_for_every_grid(
    method: Resampling, old: Grid, new: Grid, prefix: int
) -> None:
    pos_embed = embedding(old, prefix, "float64")
    ours = resample_pos_embed(pos_embed, old, new, prefix, method)
    np.testing.assert_allclose(
        ours[:, prefix:], pytorch(pos_embed[:, prefix:], old, new, method), rtol=0, atol=1e-12
    )


@given(old=GRIDS, new=GRIDS, prefix=st.integers(0, 6))
@settings(max_examples=100, deadline=None)
def test_antialias_equals_timm_in_float32(old: Grid, new: Grid, prefix: int) -> None:
    pos_embed = embedding(old, prefix) * np.float32(0.05)
    timm = timm_layers().resample_abs_pos_embed(torch.from_numpy(pos_embed), new, old, prefix)
    ours = resample_pos_embed(pos_embed, old, new, prefix, "antialias")
    assert ours.dtype == np.float32
    assert_close_in_float32(ours, timm.numpy())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("old", "new"),
    [((14, 14), (24, 24)), ((24, 24), (14, 14)), ((14, 14), (12, 20)), ((7, 9), (16, 5))],
)
def test_equals_pytorch_in_float32(method: Resampling, old: Grid, new: Grid) -> None:
    pos_embed = embedding(old, 2) * np.float32(0.05)
    ours = resample_pos_embed(pos_embed, old, new, 2, method)
    assert_close_in_float32(ours[:, 2:], pytorch(pos_embed[:, 2:], old, new, method))


@pytest.mark.parametrize(("old", "new"), [((14, 14), (9, 9)), ((6, 6), (11, 11))])
def test_the_two_methods_differ_by_far_more_than_rounding(old: Grid, new: Grid) -> None:
    pos_embed = embedding(old, 1)
    antialias, bicubic = (resample_pos_embed(pos_embed, old, new, 1, m) for m in METHODS[:2])
    assert np.abs(antialias - bicubic).max() > 0.05


@pytest.mark.parametrize("method", METHODS)
def test_rows_stay_rows_and_columns_stay_columns(method: Resampling) -> None:
    """A pattern that changes along the height only still does so on a grid of other proportions."""
    old, new = (6, 4), (9, 5)
    heights = np.arange(1.0, 7.0) ** 2
    patches = np.broadcast_to(heights[:, None, None], (*old, CHANNELS)).reshape(1, -1, CHANNELS)
    picture = resample_pos_embed(patches, old, new, 0, method).reshape(*new, CHANNELS)
    np.testing.assert_allclose(picture, picture[:, :1, :1] + np.zeros_like(picture), atol=1e-12)
    assert (np.diff(picture[:, 0, 0]) > 0).all()
    transposed = resample_pos_embed(patches, old[::-1], new[::-1], 0, method)
    assert np.abs(transposed.reshape(*new, CHANNELS) - picture).max() > 1


@pytest.mark.parametrize("method", METHODS)
@given(old=GRIDS, new=GRIDS)
@settings(max_examples=50, deadline=None)
def test_a_constant_stays_that_constant(method: Resampling, old: Grid, new: Grid) -> None:
    pos_embed = np.full((1, old[0] * old[1], CHANNELS), 0.75)
    np.testing.assert_allclose(resample_pos_embed(pos_embed, old, new, 0, method), 0.75, rtol=1e-12)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_prefix_tokens_and_dtype_are_kept(method: Resampling, dtype: str) -> None:
    pos_embed = embedding((4, 3), 5, dtype)
    pos_embed[0, 1, 2] = np.nan  # must neither change nor spread
    ours = resample_pos_embed(pos_embed, (4, 3), (5, 7), 5, method)
    assert ours.dtype == pos_embed.dtype
    assert ours.shape == (1, 5 + 35, CHANNELS)
    assert ours[:, :5].tobytes() == pos_embed[:, :5].tobytes()
    assert np.isfinite(ours[:, 5:]).all()


@pytest.mark.parametrize("method", METHODS)
def test_the_same_grid_gives_the_same_array(method: Resampling) -> None:
    pos_embed = embedding((4, 3), 1)
    assert resample_pos_embed(pos_embed, (4, 3), (4, 3), 1, method) is pos_embed


def test_as_many_tokens_in_another_shape_are_resampled() -> None:
    pos_embed = embedding((4, 6), 1)
    ours = resample_pos_embed(pos_embed, (4, 6), (6, 4), 1)
    assert ours.shape == pos_embed.shape
    assert np.abs(ours - pos_embed).max() > 0.05


@pytest.mark.parametrize(
    ("shape", "old", "new", "prefix", "expected"),
    [
        ((1, 17, 5), (4, 4), (8, 8), 0, "shape (1, 16, channels)"),
        ((1, 16, 5), (4, 4), (8, 8), 1, "shape (1, 17, channels)"),
        ((2, 16, 5), (4, 4), (8, 8), 0, "shape (1, 16, channels)"),
        ((16, 5), (4, 4), (8, 8), 0, "shape (1, 16, channels)"),
        ((1, 16, 5), (4, 4), (0, 8), 0, "at least one patch"),
        ((1, 16, 5), (4, -4), (8, 8), 0, "at least one patch"),
        ((1, 15, 5), (4, 4), (8, 8), -1, "no negative number"),
    ],
)
def test_impossible_grids_are_refused(
    shape: tuple[int, ...], old: Grid, new: Grid, prefix: int, expected: str
) -> None:
    with pytest.raises(UsageError) as error:
        resample_pos_embed(np.zeros(shape, np.float32), old, new, prefix)
    assert expected in error.value.expected


def test_integers_and_unknown_methods_are_refused() -> None:
    with pytest.raises(UsageError, match="int64 cannot be interpolated"):
        resample_pos_embed(np.zeros((1, 4, 5), np.int64), (2, 2), (3, 3), 0)
    with pytest.raises(UsageError, match=r"unknown way.*'nearest'"):
        resample_pos_embed(
            np.zeros((1, 4, 5)),
            (2, 2),
            (3, 3),
            0,
            "nearest",  # type: ignore[arg-type]  # what a caller without a type checker may pass
        )
