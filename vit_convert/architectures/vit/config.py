"""Vision Transformer (Dosovitskiy et al. 2020, arXiv:2010.11929) and DeiT (Touvron et al. 2020,
arXiv:2012.12877), with the module tree of timm's VisionTransformer and VisionTransformerDistilled.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from vit_convert.architectures.base import NormPosition, Position, TransformerConfig
from vit_convert.architectures.parameters import (
    Parameter,
    convolution,
    linear,
    norm,
    plain,
)
from vit_convert.architectures.vit.relative_position import num_relative_distances
from vit_convert.architectures.vit.rotary import PUBLISHED_GRID, Rotary


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
    def positioned(self) -> Position:
        """`position`, but for folding, which adds the class token's own position to it where the
        registers have none."""
        return "patches" if self.folded and self.position == "class" else self.position

    @property
    def num_positioned_prefix_tokens(self) -> int:
        """Tokens before the patches that `pos_embed` covers; it must exist."""
        if self.positioned == "patches":
            return 0
        return self.num_prefix_tokens - (self.reg_tokens if self.positioned == "class" else 0)

    @property
    def num_tokens(self) -> int:
        """Tokens that the blocks see."""
        return self.num_prefix_tokens + self.num_patches

    @property
    def interleaved(self) -> bool:
        """Whether the pairs that rotary embedding turns are neighbours; folding makes halves of
        them."""
        return self.rotary == "eva02" and not self.folded

    @property
    def centres_stream(self) -> bool:
        """Whether folding may take the mean over the channels from the residual stream: everything
        that reads it must be a LayerNorm, or a mean over tokens and then a LayerNorm."""
        linear_pool = self.pool in ("token", "avg")
        return self.norm_position == "pre" and (self.final_norm or (self.fc_norm and linear_pool))

    @property
    def centres_branches(self) -> bool:
        """Whether folding may take the mean over the channels from what a residual branch gives,
        which is added to a centred stream or normalised by itself."""
        return self.norm_position == "res-post" or self.centres_stream

    @property
    def block_norms_centred(self) -> bool:
        """See TransformerConfig."""
        return self.folded and self.centres_branches

    @property
    def final_norm_centred(self) -> bool:
        """Whether the mean over the channels of the stream after the last block is zero."""
        return self.folded and self.centres_stream

    @property
    def has_patch_bias(self) -> bool:
        """Whether the patch embedding adds a bias; folding puts it into `pos_embed`."""
        return self.patch_bias and not (self.folded and self.position != "none")

    @property
    def block_norms_affine(self) -> bool:
        """See TransformerConfig; but a norm after a branch is itself a part of the stream."""
        return not self.folded or self.norm_position != "pre"

    @property
    def num_pooled_tokens(self) -> int | None:
        """How many tokens of the last block are read, the first ones; None if all are."""
        return 1 + int(self.distilled) if self.pool == "token" else None

    @property
    def folds_final_norm(self) -> bool:
        """Whether the last norm's parameters are in what follows it at once: the head, or the keys
        and values of attention pooling."""
        if not (self.folded and self.final_norm):
            return False
        if self.pool == "map":
            return True
        return self.num_classes > 0 and not self.fc_norm and self.pool in ("token", "avg")

    @property
    def folds_fc_norm(self) -> bool:
        """Whether fc_norm's parameters are in the head."""
        return self.folded and self.num_classes > 0 and self.fc_norm


def vit_parameters(config: ViTConfig) -> Iterator[Parameter]:
    """See `Architecture.parameters`."""
    dim = config.embed_dim
    yield from convolution(
        "patch_embed.proj", config.in_channels, dim, config.patch_size, config.has_patch_bias
    )
    yield from _tokens(config)
    if config.pre_norm:
        yield from norm("norm_pre", dim)
    if config.rel_pos == "shared":
        yield _relative_position(config, "rel_pos_bias")
    for i in range(config.depth):
        yield from _block(config, f"blocks.{i}")
    if config.final_norm:
        yield from norm("norm", dim, not config.folds_final_norm)
    if config.pool == "map":
        yield from _attention_pool(config)
    if config.fc_norm:
        yield from norm("fc_norm", dim, not config.folds_fc_norm)
    if config.num_classes:
        width = 2 * dim if config.pool == "token-avg" else dim
        yield from linear("head", width, config.num_classes, config.head_bias)
        if config.distilled:
            yield from linear("head_dist", dim, config.num_classes, config.head_bias)


