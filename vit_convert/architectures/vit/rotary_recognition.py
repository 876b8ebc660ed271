"""The kind of rotary position embedding of a Vision Transformer, which leaves no tensors unless its
frequencies are learned.

Published models are known by the rest of their tensors. Where those do not match, what is left are
signs: no positions at all, registers, SwiGLU; what is told by them is an assumption.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vit_convert.architectures.base import Fact, Overrides, Rotary, Variant
from vit_convert.architectures.recognition import check_image_size, matching_variants
from vit_convert.architectures.vit.config import ViTConfig
from vit_convert.architectures.vit.rotary import PUBLISHED_BASES, PUBLISHED_GRID
from vit_convert.errors import UsageError

_USUAL_SIZE = 224  # of a model without positions that no variant and no file tells, in pixels


def rotary_facts(
    read: Mapping[str, Any], variants: Sequence[Variant], overrides: Overrides, hint: str
) -> dict[str, Fact]:
    """The kind of rotary embedding, its numbers, and the image size if no positions tell it.

    Args:
        read: what names and shapes tell.
        variants: the published ones.
        overrides: what the user and the naming scheme state.
        hint: the file's name.

    Raises:
        UsageError: the stated image size is smaller than a patch, the stated variant is another, or
            the stated kind of rotary embedding is not that of the tensors.
    """
    exact, family, _ = matching_variants(variants, read, overrides, hint)
    alike = exact or family
    kind = overrides.fact("rotary") or _kind(read, alike, hint)
    if (kind.value == "mixed") != ("rotary" in read):
        raise UsageError(
            f"the checkpoint's tensors are not those of a model with {kind.value!r}",
            where=f"--rotary {kind.value}",
            expected="mixed where there is rope.freqs, and only there",
        )
    facts = {"rotary": kind}
    alike = [v for v in alike if _kind_of(v) == kind.value]
    if kind.value in PUBLISHED_BASES:
        usual = PUBLISHED_BASES[kind.value]
        facts["rotary_base"] = _number("rotary_base", usual, alike, overrides)
    if kind.value in ("eva02", "pe"):
        grid = _usual_grid(kind.value, read)
        facts["rotary_grid"] = _number("rotary_grid", grid, alike, overrides)
    if "image_size" not in read:
        facts["image_size"] = _image_size(read["patch_size"], alike, overrides)
    return facts


def _kind(read: Mapping[str, Any], alike: Sequence[Variant], hint: str) -> Fact:
    """By learned frequencies, by published models, or by signs."""
    if "rotary" in read:
        return Fact(read["rotary"], "read", "there are learned frequencies, rope.freqs")
    kinds = {_kind_of(v) for v in alike}
    if kinds and "none" not in kinds:
        return Fact(_kind_of(alike[0]), "published", f"as published for {alike[0].name}")
    if read["pre_norm"] and (
        read["pool"] == "map" or read["layer_scale"] or not (read["final_norm"] or read["fc_norm"])
    ):
        why = "a norm before the blocks, as CLIP has, and other options, as the Perception Encoder"
        return Fact("pe", "assumed", why)
    if "rope" in hint.lower():
        return Fact("axial", "assumed", "by the file's name, as naver-ai's rope-vit has it")
    if (read["position"], read["rel_pos"]) == ("none", "none"):
        return _without_positions(read)
    # LayerScale tells DINOv2 giant, RMSNorm AIMv2
    gated = read["mlp"] != "plain" and read["norm_bias"]
    if gated and read["rel_pos"] == "none" and not read["layer_scale"]:
        return Fact("eva02", "assumed", "SwiGLU without LayerScale, as EVA-02 has")
    return Fact("none", "published", "there are other positions, and no sign of it")


def _kind_of(variant: Variant) -> Rotary:
    assert isinstance(variant.config, ViTConfig)
    return variant.config.rotary


def _without_positions(read: Mapping[str, Any]) -> Fact:
    """The kind of a model whose tensors have no positions at all: all kinds look the same."""
    if not read["class_token"]:
        why = "no positions and no class token, as timm's ViTs with EVA-02's rotary embedding"
        return Fact("eva02", "assumed", why)
    if read["reg_tokens"] or not read["qkv_bias"]:
        return Fact("dinov3", "assumed", "no positions, and registers or no biases, as DINOv3 has")
    why = "no positions and no registers, as naver-ai's rope-vit; DINOv3 without registers and a"
    return Fact("axial", "assumed", f"{why} model without any positions look the same")


def _usual_grid(kind: Rotary, read: Mapping[str, Any]) -> tuple[int, int]:
    """EVA-02's models of all sizes count in one grid, the Perception Encoder's in their own."""
    if kind == "eva02" or "image_size" not in read:
        return PUBLISHED_GRID
    high, wide = (n // p for n, p in zip(read["image_size"], read["patch_size"], strict=True))
    return high, wide


def _number(name: str, usual: Any, alike: Sequence[Variant], overrides: Overrides) -> Fact:
    if stated := overrides.fact(name):
        return stated
    if alike:
        value = getattr(alike[0].config, name)
        return Fact(value, "published", f"as published for {alike[0].name}")
    return Fact(usual, "assumed", "as all published models of the kind have it")


def _image_size(
    patch_size: tuple[int, int], alike: Sequence[Variant], overrides: Overrides
) -> Fact:
    """Any size fits."""
    if overrides.image_size:
        check_image_size(overrides.image_size, patch_size)
        return Fact(overrides.image_size, "given", "your option")
    stated = overrides.stated.get("image_size")
    if stated is None and alike and alike[0].config.patch_size == patch_size:
        return Fact(alike[0].config.image_size, "published", f"as timm's {alike[0].name}")
    if stated:
        check_image_size(stated.value, patch_size)
        return stated
    size = tuple(max(_USUAL_SIZE // p, 1) * p for p in patch_size)
    return Fact(size, "assumed", "no tensor tells it")
