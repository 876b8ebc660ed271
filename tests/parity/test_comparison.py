"""What passes, what never passes, and which block is named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vit_convert.architectures import CaiTConfig, ModelSpec, ViTConfig
from vit_convert.exporters.artifact import Artifact
from vit_convert.exporters.options import ExportOptions
from vit_convert.parity.compare import (
    compare,
    default_tolerance,
    first_difference,
    tolerance_for_softmax,
)
from vit_convert.parity.references import comparable

REFERENCE = np.array([[1.0, -8.0, 3.0], [2.0, 2.5, 0.0]], np.float32)


def test_differences_are_relative_to_the_largest_value_of_the_reference() -> None:
    got = REFERENCE.copy()
    got[0, 0] += 0.5
    result = compare(REFERENCE, got, 0.1)
    assert (result.max_abs, result.relative, result.mean_abs) == (0.5, 0.5 / 8, 0.5 / 6)
    assert result.top1_agreement == 100
    assert result.passed


def test_it_passes_up_to_the_tolerance_and_not_above() -> None:
    got = REFERENCE + np.float32(0.5)
    assert compare(REFERENCE, got, 0.5 / 8).passed
    assert not compare(REFERENCE, got, 0.5 / 8 - 1e-9).passed


def test_top1_agreement_is_in_percent_of_the_images() -> None:
    got = REFERENCE.copy()
    got[1, 0] = 2.6
    assert compare(REFERENCE, got, 1).top1_agreement == 50


def test_equal_arrays_have_no_difference() -> None:
    result = compare(REFERENCE, REFERENCE.copy(), 0)
    assert (result.max_abs, result.relative, result.passed) == (0, 0, True)


def test_anything_differs_from_zeros() -> None:
    zeros = np.zeros((1, 3), np.float32)
    assert compare(zeros, zeros, 1e-5).passed
    result = compare(zeros, zeros + np.float32(1e-9), 1e-5)
    assert result.relative == float("inf")
    assert not result.passed


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("side", ["artifact", "reference", "both"])
def test_values_that_are_not_finite_never_pass(value: float, side: str) -> None:
    broken = REFERENCE.copy()
    broken[1, 1] = value
    reference = REFERENCE if side == "artifact" else broken
    got = REFERENCE if side == "reference" else broken
    result = compare(reference, got, float("inf"))
    assert not result.passed
    assert "NaN or infinity" in result.problem


def test_other_shapes_never_pass() -> None:
    for got in (REFERENCE[:1], REFERENCE[:, :2], REFERENCE.T, REFERENCE[None], REFERENCE[:, 0]):
        result = compare(REFERENCE, got, float("inf"))
        assert not result.passed
        assert result.problem == f"shape {got.shape} instead of (2, 3)"


def test_nothing_is_not_equal_to_nothing() -> None:
    assert not compare(REFERENCE[:0], REFERENCE[:0], 1).passed


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-5), ("float16", 5e-3)])
def test_the_default_tolerance_is_that_of_the_precision(precision, tolerance) -> None:
    config = ViTConfig(image_size=(32, 32), patch_size=(8, 8))
    artifact = Artifact(
        Path("x"),
        "tflite",
        ModelSpec("vit", config),
        ExportOptions(precision=precision),
        "normalised",
        run=lambda images: {},
    )
    assert default_tolerance(artifact) == tolerance
    assert default_tolerance(replace(artifact, kind="keras")) == tolerance


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("scale", [0.01, 1, 30])
@pytest.mark.parametrize("classes", [2, 1000])
def test_logits_within_the_tolerance_have_probabilities_within_theirs(scale, classes) -> None:
    rng = np.random.default_rng(0)
    logits = scale * rng.standard_normal((50, classes))
    off = 1e-5 * np.abs(logits).max() * rng.choice([-1, 1], logits.shape)
    probabilities, got = softmax(logits), softmax(logits + off)
    assert compare(probabilities, got, tolerance_for_softmax(1e-5, logits)).passed


def tokens(*means: float) -> dict[str, np.ndarray]:
    """Blocks 0, 1, ... of tokens (2, 5, 3) with these means over the channels."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((2, 5, 3))
    noise -= noise.mean(axis=-1, keepdims=True)
    return {f"blocks.{i}": (i + 1) * noise + mean for i, mean in enumerate(means)}


def test_equal_blocks_have_no_first_difference() -> None:
    assert first_difference(tokens(1, 2, 3), tokens(1, 2, 3), 1e-5) is None


