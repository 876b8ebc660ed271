"""Vision Transformer (Dosovitskiy et al. 2020, arXiv:2010.11929) and DeiT (Touvron et al. 2020,
arXiv:2012.12877), with the module tree of timm's VisionTransformer and VisionTransformerDistilled.
"""

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
from vit_convert.errors import RecognitionError


@dataclass(frozen=True, kw_only=True)
class ViTConfig(TransformerConfig):
    """A Vision Transformer.

    Attributes:
        class_token: whether there is one; without it pooling is the mean over the patches.
        distilled: DeiT's distillation token and its own head; logits are the mean of both heads.
        layer_scale: a learned factor per channel after each residual branch (CaiT's LayerScale).
        final_norm: LayerNorm over all tokens after the last block.
        fc_norm: LayerNorm after pooling.
    """

    class_token: bool = True
    distilled: bool = False
    layer_scale: bool = False
    final_norm: bool = True
    fc_norm: bool = False

    @property
    def num_prefix_tokens(self) -> int:
        """Tokens before the patches: class and distillation token."""
        return int(self.class_token) + int(self.distilled)

    @property
    def num_pooled_tokens(self) -> int | None:
        """How many tokens of the last block are read, the first ones; None if all are."""
        return 1 + int(self.distilled) if self.pool == "token" else None

    @property
    def ends_in_norm(self) -> bool:
        """Whether a norm stands between the residual stream and the head."""
        return self.final_norm or self.fc_norm

    @property
    def folds_final_norm(self) -> bool:
        """Whether the last norm's parameters are in the head, which must follow it at once."""
        return super().folds_final_norm and self.final_norm and not self.fc_norm

    @property
    def folds_fc_norm(self) -> bool:
        """Whether fc_norm's parameters are in the head."""
        return super().folds_final_norm and self.fc_norm


def _parameters(config: ViTConfig) -> Iterator[Parameter]:
    dim, affine = config.embed_dim, not config.folded
    yield from convolution(
        "patch_embed.proj", config.in_channels, dim, config.patch_size, bias=not config.folded
    )
    if config.distilled:
        yield from plain("dist_token", 1, 1, dim)
    if config.class_token:
        yield from plain("cls_token", 1, 1, dim)
    yield from plain("pos_embed", 1, config.num_prefix_tokens + config.num_patches, dim)
    for i in range(config.depth):
        block = f"blocks.{i}"
        yield from norm(f"{block}.norm1", dim, affine)
        yield from linear(f"{block}.attn.qkv", dim, 3 * dim, config.qkv_bias)
        yield from linear(f"{block}.attn.proj", dim, dim)
        if config.layer_scale:
            yield from plain(f"{block}.ls1.gamma", dim)
        yield from norm(f"{block}.norm2", dim, affine)
        yield from linear(f"{block}.mlp.fc1", dim, config.mlp_dim)
        yield from linear(f"{block}.mlp.fc2", config.mlp_dim, dim)
        if config.layer_scale:
            yield from plain(f"{block}.ls2.gamma", dim)
    if config.final_norm:
        yield from norm("norm", dim, not config.folds_final_norm)
    if config.fc_norm:
        yield from norm("fc_norm", dim, not config.folds_fc_norm)
    if config.num_classes:
        yield from linear("head", dim, config.num_classes)
        if config.distilled:
            yield from linear("head_dist", dim, config.num_classes)


def _recognise(shapes: Mapping[str, Shape], overrides: Overrides, hint: str) -> Recognition:
    dim, channels, *patch = shape_of(shapes, "patch_embed.proj.weight", 4)
    patch_size = (patch[0], patch[1])
    class_token, distilled = "cls_token" in shapes, "dist_token" in shapes
    if distilled and not class_token:
        raise RecognitionError(
            "there is a distillation token but no class token", where="dist_token"
        )
    tokens = shape_of(shapes, "pos_embed", 3)[1]
    prefix = int(class_token) + int(distilled)
    fc_norm = "fc_norm.weight" in shapes
    if distilled and fc_norm:
        raise RecognitionError("a distilled DeiT has no norm after pooling", where="fc_norm.weight")
    read: dict[str, Any] = {
        "image_size": source_image_size(tokens - prefix, patch_size, overrides.image_size),
        "patch_size": patch_size,
        "in_channels": channels,
        "num_classes": shape_of(shapes, "head.weight", 2)[0] if "head.weight" in shapes else 0,
        "embed_dim": dim,
        "depth": depth_of(shapes, "blocks"),
        "mlp_dim": shape_of(shapes, "blocks.0.mlp.fc1.weight", 2)[0],
        "qkv_bias": "blocks.0.attn.qkv.bias" in shapes,
        "pool": "token" if class_token and not fc_norm else "avg",
        "class_token": class_token,
        "distilled": distilled,
        "layer_scale": "blocks.0.ls1.gamma" in shapes,
        "final_norm": "norm.weight" in shapes,
        "fc_norm": fc_norm,
    }
    return settle(VARIANTS, read, ViTConfig, overrides, hint, Preprocessing())


# width, depth, heads, MLP width: table 1 of arXiv:2010.11929, table 2 of arXiv:2106.10270
_WIDTHS = {
    "tiny": (192, 12, 3, 768),
    "small": (384, 12, 6, 1536),
    "base": (768, 12, 12, 3072),
    "large": (1024, 24, 16, 4096),
    "huge": (1280, 32, 16, 5120),
}
_INCEPTION = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def _variant(
    name: str,
    size: str,
    patch: int,
    image: int,
    normalisation: tuple[Any, Any],
    source: str,
    distilled: bool = False,
) -> Variant:
    width, depth, heads, mlp = _WIDTHS[size]
    config = ViTConfig(
        image_size=(image, image),
        patch_size=(patch, patch),
        embed_dim=width,
        depth=depth,
        num_heads=heads,
        mlp_dim=mlp,
        distilled=distilled,
    )
    mean, std = normalisation
    return Variant(name, config, Preprocessing(mean, std, "bicubic", _crop(image)), source)


def _crop(image: int) -> float:
    return 1.0 if image > 224 else 0.9


# timm's names. ViT: google-research/vision_transformer, weights as in arXiv:2106.10270 ("How to
# train your ViT?"), normalised with mean and std 0.5. DeiT: facebookresearch/deit, ImageNet's.
VARIANTS: tuple[Variant, ...] = (
    *(
        _variant(
            f"vit_{size}_patch{patch}_{image}", size, patch, image, _INCEPTION, "arXiv:2010.11929"
        )
        for size in _WIDTHS
        for patch in (16, 32, 14, 8)
        for image in (224, 384)
        if image % patch == 0
    ),
    *(
        _variant(
            f"deit_{size}_{'distilled_' if distilled else ''}patch16_{image}",
            size,
            16,
            image,
            (IMAGENET_MEAN, IMAGENET_STD),
            "arXiv:2012.12877",
            distilled,
        )
        for size in ("tiny", "small", "base")
        for distilled in (False, True)
        for image in (224, 384)
    ),
)


def _matches(shapes: Mapping[str, Shape]) -> bool:
    return "blocks.0.attn.qkv.weight" in shapes and not any(
        name.startswith("blocks_token_only.") for name in shapes
    )


VIT = Architecture(
    name="vit",
    title="Vision Transformer",
    config_class=ViTConfig,
    variants=VARIANTS,
    matches=_matches,
    recognise=_recognise,
    parameters=lambda config: tuple(_parameters(config)),
    attention_names={"attention": "output_2_transformer_block_{i}_att"},
)
