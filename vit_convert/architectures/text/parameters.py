"""The parameters of a text tower. timm has none, so the names are those of its ViT where a ViT has
the same: `blocks.3.attn.qkv.weight`; the projection is the `head`."""

from __future__ import annotations

from collections.abc import Iterator

from vit_convert.architectures.parameters import Parameter, linear, norm, plain
from vit_convert.architectures.text.config import TextConfig


def text_parameters(config: TextConfig) -> Iterator[Parameter]:
    """Every array of the model."""
    dim = config.embed_dim
    yield from plain("token_embed.weight", config.vocab_size, dim)
    yield from plain("pos_embed", 1, config.context_length, dim)
    for block in (f"blocks.{i}" for i in range(config.depth)):
        yield from norm(f"{block}.norm1", dim)
        yield from linear(f"{block}.attn.qkv", dim, 3 * dim)
        yield from linear(f"{block}.attn.proj", dim, dim)
        yield from norm(f"{block}.norm2", dim)
        yield from linear(f"{block}.mlp.fc1", dim, config.mlp_dim)
        yield from linear(f"{block}.mlp.fc2", config.mlp_dim, dim)
    yield from norm("norm", dim)
    if config.out_dim:
        yield from linear("head", dim, config.out_dim, config.out_bias)