def test_the_first_block_that_differs_is_named_with_its_numbers() -> None:
    reference, got = tokens(1, 2, 3), tokens(1, 2, 3)
    largest = np.abs(reference["blocks.1"]).max()
    got["blocks.1"][0, 0, 0] += 0.01 * largest
    got["blocks.2"] += 1
    found = first_difference(reference, got, 1e-5)
    assert found is not None
    assert found.name == "blocks.1"
    assert found.relative == pytest.approx(0.01)
    assert found.max_abs == pytest.approx(0.01 * largest)
    assert str(found) == "blocks.1 (relative difference 1.0e-02, 2.5e-06 allowed)"


def test_a_block_is_named_before_its_error_has_grown_to_the_tolerance() -> None:
    reference, got = tokens(1, 2, 3), tokens(1, 2, 3)
    got["blocks.0"][0, 0, 0] += 4e-6 * np.abs(reference["blocks.0"]).max()
    got["blocks.1"][0, 0, 0] += 3e-5 * np.abs(reference["blocks.1"]).max()
    found = first_difference(reference, got, 1e-5)
    assert found is not None
    assert found.name == "blocks.0"


def test_float_noise_in_blocks_is_no_difference() -> None:
    reference = tokens(1, 2, 3)
    got = {k: v + 1e-6 * np.abs(v).max() for k, v in reference.items()}
    assert first_difference(reference, got, 1e-5) is None


def spec_of(name: str, config_class: Any, **options: Any) -> ModelSpec:
    return ModelSpec(name, config_class(image_size=(24, 50), patch_size=(8, 10), **options))


def test_blocks_are_compared_in_the_order_of_computation_whatever_the_order_given() -> None:
    names = ["blocks_token_only.0", "blocks.10", "unknown.0", "blocks.9", "embeddings"]
    recorded = {name: np.arange(6.0).reshape(1, 2, 3) for name in names}
    got = {name: -block for name, block in recorded.items()}
    reference = comparable(recorded, got, spec_of("cait", CaiTConfig, depth=12))
    order = []
    while (found := first_difference(reference, got, 1e-5)) is not None:
        order.append(found.name)
        got[found.name] = reference[found.name]
    assert order == ["embeddings", "blocks.9", "blocks.10", "blocks_token_only.0", "unknown.0"]


@pytest.mark.parametrize(("options", "read"), [({}, 1), ({"distilled": True}, 2)])
def test_tokens_of_the_last_block_that_nothing_reads_may_be_missing(
    options: dict[str, Any], read: int
) -> None:
    spec, reference = spec_of("vit", ViTConfig, depth=2, **options), tokens(1, 2)
    every, few = dict(reference), dict(reference)
    few["blocks.1"] = few["blocks.1"][:, :read]
    for got in (every, few):
        assert first_difference(comparable(reference, got, spec), got, 1e-5) is None
    few["blocks.1"] = few["blocks.1"] + 0.1
    found = first_difference(comparable(reference, few, spec), few, 1e-5)
    assert found is not None
    assert found.name == "blocks.1"


@pytest.mark.parametrize(
    ("name", "options", "count"),
    [("blocks.1", {}, 2), ("blocks.0", {}, 1), ("blocks.1", {"pool": "avg"}, 1)],
    ids=["more than are read", "not the last block", "all are read"],
)
def test_no_other_tokens_may_be_missing(name: str, options: dict[str, Any], count: int) -> None:
    spec, reference = spec_of("vit", ViTConfig, depth=2, **options), tokens(1, 2)
    got = dict(reference)
    got[name] = got[name][:, :count]
    found = first_difference(comparable(reference, got, spec), got, 1e-5)
    assert str(found) == f"{name} (shape (2, {count}, 3) instead of (2, 5, 3))"


def test_a_block_of_another_shape_or_none_at_all_differs() -> None:
    reference, got = tokens(1, 2), tokens(1, 2)
    got["blocks.1"] = got["blocks.1"][:, 1:]
    found = first_difference(reference, got, 1)
    assert str(found) == "blocks.1 (shape (2, 4, 3) instead of (2, 5, 3))"
    del got["blocks.0"]
    found = first_difference(reference, got, 1)
    assert str(found) == "blocks.0 (the artifact has no such block)"


def test_the_mean_over_channels_that_folding_takes_away_is_no_difference() -> None:
    """Every norm subtracts it; what is not exactly centred is compared as it is."""
    assert first_difference(tokens(1, 2), tokens(0, 0), 1e-5) is None
    found = first_difference(tokens(1, 2), tokens(0, 0.1), 1e-5)
    assert found is not None
    assert found.name == "blocks.1"


def test_centred_blocks_that_differ_otherwise_are_named() -> None:
    got = tokens(0, 0)
    got["blocks.1"][0, 0] += (0.01, -0.01, 0)
    found = first_difference(tokens(1, 2), got, 1e-5)
    assert found is not None
    assert found.name == "blocks.1"
