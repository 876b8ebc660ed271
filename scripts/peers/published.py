"""Models of transformers at published sizes, and tiny ones of the same kind to try scripts with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

VOCABULARY = 49408  # of CLIP's text tower, and of its tokenizer
CONTEXT = 77


@dataclass(frozen=True)
class Published:
    """A model.

    Attributes:
        config: makes its configuration, of the module transformers.
        size: of its images.
        output: what is compared, as `export --output` calls it; "" for what it gives by itself.
    """

    config: Callable[[Any], Any]
    size: int
    output: str


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


MODELS = {
    "clip_vit_base_patch16": Published(_clip, 224, "embedding"),
    "depth_anything_v2_small": Published(_depth_anything, 518, ""),
    "clip_tiny": Published(_clip_tiny, 32, "embedding"),
    "depth_anything_tiny": Published(_depth_anything_tiny, 42, ""),
}