def _tokens(config: ViTConfig) -> Iterator[Parameter]:
    """Tokens and their positions: those that have one come before `pos_embed`, others after it."""
    dim = config.embed_dim
    tokens: dict[str, int] = {
        "reg_token": config.reg_tokens,
        "dist_token": int(config.distilled),
        "cls_token": int(config.class_token),
    }
    positioned = {"all": tuple(tokens), "class": ("dist_token", "cls_token")}
    before = positioned.get(config.positioned, ())
    order = [*(t for t in tokens if t in before), "pos_embed"]
    order += [t for t in tokens if t not in before]
    for name in order:
        if name == "pos_embed":
            if config.position != "none":
                count = config.num_positioned_prefix_tokens + config.num_patches
                yield from plain("pos_embed", 1, count, dim)
        elif tokens[name]:
            yield from plain(name, 1, tokens[name], dim)


def _block(config: ViTConfig, block: str) -> Iterator[Parameter]:
    dim, affine = config.embed_dim, config.block_norms_affine

    def attention(name: str) -> Iterator[Parameter]:
        if config.rel_pos == "blocks":
            yield _relative_position(config, name)
        yield from linear(f"{name}.qkv", dim, 3 * dim, config.qkv_bias)
        if config.qk_norm:
            yield from norm(f"{name}.q_norm", config.head_dim)
            yield from norm(f"{name}.k_norm", config.head_dim)
        if config.attn_norm:
            yield from norm(f"{name}.norm", dim, not config.folded)
        yield from linear(f"{name}.proj", dim, dim)

    def mlp(name: str) -> Iterator[Parameter]:
        hidden = config.mlp_dim
        if config.mlp == "swiglu":
            yield from linear(f"{name}.fc1_g", dim, hidden)
            yield from linear(f"{name}.fc1_x", dim, hidden)
        else:
            packed = config.mlp == "swiglu-packed"
            yield from linear(f"{name}.fc1", dim, 2 * hidden if packed else hidden)
        if config.mlp_norm:
            yield from norm(f"{name}.norm", hidden, not config.folded)
        yield from linear(f"{name}.fc2", hidden, dim)

    def scale(name: str) -> Iterator[Parameter]:
        if config.layer_scale:
            yield from plain(f"{name}.gamma", dim)

    if config.parallel > 1:
        for kind, module, layers in (("attns", "attn", attention), ("ffns", "mlp", mlp)):
            for j in range(config.parallel):
                yield from norm(f"{block}.{kind}.{j}.norm", dim, affine)
                yield from layers(f"{block}.{kind}.{j}.{module}")
                yield from scale(f"{block}.{kind}.{j}.ls")
        return
    yield from norm(f"{block}.norm1", dim, affine)
    yield from attention(f"{block}.attn")
    yield from scale(f"{block}.ls1")
    yield from norm(f"{block}.norm2", dim, affine)
    yield from mlp(f"{block}.mlp")
    yield from scale(f"{block}.ls2")


def _relative_position(config: ViTConfig, module: str) -> Parameter:
    """The table, or where it was folded what it says of each pair of tokens."""
    heads, tokens = config.num_heads, config.num_tokens
    if config.folded:
        return Parameter(f"{module}.relative_position_bias", (1, heads, tokens, tokens), "plain")
    length = num_relative_distances(config.grid)
    return Parameter(f"{module}.relative_position_bias_table", (length, heads), "plain")


def _attention_pool(config: ViTConfig) -> Iterator[Parameter]:
    """No image changes the query, so that folding makes of query and keys one linear layer that
    gives the score of each head."""
    dim = config.embed_dim
    if config.folded:
        yield from linear("attn_pool.scores", dim, config.num_heads, bias=False)
        yield from linear("attn_pool.v", dim, dim, bias=False)
    else:
        yield from plain("attn_pool.latent", 1, 1, dim)
        yield from linear("attn_pool.q", dim, dim)
        yield from linear("attn_pool.kv", dim, 2 * dim)
    yield from linear("attn_pool.proj", dim, dim)
    yield from norm("attn_pool.norm", dim, not config.folded)
    yield from linear("attn_pool.mlp.fc1", dim, config.mlp_dim)
    yield from linear("attn_pool.mlp.fc2", config.mlp_dim, dim)
