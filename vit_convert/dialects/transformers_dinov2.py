"""Hugging Face transformers' DINOv2, with registers too.

https://github.com/huggingface/transformers, models/dinov2 and models/dinov2_with_registers. The
giant's SwiGLU is packed in files (`weights_in`), and in two parts in transformers 5's memory.
"""

from __future__ import annotations

from vit_convert.architectures.base import IMAGENET_MEAN, IMAGENET_STD, Fact, Rival
from vit_convert.dialects.beside_the_tower import DECODER
from vit_convert.dialects.rules import Dialect, defaults, joining, published, renamed
from vit_convert.dialects.transformers_vit import (
    MASK_TOKEN,
    NEW_OUTPUT,
    NEW_QKV,
    OLD_LAYER,
    OLD_OUTPUT,
    OLD_QKV,
    qkv_rule,
)
from vit_convert.dialects.transforms import joined

_LAYER = OLD_LAYER  # of all versions
_PLAIN, _SWIGLU = ("mlp", "plain"), ("mlp", "swiglu-packed")


# the backbone of transformers' RF-DETR has the same names, and blocks that attend inside windows
_GLOBAL = Fact(
    "global",
    "assumed",
    "as in DINOv2",
    rivals=(Rival("<attention in windows>", ("transformers' RF-DETR backbone",)),),
)

# BitImageProcessor crops nothing by default
_CROP = Fact(224 / 256, "assumed", "as beside facebook/dinov2-base")


def _dinov2(new: bool, registers: bool) -> Dialect:
    parts = NEW_QKV if new else OLD_QKV
    body = "dinov2_with_registers." if registers else "dinov2."
    name = "transformers-dinov2-registers" if registers else "transformers-dinov2"
    what = "DINOv2 with registers" if registers else "DINOv2"
    fc1, fc2 = "blocks.{i}.mlp.fc1.{leaf}", "blocks.{i}.mlp.fc2.{leaf}"
    marker = f"{_LAYER}.{parts[0]}.weight".replace("{i}", "0")
    extra = [renamed("{body}embeddings.register_tokens", "reg_token")] if registers else []
    if new:
        gate = (f"{_LAYER}.mlp.gate_proj.{{leaf}}", f"{_LAYER}.mlp.up_proj.{{leaf}}")
        swiglu = (
            joining(gate, fc1, joined(2), when=_SWIGLU),
            renamed(f"{_LAYER}.mlp.down_proj.{{leaf}}", fc2, when=_SWIGLU),
        )
    else:
        swiglu = (
            renamed(f"{_LAYER}.mlp.weights_in.{{leaf}}", fc1, when=_SWIGLU),
            renamed(f"{_LAYER}.mlp.weights_out.{{leaf}}", fc2, when=_SWIGLU),
        )
    return Dialect(
        name=f"{name}-5" if new else name,
        architecture="vit",
        title=f"transformers' {what}{', names of transformers 5 in memory' if new else ''}",
        marker="{body}embeddings.register_tokens" if registers else marker,
        bodies=(body, ""),
        rules=(
            renamed("{body}embeddings.cls_token", "cls_token"),
            renamed("{body}embeddings.position_embeddings", "pos_embed"),
            renamed(
                "{body}embeddings.patch_embeddings.projection.{leaf}", "patch_embed.proj.{leaf}"
            ),
            *extra,
            renamed(f"{_LAYER}.norm1.{{leaf}}", "blocks.{i}.norm1.{leaf}"),
            qkv_rule(_LAYER, parts),
            renamed(
                f"{_LAYER}.{NEW_OUTPUT if new else OLD_OUTPUT}.{{leaf}}",
                "blocks.{i}.attn.proj.{leaf}",
            ),
            renamed(f"{_LAYER}.layer_scale1.lambda1", "blocks.{i}.ls1.gamma"),
            renamed(f"{_LAYER}.norm2.{{leaf}}", "blocks.{i}.norm2.{leaf}"),
            *swiglu,
            renamed(f"{_LAYER}.mlp.fc1.{{leaf}}", fc1, when=_PLAIN),
            renamed(f"{_LAYER}.mlp.fc2.{{leaf}}", fc2, when=_PLAIN),
            renamed(f"{_LAYER}.layer_scale2.lambda1", "blocks.{i}.ls2.gamma"),
            renamed("{body}layernorm.{leaf}", "norm.{leaf}"),
            renamed("classifier.{leaf}", "head.{leaf}"),
        ),
        ignored=(MASK_TOKEN, *DECODER),
        facts={
            **published(
                f"transformers' {what}",
                norm_position="pre",
                pool="token",
                position="class",
                pos_embed="bicubic",
            ),
            **defaults(
                f"transformers' {what}",
                gelu="erf",
                norm_eps=1e-6,
                mean=IMAGENET_MEAN,
                std=IMAGENET_STD,
                interpolation="bicubic",
            ),
            "crop_pct": _CROP,
            **({"attention": _GLOBAL} if new else {}),
        },
        library="transformers",
        sidecar=True,
    )


TRANSFORMERS_DINOV2 = _dinov2(new=False, registers=False)
TRANSFORMERS_DINOV2_5 = _dinov2(new=True, registers=False)
TRANSFORMERS_DINOV2_REGISTERS = _dinov2(new=False, registers=True)
TRANSFORMERS_DINOV2_REGISTERS_5 = _dinov2(new=True, registers=True)
