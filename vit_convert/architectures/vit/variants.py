"""Published Vision Transformers, by timm's names, each with where its numbers come from.

Numbers are those of timm 1.0.31's models and default configurations; the sources are the papers.
Where two publications have the same shapes, both are listed, the one that is met more often first.
"""

from __future__ import annotations

from typing import Any

from vit_convert.architectures.base import IMAGENET_MEAN, IMAGENET_STD, Preprocessing, Variant
from vit_convert.architectures.vit.config import ViTConfig

Normalisation = tuple[tuple[float, float, float], tuple[float, float, float]]

INCEPTION: Normalisation = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
IMAGENET: Normalisation = (IMAGENET_MEAN, IMAGENET_STD)
# arXiv:2103.00020, openai/CLIP
CLIP: Normalisation = (
    (0.48145466, 0.4578275, 0.40821073),
    (0.26862954, 0.26130258, 0.27577711),
)

# width, depth, heads, MLP width
SIZES = {
    # table 1 of arXiv:2010.11929, table 2 of arXiv:2106.10270
    "tiny": (192, 12, 3, 768),
    "small": (384, 12, 6, 1536),
    "base": (768, 12, 12, 3072),
    "large": (1024, 24, 16, 4096),
    "huge": (1280, 32, 16, 5120),
    "medium": (512, 12, 8, 2048),  # arXiv:2204.07118
    "giant": (1536, 40, 24, 4096),  # DINOv2's, arXiv:2304.07193
    "so400m": (1152, 27, 16, 4304),  # arXiv:2305.13035
    "giant1408": (1408, 40, 16, 6144),  # arXiv:2106.04560
    "gigantic": (1664, 48, 16, 8192),  # arXiv:2106.04560
    "giantopt": (1536, 40, 16, 6144),  # arXiv:2502.14786
    "enormous": (1792, 64, 16, 15360),  # arXiv:2303.15389
    "base16heads": (768, 12, 16, 3072),  # arXiv:2301.08243
    "18x2": (768, 18, 12, 3072),  # depth and parallel branches, arXiv:2203.09795
}


def variant_of(
    name: str,
    source: str,
    sizes: tuple[int, int, int, int],
    patch: int,
    image: int,
    normalisation: Normalisation,
    crop_pct: float,
    **options: Any,
) -> Variant:
    """A published model.

    Args:
        name: in timm.
        source: where the numbers come from.
        sizes: width, depth, heads, MLP width.
        patch, image: side in pixels.
        normalisation: mean and standard deviation of the channels.
        crop_pct: see `Preprocessing`.
        options: of `ViTConfig`.
    """
    width, depth, heads, mlp = sizes
    config = ViTConfig(
        image_size=(image, image),
        patch_size=(patch, patch),
        embed_dim=width,
        depth=depth,
        num_heads=heads,
        mlp_dim=mlp,
        **options,
    )
    mean, std = normalisation
    return Variant(name, config, Preprocessing(mean, std, "bicubic", crop_pct), source)


def _variant(
    name: str,
    source: str,
    size: str,
    patch: int,
    image: int,
    normalisation: Normalisation,
    crop_pct: float | None = None,
    **options: Any,
) -> Variant:
    crop_pct = crop_pct or (1.0 if image > 224 else 0.9)
    sizes = SIZES[size]
    return variant_of(name, source, sizes, patch, image, normalisation, crop_pct, **options)


# google-research/vision_transformer, weights as in arXiv:2106.10270 ("How to train your ViT?")
_VIT = (
    _variant(f"vit_{size}_patch{patch}_{image}", "arXiv:2010.11929", size, patch, image, INCEPTION)
    for size in ("tiny", "small", "base", "large", "huge")
    for patch in (16, 32, 14, 8)
    for image in (224, 384)
    if image % patch == 0
)

# facebookresearch/deit
_DEIT = (
    _variant(
        f"deit_{size}_{'distilled_' if distilled else ''}patch16_{image}",
        "arXiv:2012.12877",
        size,
        16,
        image,
        IMAGENET,
        distilled=distilled,
    )
    for size in ("tiny", "small", "base")
    for distilled in (False, True)
    for image in (224, 384)
)
_DEIT3 = (
    _variant(
        f"deit3_{size}_patch{patch}_{image}",
        "arXiv:2204.07118",
        size,
        patch,
        image,
        IMAGENET,
        layer_scale=True,
        position="patches",
    )
    for size, patch, images in (
        ("small", 16, (224, 384)),
        ("medium", 16, (224,)),
        ("base", 16, (224, 384)),
        ("large", 16, (224, 384)),
        ("huge", 14, (224,)),
    )
    for image in images
)

