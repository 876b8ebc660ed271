"""Models of transformers at published sizes, and tiny ones of the same kind to try scripts with.

Loading one needs PyTorch and transformers alone, so that it works in a peer's environment; making
one needs those of this project's tests.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

VOCABULARY = 49408  # of CLIP's text tower, and of its tokenizer
CONTEXT = 77


@dataclass(frozen=True)
class Published:
    """A model.

    Attributes:
        config: makes its configuration, of the module transformers.
        size: of its images.
        output: what is compared, as `export --output` calls it; "" for what it gives by itself.
        load: (transformers, folder) -> images (n, 3, height, width) to the output, as a module.
    """

    config: Callable[[Any], Any]
    size: int
    output: str
    load: Callable[[Any, Path], torch.nn.Module]


class Embedding(torch.nn.Module):
    """CLIP's embedding of images, of length 1."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.model(pixel_values=images).image_embeds
        return found / found.norm(dim=-1, keepdim=True)


class Depth(torch.nn.Module):
    """(n, 3, height, width) -> depth (n, height, width)."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.model(pixel_values=images).predicted_depth
        return found


def _clip(transformers: Any) -> Any:
    """openai/clip-vit-base-patch16's config.json."""
    vision = {"patch_size": 16, "hidden_size": 768, "intermediate_size": 3072, "image_size": 224}
    vision |= {"projection_dim": 512}  # which transformers reads there, for the image tower alone
    ends = {"bos_token_id": VOCABULARY - 2, "eos_token_id": VOCABULARY - 1}
    text = {"hidden_size": 512, "intermediate_size": 2048, "vocab_size": VOCABULARY}
    return transformers.CLIPConfig(
        vision_config=vision | {"num_hidden_layers": 12, "num_attention_heads": 12},
        text_config=text
        | ends
        | {"num_hidden_layers": 12, "num_attention_heads": 8, "max_position_embeddings": CONTEXT},
        projection_dim=512,
    )


def _clip_tiny(transformers: Any) -> Any:
    layers = {"num_hidden_layers": 2, "num_attention_heads": 3}
    ends = {"bos_token_id": 598, "eos_token_id": 599, "vocab_size": 600}
    return transformers.CLIPConfig(
        vision_config=layers
        | {"patch_size": 8, "hidden_size": 24, "intermediate_size": 40, "image_size": 32}
        | {"projection_dim": 15},
        text_config=layers
        | ends
        | {"hidden_size": 18, "intermediate_size": 28, "max_position_embeddings": CONTEXT},
        projection_dim=15,
    )


def _depth_anything(transformers: Any) -> Any:
    """depth-anything/Depth-Anything-V2-Small-hf's config.json."""
    backbone = transformers.Dinov2Config(
        hidden_size=384,
        num_hidden_layers=12,
        num_attention_heads=6,
        image_size=518,
        patch_size=14,
        out_indices=[3, 6, 9, 12],
        reshape_hidden_states=False,
    )
    return transformers.DepthAnythingConfig(
        backbone_config=backbone,
        patch_size=14,
        reassemble_hidden_size=384,
        reassemble_factors=[4, 2, 1, 0.5],
        neck_hidden_sizes=[48, 96, 192, 384],
        fusion_hidden_size=64,
        head_hidden_size=32,
    )


def _depth_anything_tiny(transformers: Any) -> Any:
    backbone = transformers.Dinov2Config(
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=3,
        image_size=42,
        patch_size=14,
        out_indices=[1, 2],
        reshape_hidden_states=False,
        mlp_ratio=2,
    )
    return transformers.DepthAnythingConfig(
        backbone_config=backbone,
        patch_size=14,
        reassemble_hidden_size=24,
        reassemble_factors=[2, 0.5],
        neck_hidden_sizes=[4, 7],
        fusion_hidden_size=6,
        head_hidden_size=5,
    )


def _load_clip(transformers: Any, folder: Path) -> torch.nn.Module:
    model = transformers.CLIPVisionModelWithProjection.from_pretrained(folder)
    return Embedding(model).eval()


def _load_depth(transformers: Any, folder: Path) -> torch.nn.Module:
    return Depth(transformers.DepthAnythingForDepthEstimation.from_pretrained(folder)).eval()


MODELS = {
    "clip_vit_base_patch16": Published(_clip, 224, "embedding", _load_clip),
    "depth_anything_v2_small": Published(_depth_anything, 518, "", _load_depth),
    "clip_tiny": Published(_clip_tiny, 32, "embedding", _load_clip),
    "depth_anything_tiny": Published(_depth_anything_tiny, 42, "", _load_depth),
}


def make(name: str, folder: Path) -> Any:
    """Save a model, every parameter of which is randomised, and return it.

    Depth is not cut off at zero everywhere, and CLIP's logits are scaled by 100, as OpenAI's are.
    """
    sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
    from depth_sources import positive
    from families import randomise
    from transformers_sources import transformers

    config = MODELS[name].config(transformers)
    if name.startswith("clip"):
        model = randomise(transformers.CLIPModel(config))
        with torch.no_grad():
            model.logit_scale.fill_(float(np.log(100)))
    else:
        model = positive(transformers.DepthAnythingForDepthEstimation(config))
    model.save_pretrained(folder)
    return model


def random_images(name: str, count: int) -> np.ndarray:
    """(count, size, size, 3) float32."""
    size = MODELS[name].size
    return np.random.default_rng(0).standard_normal((count, size, size, 3), np.float32)


def outputs(model: torch.nn.Module, images: np.ndarray) -> np.ndarray:
    """What a model that `load` gave makes of images (n, height, width, 3)."""
    with torch.inference_mode():
        first = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
        return np.concatenate([model(image[None]).numpy() for image in first])
