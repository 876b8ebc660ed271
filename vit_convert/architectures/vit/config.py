"""Vision Transformer (Dosovitskiy et al. 2020, arXiv:2010.11929) and DeiT (Touvron et al. 2020,
arXiv:2012.12877), with the module tree of timm's VisionTransformer and VisionTransformerDistilled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vit_convert.architectures.base import NormPosition, Position, Rotary, TransformerConfig
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
        rotary: rotary position embedding of q and k, "eva02" or "dinov3"; see
            `vit_convert.architectures.vit.rotary`. It has no parameters.
        rotary_base: of its frequencies.
        rotary_grid: the grid of pre-training, in whose patches "eva02" counts.
        patch_bias: whether the patch embedding has a bias (CLIP's has none).
        pre_norm: LayerNorm over all tokens before the first block (CLIP, timm's `norm_pre`).
        norm_position: where a block's norms stand: "pre", x + f(norm(x)); "post",
            norm(x + f(x)), as torch.nn.TransformerEncoderLayer by default; "res-post",
            x + norm(f(x)), as timm's ResPostBlock.
        parallel: attentions, and then MLPs, side by side in a block (Touvron et al. 2022,
            arXiv:2203.09795, timm's ParallelThingsBlock); 1 for ordinary blocks.
        qk_norm: LayerNorm over the channels of each head of q and k.
        attn_norm: LayerNorm over what attention gives, before its projection (BEiT-3, EVA-02).
        mlp: "plain"; "swiglu" (silu(fc1_g x) * fc1_x x: EVA-02); "swiglu-packed" (the same with
            gate and value as the halves of fc1: DINOv2 giant). arXiv:2002.05202
        mlp_norm: LayerNorm over the hidden channels, before fc2 (EVA-02).
        layer_scale: a learned factor per channel after each residual branch (CaiT's LayerScale).
        final_norm: LayerNorm over all tokens after the last block.
        fc_norm: LayerNorm after pooling.
        pool_prefix: pooling other than "token" takes the class and register tokens too.
        head_bias: whether the head has a bias (CLIP's projection has none).

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
    patch_bias: bool = True
    pre_norm: bool = False
    norm_position: NormPosition = "pre"
    parallel: int = 1
    qk_norm: bool = False
    attn_norm: bool = False
    mlp: Literal["plain", "swiglu", "swiglu-packed"] = "plain"
    mlp_norm: bool = False
    layer_scale: bool = False
    final_norm: bool = True
    fc_norm: bool = False
    pool_prefix: bool = False
    head_bias: bool = True

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
