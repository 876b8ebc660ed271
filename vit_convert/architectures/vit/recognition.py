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
from vit_convert.architectures.vit.positions import settle_positions
from vit_convert.architectures.vit.published_elsewhere import published_elsewhere
from vit_convert.architectures.vit.relative_position import num_relative_distances
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
    if read["mlp"] != "plain" and overrides.gelu:
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
    _settle_pool(facts, read, overrides)
    settle_positions(facts, positions, overrides)
    settle_rotary(facts, hint)
    if read["mlp"] != "plain":
        usual = Fact("erf", "assumed", "the MLPs are gated by SiLU, as all published are")
        facts.put("gelu", overrides.fact("gelu") or usual)
    if not (read["final_norm"] or read["fc_norm"] or read.get("pool") == "map"):
        why = "no norm after the blocks has parameters; one without any would leave no tensors"
        facts.put("final_norm", Fact(False, "assumed", why))
    found = facts.finish(ViTConfig, Preprocessing(), unused_in_vit)
    _refuse_combinations(found.config)
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


def _settle_pool(facts: Facts, read: Mapping[str, Any], overrides: Overrides) -> None:
    stated = facts.candidates.models[0] if facts.candidates.stated else None
    given, usual = overrides.fact("pool"), _usual_pool(read)
    if given and given.provenance == "given":
        facts.put("pool", given)
    elif stated and any(stated.values[k] != read[k] for k in ("final_norm", "fc_norm")):
        why = f"its norms are not those of {stated.name}, whose pooling was changed"
        if "pool" not in facts:
            facts.put("pool", given or Fact(usual, "assumed", why))
    pool = facts.settle("pool", usual, "other ways of pooling have the same tensors")
    with_token = pool in ("token", "token-avg")
    if (pool == "map") != (read.get("pool") == "map") or (with_token and not read["class_token"]):
        raise UsageError(
            f"the checkpoint's tensors are not those of a model with {pool!r} pooling",
            where=f"--pool {pool}",
            expected='"map" with attn_pool.latent; "token" with a class token',
        )


def _usual_pool(read: Mapping[str, Any]) -> str:
    return "token" if read["class_token"] and not read["fc_norm"] else "avg"


def unused_in_vit(config: ViTConfig) -> frozenset[str]:
    """The fields that change nothing."""
    unused = set()
    if config.rotary == "none":
        unused.add("rotary_base")
    if config.rotary != "eva02":
        unused.add("rotary_grid")
    if config.pool == "token" or not config.num_prefix_tokens:
        unused.add("pool_prefix")
    return frozenset(unused)


def _refuse_combinations(config: TransformerConfig) -> None:
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
        "without any positions there is rotary embedding": (
            (config.rotary, config.position, config.rel_pos) == ("none", "none", "none")
        ),
        "LayerScale goes with pre-norm blocks": (
            config.layer_scale and config.norm_position != "pre"
        ),
        "attention pooling goes with plain MLPs": config.pool == "map" and config.mlp != "plain",
        "a distilled DeiT has no registers and one token per head": (
            config.distilled and (config.reg_tokens > 0 or config.pool != "token")
        ),
    }
    for why, holds in wrong.items():
        if holds:
            raise RecognitionError("the tensors are those of no model that is known", expected=why)
