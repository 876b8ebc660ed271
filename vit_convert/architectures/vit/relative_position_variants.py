"""Published Vision Transformers whose attention sees relative positions: by BEiT's bias, or by
rotary position embedding. As variants.py."""

from __future__ import annotations

from typing import Any

from vit_convert.architectures.base import Rotary, Variant
from vit_convert.architectures.vit.rotary import PUBLISHED_BASES
from vit_convert.architectures.vit.variants import CLIP, IMAGENET, INCEPTION, SIZES, variant_of

_BEIT = (
    variant_of(
        f"{name}_{size}_patch16_{image}",
        source,
        SIZES[size],
        16,
        image,
        normalisation,
        crop_pct,
        layer_scale=True,
        position="none",
        rel_pos="blocks",
        pool="avg",
        final_norm=False,
        fc_norm=True,
    )
    for name, source, normalisation, size, image, crop_pct in (
        ("beit", "arXiv:2106.08254", INCEPTION, "base", 224, 0.9),
        ("beit", "arXiv:2106.08254", INCEPTION, "base", 384, 1.0),
        ("beit", "arXiv:2106.08254", INCEPTION, "large", 224, 0.9),
        ("beit", "arXiv:2106.08254", INCEPTION, "large", 384, 1.0),
        ("beit", "arXiv:2106.08254", INCEPTION, "large", 512, 1.0),
        ("beitv2", "arXiv:2208.06366", IMAGENET, "base", 224, 0.9),
        ("beitv2", "arXiv:2208.06366", IMAGENET, "large", 224, 0.95),
    )
)


def _rotary_variant(*published: Any, rotary: Rotary, **options: Any) -> Variant:
    """As `variant_of`, with the base that all published models of the kind have."""
    return variant_of(*published, rotary=rotary, rotary_base=PUBLISHED_BASES[rotary], **options)


# baaivision/EVA, EVA-02: the MLP is two thirds as wide as a plain one's
_EVA02_SIZES = {
    "tiny": (192, 12, 3, 512),
    "small": (384, 12, 6, 1024),
    "base": (768, 12, 12, 2048),
    "large": (1024, 24, 16, 2730),
}
_EVA02 = (
    *(
        _rotary_variant(
            f"eva02_{size}_patch14_{image}",
            "arXiv:2303.11331",
            _EVA02_SIZES[size],
            14,
            image,
            CLIP,
            0.9 if image == 224 else 1.0,
            rotary="eva02",
            mlp="swiglu-packed" if size in ("tiny", "small") else "swiglu",
            mlp_norm=size in ("base", "large"),
            pool="avg",
            final_norm=False,
            fc_norm=True,
        )
        for size, image in (
            ("tiny", 224),
            ("tiny", 336),
            ("small", 224),
            ("small", 336),
            ("base", 224),
            ("base", 448),
            ("large", 224),
            ("large", 448),
        )
    ),
    *(
        _rotary_variant(
            f"eva02_{size}_patch{patch}_clip_{image}",
            "arXiv:2303.15389",
            _EVA02_SIZES[size],
            patch,
            image,
            CLIP,
            1.0,
            rotary="eva02",
            mlp="swiglu",
            mlp_norm=True,
            attn_norm=True,
        )
        for size, patch, image in (("base", 16, 224), ("large", 14, 224), ("large", 14, 336))
    ),
)

# facebookresearch/dinov3; what timm calls qkvb has biases of q and v, as the authors' files do (of
# the larger models they are zeros). 256 pixels are timm's choice: there is no position embedding
# that would tell. timm's own models average the patches, unless global_pool="token" is asked for.
_DINOV3 = (
    _rotary_variant(
        f"vit_{name}_patch16_dinov3{'_qkvb' if qkv_bias else ''}",
        "arXiv:2508.10104",
        sizes,
        16,
        256,
        IMAGENET,
        1.0,
        rotary="dinov3",
        norm_eps=1e-5,
        reg_tokens=4,
        position="none",
        layer_scale=True,
        qkv_bias=qkv_bias,
        mlp=mlp,
    )
    for name, sizes, mlp in (
        ("tiny", (192, 12, 3, 768), "plain"),
        ("small", (384, 12, 6, 1536), "plain"),
        ("small_plus", (384, 12, 6, 1536), "swiglu"),
        ("base", (768, 12, 12, 3072), "plain"),
        ("large", (1024, 24, 16, 4096), "plain"),
        ("huge_plus", (1280, 32, 20, 5120), "swiglu"),
        ("7b", (4096, 40, 32, 8192), "swiglu"),
    )
    for qkv_bias in (True, False)
    if not (name == "tiny" and not qkv_bias) and not (name == "7b" and qkv_bias)
)

# timm's own, of its "searching for better baselines"
_TIMM = (
    _rotary_variant(
        f"vit_{name}_patch16_rope_reg{registers}_gap_256",
        "timm: ViT with EVA-02's rotary embedding",
        sizes,
        16,
        256,
        normalisation,
        0.95,
        rotary="eva02",
        class_token=False,
        reg_tokens=registers,
        position="none",
        layer_scale=True,
        qkv_bias=name != "mediumd",
        pool="avg",
        final_norm=False,
        fc_norm=True,
    )
    for name, sizes, registers, normalisation in (
        ("medium", (512, 12, 8, 2048), 1, INCEPTION),
        ("mediumd", (512, 20, 8, 2048), 1, INCEPTION),
        ("betwixt", (640, 12, 10, 2560), 4, CLIP),
        ("base", (768, 12, 12, 3072), 1, INCEPTION),
    )
)

RELATIVE_POSITION_VARIANTS: tuple[Variant, ...] = (*_BEIT, *_EVA02, *_DINOV3, *_TIMM)
