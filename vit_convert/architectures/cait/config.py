"""CaiT, class-attention in image transformers (Touvron et al. 2021, arXiv:2103.17239), with the
module tree of timm's Cait."""

from __future__ import annotations

from dataclasses import dataclass

from vit_convert.architectures.base import TransformerConfig


@dataclass(frozen=True, kw_only=True)
class CaiTConfig(TransformerConfig):
    """A CaiT: `depth` self-attention blocks with talking heads over the patches, then
    `depth_token_only` class-attention blocks, in which the class token alone asks and changes.

    Attributes:
        depth_token_only: number of class-attention blocks.
        mlp_dim_token_only: hidden width of their MLPs.
    """

    depth_token_only: int = 2
    mlp_dim_token_only: int = 3072
