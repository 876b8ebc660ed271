"""Models of `published.py` in PyTorch.

Loading one needs PyTorch and transformers alone, so that it works in a peer's environment; making
one needs those of this project's tests.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

# by either name that this folder has as a package
from .published import MODELS
from .timm_model import import_vision


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


def load(name: str, folder: Path) -> torch.nn.Module:
    """A saved model: images (n, 3, height, width) to its output, in evaluation mode."""
    import_vision("torchvision")  # before transformers, which imports it its own way
    transformers = import_vision("transformers")
    if MODELS[name].output == "embedding":
        model = transformers.CLIPVisionModelWithProjection.from_pretrained(folder)
        return Embedding(model).eval()
    return Depth(transformers.DepthAnythingForDepthEstimation.from_pretrained(folder)).eval()


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


def random_images(size: int, count: int) -> np.ndarray:
    """(count, size, size, 3) float32."""
    return np.random.default_rng(0).standard_normal((count, size, size, 3), np.float32)


def outputs(model: torch.nn.Module, images: np.ndarray) -> np.ndarray:
    """What a model that `load` gave makes of images (n, height, width, 3)."""
    with torch.inference_mode():
        first = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
        return np.concatenate([model(image[None]).numpy() for image in first])
