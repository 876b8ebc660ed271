"""The kind of rotary position embedding of a Vision Transformer, which leaves no tensors.

Published models are found by the rest of their tensors. Where those do not match, what is left are
signs: no positions at all, registers, SwiGLU; what is told by them is an assumption too.
"""

from __future__ import annotations

from vit_convert.architectures.base import Rotary
from vit_convert.architectures.facts import Facts
from vit_convert.architectures.vit.config import ViTConfig
from vit_convert.architectures.vit.rotary import PUBLISHED_BASES, PUBLISHED_GRID
from vit_convert.errors import RecognitionError


def settle_rotary(facts: Facts, hint: str) -> None:
    """Settle the kind of rotary embedding and its numbers.

    Args:
        facts: what tensors tell, positions and pooling are settled.
        hint: the file's name.

    Raises:
        RecognitionError: it looks like a kind of rotary embedding that is not supported, or there
            are no positions of any kind.
    """
    kind: Rotary = facts.settle("rotary", lambda: _by_signs(facts, hint), _SIGNS)
    base = PUBLISHED_BASES.get(kind, ViTConfig.rotary_base)
    as_published = "as all published models of the kind have it"
    facts.settle("rotary_base", base, as_published, lambda values: values["rotary"] == kind)
    facts.settle(
        "rotary_grid", PUBLISHED_GRID, as_published, lambda values: values["rotary"] == kind
    )


_SIGNS = "by what other tensors there are, as no published model has these shapes"


def _by_signs(facts: Facts, hint: str) -> Rotary:
    if facts.value("pre_norm") and (
        facts.value("pool") == "map" or facts.value("layer_scale") or not facts.value("final_norm")
    ):
        raise _unsupported("the Perception Encoder")
    if "rope" in hint.lower():
        raise _unsupported("a ViT with rotary position embedding, by the file's name")
    nowhere = (facts.value("position"), facts.value("rel_pos")) == ("none", "none")
    if nowhere:
        if not (
            facts.value("class_token") and facts.value("reg_tokens") and facts.value("layer_scale")
        ):
            raise RecognitionError(
                "there are no positions: neither a position embedding nor a relative position "
                "bias; rotary position embedding has no tensors, and this is none that is known",
                expected="pos_embed, relative_position_bias_table, or DINOv3 or EVA-02",
                hint="--rotary dinov3 or eva02, if it is one of these",
            )
        return "dinov3"  # registers, LayerScale and no positions
    # LayerScale tells DINOv2 giant
    gated = facts.value("mlp") != "plain"
    if gated and facts.value("rel_pos") == "none" and not facts.value("layer_scale"):
        return "eva02"  # SwiGLU without LayerScale
    return "none"


def _unsupported(what: str) -> RecognitionError:
    return RecognitionError(
        f"this looks like {what}: that kind of rotary position embedding is not supported",
        expected="EVA-02 or DINOv3, learned positions, or a relative position bias",
        hint="--rotary none, if the model has no rotary embedding",
    )
