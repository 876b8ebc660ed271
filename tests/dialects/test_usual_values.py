"""Naming schemes assume their library's defaults, or what their authors did."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
import transformers

from vit_convert.architectures.base import IMAGENET_MEAN, IMAGENET_STD
from vit_convert.dialects.rules import Dialect
from vit_convert.dialects.selection import every_dialect
from vit_convert.parity.sources.torch_compat import import_vision

torchvision = import_vision("torchvision")

GELUS = {"gelu": "erf", "quick_gelu": "quick", "gelu_pytorch_tanh": "tanh", "silu": "silu"}
HALVES = (0.5, 0.5, 0.5)
CLIP = {
    "mean": (0.48145466, 0.4578275, 0.40821073),
    "std": (0.26862954, 0.26130258, 0.27577711),
    "interpolation": "bicubic",
    "crop_pct": 1.0,
}
# the beginning of a dialect's name -> configuration and image processor of transformers
CLASSES = {
    "transformers-vit": ("ViTConfig", "ViTImageProcessor"),
    "transformers-vit-msn": ("ViTMSNConfig", "ViTImageProcessor"),
    "transformers-ijepa": ("IJepaConfig", "ViTImageProcessor"),
    "transformers-deit": ("DeiTConfig", "DeiTImageProcessor"),
    "transformers-beit": ("BeitConfig", "BeitImageProcessor"),
    "transformers-internvl": ("InternVLVisionConfig", "GotOcr2ImageProcessor"),
    "transformers-dinov2": ("Dinov2Config", ""),
    "transformers-dinov2-registers": ("Dinov2WithRegistersConfig", ""),
    "transformers-dinov3": ("DINOv3ViTConfig", "DINOv3ViTImageProcessor"),
    "transformers-clip": ("CLIPVisionConfig", "CLIPImageProcessor"),
    "transformers-clip-text": ("CLIPTextConfig", ""),
    "transformers-owlvit": ("OwlViTVisionConfig", "OwlViTImageProcessor"),
    "transformers-blip": ("BlipVisionConfig", "BlipImageProcessor"),
    "transformers-siglip": ("SiglipVisionConfig", "SiglipImageProcessor"),
    "transformers-siglip2": ("Siglip2VisionConfig", "SiglipImageProcessor"),
    "transformers-siglip-text": ("SiglipTextConfig", ""),
    "transformers-aimv2": ("Aimv2VisionConfig", "CLIPImageProcessor"),
    "transformers-dpt": ("DPTConfig", "DPTImageProcessor"),
    "transformers-dpt-dinov2": ("Dinov2Config", ""),
    "transformers-depth-anything": ("Dinov2Config", ""),
}
_META = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD, "interpolation": "bicubic", "crop_pct": 0.875}
_SQUASHED = _META | {"crop_pct": 1.0, "crop_mode": "squash"}
_VIT = {"gelu": "erf", "norm_eps": 1e-6}
# what no class of a library has: from the authors' code, and from files beside their checkpoints
STATED: dict[str, dict[str, Any]] = {
    # huggingface.co/facebook/dinov2-base, preprocessor_config.json
    "transformers-dinov2": _META,
    # huggingface.co/depth-anything/Depth-Anything-V2-Small-hf, facebook/dpt-dinov2-small-nyu
    "transformers-dpt-dinov2": _SQUASHED,
    "transformers-depth-anything": _SQUASHED,
    "transformers-dinov2-segmentation": _SQUASHED,
    "dinov2-segmentation": _SQUASHED | _VIT,
    # DepthAnything/Depth-Anything-V2, depth_anything_v2/dpt.py: image2tensor
    "depth-anything": _SQUASHED | _VIT,
    # facebookresearch/dino, eval_linear.py; mae, main_finetune.py; dinov2, data/transforms.py
    "dino": _META | _VIT,
    "mae": _META | _VIT,
    "dinov2": _META | _VIT,
    # facebookresearch/dinov3, dinov3/data/transforms.py and layers/block.py
    "dinov3": _META | {"gelu": "erf", "norm_eps": 1e-5},
    # openai/CLIP, clip/clip.py and model.py
    "clip": CLIP | {"gelu": "quick", "norm_eps": 1e-5},
    "clip-text": {"gelu": "quick", "norm_eps": 1e-5},
    # google-research/vision_transformer, vit_jax/models_vit.py; big_vision, models/vit.py: Flax's
    # LayerNorm has 1e-6, its gelu is approximate
    "google": {"mean": HALVES, "std": HALVES, "gelu": "tanh", "norm_eps": 1e-6},
    "big_vision": {"mean": HALVES, "std": HALVES, "gelu": "tanh", "norm_eps": 1e-6},
    # bubbliiiing/classification-pytorch, nets/vision_transformer.py and utils/utils.py
    "bubbliiiing": {"mean": HALVES, "std": HALVES, "gelu": "tanh", "norm_eps": 1e-6}
    | {"crop_pct": 1.0, "drop_rate": 0.1, "attn_drop_rate": 0.1, "drop_path_rate": 0.1},
}
NAMES = ("gelu", "norm_eps", "mean", "std", "interpolation", "crop_pct", "crop_mode")
NAMES += ("drop_rate", "attn_drop_rate", "drop_path_rate")


def of_transformers(config: str, processor: str) -> dict[str, Any]:
    made = getattr(transformers, config)()
    epsilon = getattr(made, "layer_norm_eps", None) or made.rms_norm_eps
    found = {"gelu": GELUS[made.hidden_act], "norm_eps": epsilon}
    if not processor:
        return found
    how = getattr(transformers, processor)()
    squash = how.size.shortest_edge is None
    side = how.size.height if squash else how.size.shortest_edge
    seen = how.crop_size.height if getattr(how, "do_center_crop", False) else side
    return found | {
        "mean": tuple(how.image_mean),
        "std": tuple(how.image_std),
        "interpolation": {2: "bilinear", 3: "bicubic"}[int(how.resample)],
        "crop_pct": seen / side,
        "crop_mode": "squash" if squash else "center",
    }


def of_torchvision() -> dict[str, Any]:
    how = torchvision.models.ViT_B_16_Weights.IMAGENET1K_V1.transforms()
    norm = torchvision.models.vit_b_16().encoder.ln
    return {
        "gelu": "erf",
        "norm_eps": norm.eps,
        "mean": tuple(how.mean),
        "std": tuple(how.std),
        "interpolation": how.interpolation.value,
        "crop_pct": how.crop_size[0] / how.resize_size[0],
    }


def of_encoder() -> dict[str, Any]:
    found = inspect.signature(torch.nn.TransformerEncoderLayer).parameters
    assert found["norm_first"].default is False
    return {
        "gelu": found["activation"].default.__name__,
        "norm_eps": found["layer_norm_eps"].default,
    }


def usual(name: str) -> dict[str, Any]:
    """Of the longest of the names above that a dialect's name begins with."""

    def longest(table: dict[str, Any]) -> Any:
        known = [key for key in table if name == key or name.startswith(f"{key}-")]
        return table[max(known, key=len)] if known else None

    classes, stated = longest(CLASSES), longest(STATED)
    found = of_transformers(*classes) if classes else {}
    if name.startswith("torchvision"):
        found = of_torchvision()
    elif name.startswith("torch-encoder"):
        found = of_encoder()
    return found | (stated or {})


@pytest.mark.parametrize("dialect", every_dialect(), ids=lambda d: f"{d.name}-{d.architecture}")
def test_it_is_the_librarys_default_or_the_authors(dialect: Dialect) -> None:
    stated = {name: fact.value for name, fact in dialect.facts.items() if name in NAMES}
    if dialect.name.startswith("timm"):
        assert not stated  # timm's files, and its registry, say it
        return
    expected = usual(dialect.name)
    if "interpolation" in expected:
        assert {"interpolation", "crop_pct"} <= stated.keys()
    if stated.get("crop_mode") is None and "crop_pct" in stated:
        stated["crop_mode"] = "center"
        expected.setdefault("crop_mode", "center")
    assert stated == {name: expected.get(name) for name in stated}
