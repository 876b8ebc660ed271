"""Published Vision Transformers, by timm's names, each with where its numbers come from."""

from __future__ import annotations

from typing import Any

from vit_convert.architectures.base import IMAGENET_MEAN, IMAGENET_STD, Preprocessing, Variant
from vit_convert.architectures.vit import ViTConfig

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
