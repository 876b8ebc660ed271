"""Published Vision Transformers that are not timm's: models of the same shapes, but with values or
preprocessing of their own. Each is written down as one of timm's with what is different."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vit_convert.architectures.base import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from vit_convert.architectures.published import Pictures, PublishedModel

_TIMM = ("timm", "timm-gamma", "timm-beit", "timm-eva")


@dataclass(frozen=True)
class _Models:
    """Models of one publication.

    Attributes:
        source: where the values are written.
        schemes: the naming schemes of its checkpoints, its own first.
        names: the publication's name -> timm's model of the same shapes.
        pictures: (tag, preprocessing) of the weights, the default first.
        values: what is not as in timm.
    """

    source: str
    schemes: tuple[str, ...]
    names: Mapping[str, str]
    pictures: Sequence[tuple[str, Preprocessing]]
    values: Mapping[str, Any] = field(default_factory=dict)


def _imagenet(interpolation: Any, crop_pct: float) -> Preprocessing:
    return Preprocessing(IMAGENET_MEAN, IMAGENET_STD, interpolation, crop_pct)


_CROPPED = _imagenet("bicubic", 224 / 256)  # Resize(256, bicubic), CenterCrop(224)
_SIGLIP_SIZES = {
    "base_patch16": (224, 256, 384, 512),
    "large_patch16": (256, 384),
    "so400m_patch14": (224, 378, 384),
    "giantopt_patch16": (256, 384),
}
_V1, _SWAG, _E2E = "IMAGENET1K_V1", "IMAGENET1K_SWAG_LINEAR_V1", "IMAGENET1K_SWAG_E2E_V1"
_WHOLE = _imagenet("bicubic", 1.0)
_DINO_SIZES = {"s": "small", "b": "base", "l": "large", "g": "giant"}
_DINOV3 = ("dinov3", "transformers-dinov3", "transformers-dinov3-gated", *_TIMM)


def _torchvision(names: Mapping[str, str], *pictures: tuple[str, Preprocessing]) -> _Models:
    """pytorch/vision, torchvision/models/vision_transformer.py."""
    return _Models("torchvision", ("torchvision", "torchvision-linear"), names, pictures)


_PUBLISHED = (
    # github.com/google-research/big_vision trains with flax's nn.gelu, the tanh approximation, and
    # transformers' SiglipVisionModel runs it (hidden_act); a whole picture is squeezed
    _Models(
        "arXiv:2303.15343, transformers' SiglipVisionModel",
        ("transformers-siglip", "big_vision", "big_vision-scanned", *_TIMM),
        {
            f"siglip_{size}_{image}": f"vit_{size}_siglip_{image}"
            for size, images in _SIGLIP_SIZES.items()
            for image in images
        },
        [("", Preprocessing(crop_pct=1.0, crop_mode="squash"))],
        {"gelu": "tanh"},
    ),
    _torchvision(
        {"vit_b_16": "vit_base_patch16_224"},
        (_V1, _imagenet("bilinear", 224 / 256)),
        (_SWAG, _WHOLE),
    ),
    _torchvision({"vit_b_32": "vit_base_patch32_224"}, (_V1, _imagenet("bilinear", 224 / 256))),
    _torchvision(
        {"vit_l_16": "vit_large_patch16_224"},
        (_V1, _imagenet("bilinear", 224 / 242)),
        (_SWAG, _WHOLE),
    ),
    _torchvision({"vit_l_32": "vit_large_patch32_224"}, (_V1, _imagenet("bilinear", 224 / 256))),
    _torchvision({"vit_h_14": "vit_huge_patch14_224"}, (_SWAG, _WHOLE)),
    _torchvision({"vit_b_16_384": "vit_base_patch16_384"}, (_E2E, _WHOLE)),
    # github.com/facebookresearch/dino, eval_linear.py; features are the class token
    _Models(
        "arXiv:2104.14294, facebookresearch/dino",
        ("dino", *_TIMM),
        {
            f"dino_vit{letter}{patch}": f"vit_{_DINO_SIZES[letter]}_patch{patch}_224"
            for letter in "sb"
            for patch in (16, 8)
        },
        [("", _CROPPED)],
    ),
    # github.com/facebookresearch/mae, util/datasets.py
    _Models(
        "arXiv:2111.06377, facebookresearch/mae",
        ("mae", *_TIMM),
        {
            "mae_vit_base_patch16": "vit_base_patch16_224",
            "mae_vit_large_patch16": "vit_large_patch16_224",
            "mae_vit_huge_patch14": "vit_huge_patch14_224",
        },
        [("", _CROPPED)],
    ),
    # github.com/facebookresearch/dinov2, dinov2/data/transforms.py; with registers the position
    # embedding covers the class token, which timm adds to it
    *(
        _Models(
            "arXiv:2304.07193, facebookresearch/dinov2",
            ("dinov2", "dinov2-chunked", *_TIMM),
            {
                f"dinov2_vit{letter}14{'_reg' if registers else ''}": (
                    f"vit_{size}_patch14_{'reg4_' if registers else ''}dinov2"
                )
                for letter, size in _DINO_SIZES.items()
            },
            [("", _CROPPED)],
            {"position": "class"} if registers else {},
        )
        for registers in (False, True)
    ),
    # github.com/facebookresearch/dinov3, README.md; features are the class token, where timm's
    # models average the patches
    _Models(
        "arXiv:2508.10104, facebookresearch/dinov3",
        _DINOV3,
        {
            "dinov3_vits16": "vit_small_patch16_dinov3_qkvb",
            "dinov3_vits16plus": "vit_small_plus_patch16_dinov3_qkvb",
            "dinov3_vitb16": "vit_base_patch16_dinov3_qkvb",
            "dinov3_vitl16": "vit_large_patch16_dinov3_qkvb",
            "dinov3_vith16plus": "vit_huge_plus_patch16_dinov3_qkvb",
            "dinov3_vit7b16": "vit_7b_patch16_dinov3",
        },
        [
            ("lvd1689m", _CROPPED),
            ("sat493m", Preprocessing((0.430, 0.411, 0.296), (0.213, 0.156, 0.143), crop_pct=1.0)),
        ],
        {"pool": "token"},
    ),
    # github.com/bubbliiiing/classification-pytorch, nets/vision_transformer.py
    _Models(
        "bubbliiiing/classification-pytorch",
        ("bubbliiiing", *_TIMM),
        {"vit-patch_16": "vit_base_patch16_224"},
        [("", Preprocessing(crop_pct=1.0))],
        {"gelu": "tanh"},
    ),
)


def published_elsewhere(timm: Sequence[PublishedModel]) -> Iterator[PublishedModel]:
    """The models, made from timm's."""
    by_name = {model.name: model for model in timm}
    for published in _PUBLISHED:
        for name, base in published.names.items():
            model = by_name[base]
            yield PublishedModel(
                name,
                {**model.values, **published.values},
                tuple(Pictures((tag,), p) for tag, p in published.pictures),
                published.source,
                model.unsupported,
                published.schemes,
                model.dialect,
            )
