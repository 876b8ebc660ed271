"""The kind of rotary position embedding of a Vision Transformer, which leaves no tensors.

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
from vit_convert.errors import RecognitionError

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
        RecognitionError: it looks like a kind of rotary embedding that is not supported, or there
            are no positions of any kind.
        UsageError: the stated image size is no multiple of the patch size, or the stated variant is
            another.
    """
    exact, family, _ = matching_variants(variants, read, overrides, hint)
    alike = exact or family
    kind = overrides.fact("rotary") or _kind(read, alike, hint)
    facts = {"rotary": kind}
    if kind.value != "none":
        alike = [v for v in alike if _kind_of(v) == kind.value]
        usual = PUBLISHED_BASES[kind.value]
        facts["rotary_base"] = _number("rotary_base", usual, alike, overrides)
        if kind.value == "eva02":
            facts["rotary_grid"] = _number("rotary_grid", PUBLISHED_GRID, alike, overrides)
    if "image_size" not in read:
        facts["image_size"] = _image_size(read["patch_size"], alike, overrides)
    return facts


def _kind(read: Mapping[str, Any], alike: Sequence[Variant], hint: str) -> Fact:
    """By published models, or by signs."""
    kinds = {_kind_of(v) for v in alike}
    if kinds and "none" not in kinds:
        return Fact(_kind_of(alike[0]), "published", f"as published for {alike[0].name}")
    if read["pre_norm"] and (
        read["pool"] == "map" or read["layer_scale"] or not read["final_norm"]
    ):
        raise _unsupported("the Perception Encoder")
    if "rope" in hint.lower():
        raise _unsupported("a ViT with rotary position embedding, by the file's name")
    if (read["position"], read["rel_pos"]) == ("none", "none"):
        if not (read["class_token"] and read["reg_tokens"] and read["layer_scale"]):
            raise RecognitionError(
                "there are no positions: neither a position embedding nor a relative position "
                "bias; rotary position embedding has no tensors, and this is none that is known",
                expected="pos_embed, relative_position_bias_table, or DINOv3 or EVA-02",
                hint="--rotary dinov3 or eva02, if it is one of these",
            )
        return Fact("dinov3", "assumed", "registers, LayerScale and no positions, as DINOv3 has")
    # LayerScale tells DINOv2 giant
    if read["mlp"] != "plain" and read["rel_pos"] == "none" and not read["layer_scale"]:
        return Fact("eva02", "assumed", "SwiGLU without LayerScale, as EVA-02 has")
    return Fact("none", "published", "there are other positions, and no sign of it")


def _kind_of(variant: Variant) -> Rotary:
    assert isinstance(variant.config, ViTConfig)
    return variant.config.rotary


def _unsupported(what: str) -> RecognitionError:
    return RecognitionError(
        f"this looks like {what}: that kind of rotary position embedding is not supported",
        expected="EVA-02 or DINOv3, learned positions, or a relative position bias",
        hint="--rotary none, if the model has no rotary embedding",
    )


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
    """Any size fits; what a file beside the checkpoint says is cut to whole patches, as patch
    embeddings cut it."""
    if overrides.image_size:
        check_image_size(overrides.image_size, patch_size)
        return Fact(overrides.image_size, "given", "your option")
    stated = overrides.stated.get("image_size")
    if stated is None and alike and alike[0].config.patch_size == patch_size:
        return Fact(alike[0].config.image_size, "published", f"as timm's {alike[0].name}")
    why = "no tensor tells it"
    wanted = stated.value if stated else (_USUAL_SIZE, _USUAL_SIZE)
    size = tuple(max(side // p, 1) * p for side, p in zip(wanted, patch_size, strict=True))
    return Fact(size, stated.provenance if stated else "assumed", stated.why if stated else why)
