"""The kind of rotary position embedding of a Vision Transformer, which leaves no tensors unless its
frequencies are learned.

Published models are found by the rest of their tensors. Where those do not match, what is left are
signs: no positions at all, registers, SwiGLU; what is told by them is an assumption too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vit_convert.architectures.base import Rotary
from vit_convert.architectures.facts import Facts
from vit_convert.architectures.vit.config import ViTConfig
from vit_convert.architectures.vit.rotary import PUBLISHED_BASES, PUBLISHED_GRID
from vit_convert.errors import UsageError


def settle_rotary(facts: Facts, hint: str) -> None:
    """Settle the kind of rotary embedding and its numbers.

    Args:
        facts: what tensors tell, positions and pooling are settled.
        hint: the file's name.

    Raises:
        UsageError: the stated kind of rotary embedding is not that of the tensors.
    """
    learned = "rotary" in facts
    by_signs, why = _by_signs(facts, hint)
    stated = facts.overrides.fact("rotary")
    kind: Rotary = stated.value if stated else facts.settle("rotary", by_signs, why)
    if (kind == "mixed") != learned:
        raise UsageError(
            f"the checkpoint's tensors are not those of a model with {kind!r}",
            where=f"--rotary {kind}",
            expected="mixed where there is rope.freqs, and only there",
        )
    facts.settle("rotary", kind)
    as_published = "as all published models of the kind have it"

    def alike(values: Mapping[str, Any]) -> bool:
        return bool(values["rotary"] == kind)

    base = PUBLISHED_BASES.get(kind, ViTConfig.rotary_base)
    facts.settle("rotary_base", base, as_published, alike)
    facts.settle("rotary_grid", _usual_grid(kind, facts), as_published, alike)


def _by_signs(facts: Facts, hint: str) -> tuple[Rotary, str]:
    """The kind, and why, where no published model has these shapes."""
    read = {name: fact.value for name, fact in facts.facts.items()}
    if read["pre_norm"] and (
        read["pool"] == "map" or read["layer_scale"] or not (read["final_norm"] or read["fc_norm"])
    ):
        why = "a norm before the blocks, as CLIP has, and other options, as the Perception Encoder"
        return "pe", why
    if "rope" in hint.lower():
        return "axial", "by the file's name, as naver-ai's rope-vit has it"
    if (read["position"], read["rel_pos"]) == ("none", "none"):
        return _without_positions(read)
    # LayerScale tells DINOv2 giant, RMSNorm AIMv2
    gated = read["mlp"] != "plain" and read["norm_bias"]
    if gated and read["rel_pos"] == "none" and not read["layer_scale"]:
        return "eva02", "SwiGLU without LayerScale, as EVA-02 has"
    return "none", "there are other positions, and no sign of it"


def _without_positions(read: Mapping[str, Any]) -> tuple[Rotary, str]:
    """The kind of a model whose tensors have no positions at all: all kinds look the same."""
    if not read["class_token"]:
        return "eva02", "no positions and no class token, as timm's ViTs with EVA-02's"
    if read["reg_tokens"] or not read["qkv_bias"]:
        return "dinov3", "no positions, and registers or no biases, as DINOv3 has"
    why = "no positions and no registers, as naver-ai's rope-vit; DINOv3 without registers and a"
    return "axial", f"{why} model without any positions look the same"


def _usual_grid(kind: Rotary, facts: Facts) -> tuple[int, int]:
    """EVA-02's models of all sizes count in one grid, the Perception Encoder's in their own."""
    if kind != "pe":
        return PUBLISHED_GRID
    sides = zip(facts.value("image_size"), facts.value("patch_size"), strict=True)
    high, wide = (n // p for n, p in sides)
    return high, wide
