"""Hugging Face transformers' DINOv3: `DINOv3ViTModel`.

https://github.com/huggingface/transformers, models/dinov3_vit. The larger models' MLP is SwiGLU,
whose value has the name of the others' first layer. In transformers 5's memory the layers stand
inside `model`.
"""

from __future__ import annotations

from vit_convert.architectures.base import IMAGENET_MEAN, IMAGENET_STD
from vit_convert.architectures.vit.rotary import PUBLISHED_BASES
from vit_convert.dialects.attention_transforms import BIAS_WITHOUT_KEYS
from vit_convert.dialects.rules import Dialect, Ignore, defaults, joining, published, renamed
from vit_convert.dialects.transforms import joined

_LAYER = "{body}layer.{i}"


def _dinov3(gated: bool) -> Dialect:
    qkv = [f"{_LAYER}.attention.{part}_proj" for part in "qkv"]
    block = "blocks.{i}"
    if gated:
        up = {"gate_proj": "fc1_g", "up_proj": "fc1_x", "down_proj": "fc2"}
    else:
        up = {"up_proj": "fc1", "down_proj": "fc2"}
    return Dialect(
        name="transformers-dinov3-gated" if gated else "transformers-dinov3",
        architecture="vit",
        title=f"transformers' DINOv3{', with SwiGLU' if gated else ''}",
        marker=_LAYER.replace("{i}", "0")
        + (".mlp.gate_proj" if gated else ".mlp.up_proj")
        + ".weight",
        bodies=("", "model."),
        rules=(
            renamed("embeddings.cls_token", "cls_token"),
            renamed("embeddings.register_tokens", "reg_token"),
            renamed("embeddings.patch_embeddings.{leaf}", "patch_embed.proj.{leaf}"),
            renamed(f"{_LAYER}.norm1.{{leaf}}", f"{block}.norm1.{{leaf}}"),
            joining([f"{part}.weight" for part in qkv], f"{block}.attn.qkv.weight", joined(3)),
            joining(
                [f"{qkv[0]}.bias", f"{qkv[2]}.bias"], f"{block}.attn.qkv.bias", BIAS_WITHOUT_KEYS
            ),
            renamed(f"{_LAYER}.attention.o_proj.{{leaf}}", f"{block}.attn.proj.{{leaf}}"),
            renamed(f"{_LAYER}.layer_scale1.lambda1", f"{block}.ls1.gamma"),
            renamed(f"{_LAYER}.norm2.{{leaf}}", f"{block}.norm2.{{leaf}}"),
            *(
                renamed(f"{_LAYER}.mlp.{source}.{{leaf}}", f"{block}.mlp.{target}.{{leaf}}")
                for source, target in up.items()
            ),
            renamed(f"{_LAYER}.layer_scale2.lambda1", f"{block}.ls2.gamma"),
            renamed("norm.{leaf}", "norm.{leaf}"),
        ),
        ignored=(
            Ignore("embeddings.mask_token", "stands for masked patches in pre-training only"),
        ),
        refused=(Ignore(f"{qkv[1]}.bias", "a bias of the keys (key_bias), which no DINOv3 has"),),
        facts={
            **published(
                "transformers' DINOv3",
                norm_position="pre",
                pool="token",
                rotary="dinov3",
            ),
            **(published if gated else defaults)("transformers' DINOv3", gelu="erf"),
            **defaults(
                "transformers' DINOv3",
                norm_eps=1e-5,
                rotary_base=PUBLISHED_BASES["dinov3"],
                mean=IMAGENET_MEAN,
                std=IMAGENET_STD,
                interpolation="bilinear",
                crop_pct=1.0,
                crop_mode="squash",
            ),
        },
        library="transformers",
        sidecar=True,
        rotary=("dinov3",),
    )


TRANSFORMERS_DINOV3 = _dinov3(gated=False)
TRANSFORMERS_DINOV3_GATED = _dinov3(gated=True)
