"""Vision Transformer (Dosovitskiy et al. 2020, arXiv:2010.11929) and DeiT (Touvron et al. 2020,
arXiv:2012.12877), with the module tree of timm's VisionTransformer and VisionTransformerDistilled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vit_convert.architectures.base import (
    NormKind,
    NormPosition,
    Position,
    Rotary,
    TransformerConfig,
)
from vit_convert.architectures.vit.rotary import PUBLISHED_GRID


@dataclass(frozen=True, kw_only=True)
class ViTConfig(TransformerConfig):
    """A Vision Transformer, with what its descendants added to it.

    Tokens stand in the order class, distillation, registers, patches.

    Attributes:
        class_token: whether there is one.
        distilled: DeiT's distillation token and its own head; logits are the mean of both heads.
        reg_tokens: register tokens (Darcet et al. 2023, arXiv:2309.16588), timm's `reg_token`.
        position: which tokens `pos_embed` covers: "all"; "class" (class token and patches, no
            registers: Hugging Face's DINOv2); "patches" (timm's `no_embed_class`); "none" (there is
            no `pos_embed`: BEiT).
        rel_pos: relative position bias (BEiT, arXiv:2106.08254), added to the attention scores:
            "none", "blocks" (a table per block) or "shared" (one table for all blocks).
        rotary: rotary position embedding of q and k, "eva02", "dinov3", "axial", "mixed" or "pe";
            see `vit_convert.architectures.vit.rotary`. Only "mixed" has parameters.
        rotary_base: of its frequencies; "mixed" has learned ones instead.
        rotary_grid: the grid of pre-training, in whose patches "eva02" and "pe" count.
        norm: what all norms are: "layer" (LayerNorm, arXiv:1607.06450), or "rms" (RMSNorm,
            arXiv:1910.07467: x / sqrt(mean(x^2) + eps) * weight; AIMv2).
        norm_bias: whether the norms have a bias; an RMSNorm has none.
        patch_bias: whether the patch embedding has a bias (CLIP's has none).
        patch_norm: a norm over each patch's token, before positions are added (AIMv2).
        pre_norm: a norm over all tokens before the first block (CLIP, timm's `norm_pre`).
        norm_position: where a block's norms stand: "pre", x + f(norm(x)); "post",
            norm(x + f(x)), as torch.nn.TransformerEncoderLayer by default; "res-post",
            x + norm(f(x)), as timm's ResPostBlock.
        parallel: attentions, and then MLPs, side by side in a block (Touvron et al. 2022,
            arXiv:2203.09795, timm's ParallelThingsBlock); 1 for ordinary blocks.
        qk_norm: a norm over the channels of each head of q and k.
        attn_norm: a norm over what attention gives, before its projection (BEiT-3, EVA-02).
        proj_bias: whether the projection of what attention gives has a bias (AIMv2's has none).
        mlp: "plain"; "swiglu" (silu(fc1_g x) * fc1_x x: EVA-02); "swiglu-packed" (the same with
            gate and value as the halves of fc1: DINOv2 giant). arXiv:2002.05202
        mlp_bias: whether the layers of the MLP have a bias (AIMv2's have none).
        mlp_norm: a norm over the hidden channels, before fc2 (EVA-02).
        layer_scale: a learned factor per channel after each residual branch (CaiT's LayerScale).
        mlp_layer_scale: whether the MLPs' branches have one, too, where attention's have
            (Sapiens2's have none, arXiv:2604.21681).
        final_norm: a norm over all tokens after the last block.
        fc_norm: a norm after pooling.
        pool_prefix: pooling other than "token" takes the class and register tokens too.
        pool_heads: heads of attention pooling, where they are not num_heads (Perception Encoder).
        pool_mlp_dim: hidden width of the MLP of attention pooling, where it is not mlp_dim.
        head_bias: whether the head has a bias (CLIP's projection has none).
        projection: width of a linear layer without bias between pooling and head, 0 for none:
            CLIP's projection, in a classifier whose classes are words.
        unit_features: whether what the head reads is divided by its length, so that its logits are
            scaled cosine similarities (CLIP, SigLIP).

    `mlp_dim` is the width that fc2 takes, for SwiGLU as well.
    """

    class_token: bool = True
    distilled: bool = False
    reg_tokens: int = 0
    position: Position = "all"
    rel_pos: Literal["none", "blocks", "shared"] = "none"
    rotary: Rotary = "none"
    rotary_base: float = 100.0
    rotary_grid: tuple[int, int] = PUBLISHED_GRID
    norm: NormKind = "layer"
    norm_bias: bool = True
    patch_bias: bool = True
    patch_norm: bool = False
    pre_norm: bool = False
    norm_position: NormPosition = "pre"
    parallel: int = 1
    qk_norm: bool = False
    attn_norm: bool = False
    proj_bias: bool = True
    mlp: Literal["plain", "swiglu", "swiglu-packed"] = "plain"
    mlp_bias: bool = True
    mlp_norm: bool = False
    layer_scale: bool = False
    mlp_layer_scale: bool = True
    final_norm: bool = True
    fc_norm: bool = False
    pool_prefix: bool = False
    pool_heads: int | None = None
    pool_mlp_dim: int | None = None
    head_bias: bool = True
    projection: int = 0
    unit_features: bool = False

    @property
    def features_dim(self) -> int:
        """See TransformerConfig."""
        return self.projection or super().features_dim

    @property
    def num_prefix_tokens(self) -> int:
        """Tokens before the patches: class and distillation token, registers."""
        return int(self.class_token) + int(self.distilled) + self.reg_tokens

    @property
    def num_positioned_prefix_tokens(self) -> int:
        """See TransformerConfig."""
        covered = {
            "all": self.num_prefix_tokens,
            "class": self.num_prefix_tokens - self.reg_tokens,
            "patches": 0,
            "none": 0,
        }
        return covered[self.position]

    @property
    def num_tokens(self) -> int:
        """Tokens that the blocks see."""
        return self.num_prefix_tokens + self.num_patches