# self-supervised; no head of their own
_MAE = (
    _variant(f"vit_{size}_patch{patch}_224.mae", "arXiv:2111.06377", size, patch, 224, IMAGENET)
    for size, patch in (("base", 16), ("large", 16), ("huge", 14))
)
_DINO = (
    _variant(f"vit_{size}_patch{patch}_224.dino", "arXiv:2104.14294", size, patch, 224, IMAGENET)
    for size in ("small", "base")
    for patch in (16, 8)
)
_DINOV2 = (
    _variant(
        f"vit_{size}_patch14_{'reg4_' if registers else ''}dinov2",
        "arXiv:2309.16588" if registers else "arXiv:2304.07193",
        size,
        14,
        518,
        IMAGENET,
        layer_scale=True,
        reg_tokens=registers,
        position="patches" if registers else "all",
        mlp="swiglu-packed" if size == "giant" else "plain",
    )
    for size in ("small", "base", "large", "giant")
    for registers in (0, 4)
)

# image towers. OpenAI's weights want quick GELU, open_clip's mostly the exact one; timm has a name
# for either. A crop of the whole picture is what both train with at every size but B's.
_CLIP_TOWERS = (
    _variant(
        f"vit_{size.removesuffix('1408')}_patch{patch}_clip_{'quickgelu_' if quick else ''}{image}",
        "arXiv:2103.00020",
        size,
        patch,
        image,
        CLIP,
        0.9 if size == "base" else 1.0,
        gelu="quick" if quick else "erf",
        norm_eps=1e-5,
        pre_norm=True,
        patch_bias=False,
    )
    for size, patch, image in (
        ("base", 32, 224),
        ("base", 16, 224),
        ("large", 14, 224),
        ("large", 14, 336),
        ("huge", 14, 224),
        ("giant1408", 14, 224),
        ("gigantic", 14, 224),
    )
    for quick in (True, False)
    if not (quick and size == "giant1408")
)
# google-research/big_vision trains with the tanh approximation of GELU, and so does Hugging Face's
# SiglipVisionModel (hidden_act); timm's models of these names have the exact one. The published
# so400m at "384" sees 27 x 27 patches of 14, so 378 of its 384 pixels; timm lists it as 378, too.
_SIGLIP = (
    _variant(
        f"{prefix}_{size}_patch{patch}_{'' if gelu == 'tanh' else 'siglip_'}{image}",
        "arXiv:2303.15343",
        size,
        patch,
        image,
        INCEPTION,
        0.9,
        gelu=gelu,
        class_token=False,
        pool="map",
    )
    for size, patch, images in (
        ("base", 16, (224, 256, 384, 512)),
        ("large", 16, (256, 384)),
        ("so400m", 14, (224, 378)),
        ("giantopt", 16, (256, 384)),
    )
    for image in images
    for prefix, gelu in (("siglip", "tanh"), ("vit", "erf"))
)

_EVA = (
    *(
        _variant(
            f"eva_giant_patch14_{image}",
            "arXiv:2211.07636",
            "giant1408",
            14,
            image,
            CLIP,
            0.9 if image == 224 else 1.0,
            pool="avg",
            final_norm=False,
            fc_norm=True,
        )
        for image in (224, 336, 560)
    ),
    _variant("eva_giant_patch14_clip_224", "arXiv:2211.07636", "giant1408", 14, 224, CLIP, 0.9),
    _variant(
        "eva02_enormous_patch14_clip_224",
        "arXiv:2303.15389",
        "enormous",
        14,
        224,
        CLIP,
        1.0,
        norm_position="res-post",
    ),
)

_OTHERS = (
    _variant(
        "vit_base_patch16_gap_224",
        "arXiv:2301.08243",
        "base16heads",
        16,
        224,
        INCEPTION,
        class_token=False,
        pool="avg",
    ),
    _variant(
        "vit_base_patch16_rpn_224",
        "timm: residual post-norm, after arXiv:2111.09883",
        "base",
        16,
        224,
        INCEPTION,
        norm_position="res-post",
        qkv_bias=False,
        class_token=False,
        pool="avg",
        final_norm=False,
        fc_norm=True,
    ),
    _variant(
        "vit_base_patch16_18x2_224",
        "arXiv:2203.09795",
        "18x2",
        16,
        224,
        INCEPTION,
        parallel=2,
        layer_scale=True,
    ),
)

VARIANTS: tuple[Variant, ...] = (
    *_VIT,
    *_DEIT,
    *_DEIT3,
    *_MAE,
    *_DINO,
    *_DINOV2,
    *_CLIP_TOWERS,
    *_SIGLIP,
    *_EVA,
    *_OTHERS,
)
