"""PyTorch's own nn.TransformerEncoder behind a patch embedding.

PyTorch names the parameters of the encoder; what stands around it is the user's, and is expected
under timm's names: `patch_embed`, `cls_token`, `pos_embed`, `encoder`, `head`. The patch embedding
is a convolution, or a linear layer over the patches that `unfold` cuts out, whose weight is the
convolution's, flattened. Other names: a rule file (docs/dialects.md).

https://pytorch.org/docs/stable/generated/torch.nn.TransformerEncoderLayer.html
"""

from __future__ import annotations

from vit_convert.dialects.rules import Dialect, Rule, defaults, renamed, same
from vit_convert.dialects.transforms import CONVOLUTION, UNFOLDED_PATCHES, Transform

_LAYER = "encoder.layers.{i}"


def _encoder(name: str, title: str, patches: Transform) -> Dialect:
    rules: tuple[Rule, ...] = (
        *same("cls_token", "pos_embed"),
        renamed("patch_embed.weight", "patch_embed.proj.weight", patches),
        renamed("patch_embed.bias", "patch_embed.proj.bias"),
        renamed(f"{_LAYER}.self_attn.in_proj_{{leaf}}", "blocks.{i}.attn.qkv.{leaf}"),
        renamed(f"{_LAYER}.self_attn.out_proj.{{leaf}}", "blocks.{i}.attn.proj.{leaf}"),
        renamed(f"{_LAYER}.linear1.{{leaf}}", "blocks.{i}.mlp.fc1.{leaf}"),
        renamed(f"{_LAYER}.linear2.{{leaf}}", "blocks.{i}.mlp.fc2.{leaf}"),
        renamed(f"{_LAYER}.norm1.{{leaf}}", "blocks.{i}.norm1.{leaf}"),
        renamed(f"{_LAYER}.norm2.{{leaf}}", "blocks.{i}.norm2.{leaf}"),
        renamed("encoder.norm.{leaf}", "norm.{leaf}"),
        *same("head.{leaf}"),
    )
    return Dialect(
        name=name,
        architecture="vit",
        title=title,
        marker="encoder.layers.0.self_attn.in_proj_weight",
        rules=rules,
        facts=defaults(
            "nn.TransformerEncoderLayer", gelu="relu", norm_eps=1e-5, norm_position="post"
        ),
        library="torch",
    )


TORCH_ENCODER = _encoder(
    "torch-encoder", "nn.TransformerEncoder behind a convolution of patches", CONVOLUTION
)
TORCH_ENCODER_UNFOLD = _encoder(
    "torch-encoder-unfold",
    "nn.TransformerEncoder behind a matrix of unfolded patches",
    UNFOLDED_PATCHES,
)
