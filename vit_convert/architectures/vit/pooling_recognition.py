"""What no tensor tells of how a Vision Transformer pools its tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vit_convert.architectures.base import Fact, Overrides, Recognition
from vit_convert.architectures.parameters import Shape
from vit_convert.architectures.recognition import shape_of
from vit_convert.architectures.vit.config import ViTConfig
from vit_convert.errors import UsageError

# of all Perception Encoders: facebookresearch/perception_models, core/vision_encoder/config.py
_PE_POOL_HEADS = 8


def read_attention_pool(shapes: Mapping[str, Shape]) -> dict[str, Any]:
    """The width of the MLP of attention pooling, where it differs from that of the blocks."""
    name = "attn_pool.mlp.fc2.weight"
    if name not in shapes or shapes[name] == shapes.get("blocks.0.mlp.fc2.weight"):
        return {"pool_mlp_dim": None}
    return {"pool_mlp_dim": shape_of(shapes, name, 2)[1]}


def with_pooling(found: Recognition, overrides: Overrides) -> Recognition:
    """The recognised model with the heads of attention pooling, and whether pooling takes the
    class and register tokens; facts only of what the model has.

    Raises:
        UsageError: the heads do not divide the width.
    """
    config = found.config
    assert isinstance(config, ViTConfig)
    facts: dict[str, Fact] = {}
    if config.pool == "map":
        facts["pool_heads"] = overrides.fact("pool_heads") or _pool_heads(config)
        heads = facts["pool_heads"].value
        if heads <= 0 or config.embed_dim % heads:
            raise UsageError(
                f"{heads} heads of attention pooling do not divide the width",
                where=f"--pool-heads {heads}",
                expected=f"a divisor of {config.embed_dim}",
            )
        config = replace(config, pool_heads=None if heads == config.num_heads else heads)
    if config.pool != "token" and config.num_prefix_tokens:
        facts["pool_prefix"] = overrides.fact("pool_prefix") or _pool_prefix(config)
        config = replace(config, pool_prefix=facts["pool_prefix"].value)
    return replace(found, config=config, facts={**found.facts, **facts})


def _pool_heads(config: ViTConfig) -> Fact:
    if config.rotary == "pe" and config.embed_dim % _PE_POOL_HEADS == 0:
        return Fact(_PE_POOL_HEADS, "assumed", "as all Perception Encoders have")
    return Fact(config.num_heads, "assumed", "as the blocks have")


def _pool_prefix(config: ViTConfig) -> Fact:
    if config.rotary == "pe" and config.pool == "map":
        return Fact(True, "assumed", "as the Perception Encoder's attention pooling does")
    return Fact(False, "assumed", "as most models leave the class and register tokens out")
