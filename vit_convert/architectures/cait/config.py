"""CaiT, class-attention in image transformers (Touvron et al. 2021, arXiv:2103.17239), with the
module tree of timm's Cait."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vit_convert.architectures.base import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Architecture,
    Overrides,
    Preprocessing,
    Recognition,
    TransformerConfig,
    Variant,
)
from vit_convert.architectures.parameters import (
    Parameter,
    Shape,
    convolution,
    linear,
    norm,
    plain,
)
from vit_convert.architectures.recognition import (
    depth_of,
    settle,
    shape_of,
    source_image_size,
)


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


def _parameters(config: CaiTConfig) -> Iterator[Parameter]:
    dim, heads, affine = config.embed_dim, config.num_heads, not config.folded
    yield from convolution(
        "patch_embed.proj", config.in_channels, dim, config.patch_size, bias=not config.folded
    )
    yield from plain("pos_embed", 1, config.num_patches, dim)

    def scales(block: str) -> Iterator[Parameter]:
        if not config.folded:
            yield from plain(f"{block}.gamma_1", dim)
            yield from plain(f"{block}.gamma_2", dim)

    def mlp(block: str, hidden: int) -> Iterator[Parameter]:
        yield from norm(f"{block}.norm2", dim, affine)
        yield from linear(f"{block}.mlp.fc1", dim, hidden)
        yield from linear(f"{block}.mlp.fc2", hidden, dim)

    for i in range(config.depth):
        block = f"blocks.{i}"
        yield from scales(block)
        yield from norm(f"{block}.norm1", dim, affine)
        yield from linear(f"{block}.attn.qkv", dim, 3 * dim, config.qkv_bias)
        yield from linear(f"{block}.attn.proj", dim, dim)
        yield from linear(f"{block}.attn.proj_l", heads, heads)
        yield from linear(f"{block}.attn.proj_w", heads, heads)
        yield from mlp(block, config.mlp_dim)
    yield from plain("cls_token", 1, 1, dim)
    for i in range(config.depth_token_only):
        block = f"blocks_token_only.{i}"
        yield from scales(block)
        yield from norm(f"{block}.norm1", dim, affine)
        for part in ("q", "k", "v"):
            yield from linear(f"{block}.attn.{part}", dim, dim, config.qkv_bias)
        yield from linear(f"{block}.attn.proj", dim, dim)
        yield from mlp(block, config.mlp_dim_token_only)
    yield from norm("norm", dim, not config.folds_final_norm)
    if config.num_classes:
        yield from linear("head", dim, config.num_classes)


def _recognise(shapes: Mapping[str, Shape], overrides: Overrides, hint: str) -> Recognition:
    dim, channels, *patch = shape_of(shapes, "patch_embed.proj.weight", 4)
    patch_size = (patch[0], patch[1])
    patches = shape_of(shapes, "pos_embed", 3)[1]
    read: dict[str, Any] = {
        "image_size": source_image_size(patches, patch_size, overrides.trained_size),
        "patch_size": patch_size,
        "in_channels": channels,
        "num_classes": shape_of(shapes, "head.weight", 2)[0] if "head.weight" in shapes else 0,
        "embed_dim": dim,
        "depth": depth_of(shapes, "blocks"),
        "depth_token_only": depth_of(shapes, "blocks_token_only"),
        "num_heads": shape_of(shapes, "blocks.0.attn.proj_l.weight", 2)[0],
        "mlp_dim": shape_of(shapes, "blocks.0.mlp.fc1.weight", 2)[0],
        "mlp_dim_token_only": shape_of(shapes, "blocks_token_only.0.mlp.fc1.weight", 2)[0],
        "qkv_bias": "blocks.0.attn.qkv.bias" in shapes,
        "pool": "token",  # class attention updates nothing else
    }
    return settle(VARIANTS, read, CaiTConfig, overrides, hint, _PREPROCESSING)


_PREPROCESSING = Preprocessing(IMAGENET_MEAN, IMAGENET_STD, "bicubic", 1.0)
_SIZES = {  # width, depth, heads: table 1 of arXiv:2103.17239
    "xxs24": (192, 24, 4),
    "xxs36": (192, 36, 4),
    "xs24": (288, 24, 6),
    "s24": (384, 24, 8),
    "s36": (384, 36, 8),
    "m36": (768, 36, 16),
    "m48": (768, 48, 16),
}

# timm's names; the published resolutions are 224 and 384, and 448 for M48 (arXiv:2103.17239, 5.1)
VARIANTS: tuple[Variant, ...] = tuple(
    Variant(
        f"cait_{size}_{image}",
        CaiTConfig(
            image_size=(image, image),
            patch_size=(16, 16),
            embed_dim=width,
            depth=depth,
            num_heads=heads,
            mlp_dim=4 * width,
            mlp_dim_token_only=4 * width,
        ),
        _PREPROCESSING,
        "arXiv:2103.17239",
    )
    for size, (width, depth, heads) in _SIZES.items()
    for image in (224, 384, 448)
)


CAIT = Architecture(
    name="cait",
    title="CaiT",
    config_class=CaiTConfig,
    variants=VARIANTS,
    matches=lambda shapes: any(name.startswith("blocks_token_only.0.") for name in shapes),
    recognise=_recognise,
    parameters=lambda config: tuple(_parameters(config)),
    residual_graph=lambda config: __import__("vit_convert.architectures.cait.residual", fromlist=["x"]).residual_graph(config),
    lowering="vit_convert.exporters.tflite.lowering.cait:lower",
    attention_names={
        "attention": "output_2_sa_ffn_block_{i}_att",
        "class_attention": "output_3_ca_ffn_block_{i}_att",
    },
)
