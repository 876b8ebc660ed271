"""The configuration of a Vision Transformer: what its tensors tell, and what published models of
such tensors have."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from vit_convert.architectures.base import (
    Fact,
    Overrides,
    Preprocessing,
    Recognition,
    TransformerConfig,
)
from vit_convert.architectures.candidates import find_candidates
from vit_convert.architectures.facts import Facts
from vit_convert.architectures.parameters import Shape
from vit_convert.architectures.published import PublishedModel, read_published
from vit_convert.architectures.vit.config import ViTConfig
from vit_convert.architectures.vit.pooling_recognition import settle_pool, settle_pooled_tokens
from vit_convert.architectures.vit.positions import settle_positions
from vit_convert.architectures.vit.published_elsewhere import published_elsewhere
from vit_convert.architectures.vit.relative_position import num_relative_distances
from vit_convert.architectures.vit.rotary import PUBLISHED_BASES
from vit_convert.architectures.vit.rotary_recognition import settle_rotary
from vit_convert.architectures.vit.tensors import lengths, read_vit
from vit_convert.errors import RecognitionError, UsageError


@cache
def published_vits() -> tuple[PublishedModel, ...]:
    """timm's Vision Transformers, and a few of others."""
    table = read_published(Path(__file__).with_name("published.json"), ViTConfig)
    return *table, *published_elsewhere(table)


def recognise_vit(shapes: Mapping[str, Shape], overrides: Overrides, hint: str) -> Recognition:
    """See `Architecture.recognise`.

    Raises:
        RecognitionError, UsageError: the tensors are those of a model that is not supported, or
            contradict each other, an option or a file.
    """
    read = read_vit(shapes, overrides)
    if read["mlp"] != "plain" and overrides.gelu and read.get("pool") != "map":
        raise UsageError(
            "the checkpoint's MLPs are gated, and their gate is SiLU here",
            where=f"--gelu {overrides.gelu}",
            expected="no --gelu; gates of another activation are not supported",
        )
    positions = lengths(shapes)

    def same_parts(values: Mapping[str, Any]) -> bool:
        parts = read.get("pool") == "map", bool(positions[0])
        return (values["pool"] == "map", values["position"] != "none") == parts

    def same_size(values: Mapping[str, Any]) -> bool:
        return _lengths_of(values) == positions

    candidates = find_candidates(published_vits(), read, same_parts, same_size, overrides, hint)
    facts = Facts(read, candidates, overrides)
    _settle_norm(facts, read, overrides)
    settle_pool(facts, read, overrides)
    settle_positions(facts, positions, overrides)
    facts.settle_heads()
    settle_rotary(facts, hint)
    settle_pooled_tokens(facts, overrides)
    if read["mlp"] != "plain":
        facts.put("gelu", overrides.fact("gelu") or _beside_gates(read))
        half = (
            "the first half of fc1 is the gate, through" if read["mlp"] != "swiglu" else "gates are"
        )
        facts.conclude("mlp", f"{half} SiLU, as in all published models")
    if not (read["final_norm"] or read["fc_norm"] or read.get("pool") == "map"):
        why = "no norm after the blocks has parameters; one without any would leave no tensors"
        facts.conclude("final_norm", why)
    found = facts.finish(ViTConfig, Preprocessing(), unused_in_vit)
    refuse_combinations(found.config)
    return found


def _lengths_of(values: Mapping[str, Any]) -> tuple[int, int]:
    """As `lengths`, of a published model."""
    config = ViTConfig(**{k: v for k, v in values.items() if k in _SIZES})
    count = config.num_positioned_prefix_tokens + config.num_patches
    return (
        0 if config.position == "none" else count,
        0 if config.rel_pos == "none" else num_relative_distances(config.grid),
    )


_SIZES = (
    "image_size",
    "patch_size",
    "class_token",
    "distilled",
    "reg_tokens",
    "position",
    "rel_pos",
)


def _settle_norm(facts: Facts, read: Mapping[str, Any], overrides: Overrides) -> None:
    """Norms without a bias are RMSNorms in all published models."""
    given = overrides.fact("norm")
    if given and given.value == "rms" and read["norm_bias"]:
        raise UsageError(
            "the checkpoint's norms have a bias, which an RMSNorm has not",
            where="--norm rms",
            expected="layer, or no option",
        )
    facts.settle("norm", "rms", "norms have no bias; a LayerNorm without one looks the same")


def _beside_gates(read: Mapping[str, Any]) -> Fact:
    """The activation of a model whose gated MLPs have SiLU: that of attention pooling's MLP."""
    if read.get("pool") == "map":
        why = "attention pooling has the MLPs' activation in timm's VisionTransformer"
        return Fact("silu", "assumed", why)
    return Fact("erf", "assumed", "the MLPs are gated by SiLU")


def unused_in_vit(config: ViTConfig) -> frozenset[str]:
    """The fields that change nothing."""
    unused = {"gelu"} if config.mlp != "plain" and config.pool != "map" else set()
    if config.rotary not in PUBLISHED_BASES:
        unused.add("rotary_base")
    if config.rotary not in ("eva02", "pe"):
        unused.add("rotary_grid")
    if config.pool != "map":
        unused.add("pool_heads")
    if config.pool == "token" or not config.num_prefix_tokens:
        unused.add("pool_prefix")
    return frozenset(unused)


def refuse_combinations(config: TransformerConfig) -> None:
    """Raises RecognitionError for options that no model has together, so that nothing else has to
    give them a meaning."""
    assert isinstance(config, ViTConfig)
    blocks = config.norm_position, config.rel_pos
    wrong = {
        "parallel blocks are pre-norm, without a relative position bias": (
            config.parallel > 1 and blocks != ("pre", "none")
        ),
        "a relative position bias is for one class token and the patches": (
            config.rel_pos != "none" and (config.num_prefix_tokens, config.class_token) != (1, True)
        ),
        "rotary embedding needs heads of a multiple of 4 channels": (
            config.rotary != "none" and config.head_dim % 4 > 0
        ),
        "rotary embedding goes with neither parallel blocks nor relative positions": (
            config.rotary != "none" and (config.parallel > 1 or config.rel_pos != "none")
        ),
        "LayerScale goes with pre-norm blocks": (
            config.layer_scale and config.norm_position != "pre"
        ),
        "pooling by the class token needs one": (
            config.pool in ("token", "token-avg") and not config.class_token
        ),
        "an RMSNorm has no bias": config.norm == "rms" and config.norm_bias,
        "a distillation token stands beside a class token": (
            config.distilled and not config.class_token
        ),
        "a distilled DeiT has no registers and one token per head": (
            config.distilled and (config.reg_tokens > 0 or config.pool != "token")
        ),
        "a projection, or features of length 1, are what one head reads": (
            config.distilled and (config.projection > 0 or config.unit_features)
        ),
    }
    for why, holds in wrong.items():
        if holds:
            raise RecognitionError("the tensors are those of no model that is known", expected=why)
