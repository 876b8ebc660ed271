"""What no tensor tells of how a Vision Transformer pools its tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vit_convert.architectures.base import Fact, Overrides
from vit_convert.architectures.facts import Facts
from vit_convert.errors import UsageError

# of all Perception Encoders: facebookresearch/perception_models, core/vision_encoder/config.py
_PE_POOL_HEADS = 8


def settle_pool(facts: Facts, read: Mapping[str, Any], overrides: Overrides) -> None:
    """Settle the kind of pooling.

    Raises:
        UsageError: the stated kind is not that of the tensors.
    """
    stated = facts.candidates.models[0] if facts.candidates.stated else None
    given = overrides.fact("pool")
    usual = "token" if read["class_token"] and not read["fc_norm"] else "avg"
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


def settle_pooled_tokens(facts: Facts, overrides: Overrides) -> None:
    """Settle the heads of attention pooling, and whether pooling takes the class and register
    tokens; what is rotated is settled.

    Raises:
        UsageError: the heads do not divide the width.
    """
    is_pe = facts.value("rotary") == "pe" and facts.value("pool") == "map"
    width, heads = facts.value("embed_dim"), facts.value("num_heads")
    has_usual = is_pe and width % _PE_POOL_HEADS == 0 and heads != _PE_POOL_HEADS
    why = "as all Perception Encoders have it" if is_pe else "as most models have it"
    own = facts.settle("pool_heads", _PE_POOL_HEADS if has_usual else None, why)
    if own is not None and (own <= 0 or width % own):
        raise UsageError(
            f"{own} heads of attention pooling do not divide the width",
            where=f"--pool-heads {own}",
            expected=f"a divisor of {width}",
        )
    if own == heads:
        facts.change("pool_heads", None)
    facts.settle("pool_prefix", is_pe, why)
