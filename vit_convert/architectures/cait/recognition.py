"""The configuration of a CaiT, from the names and shapes of its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vit_convert.architectures.base import Overrides, Recognition
from vit_convert.architectures.cait.config import CaiTConfig
from vit_convert.architectures.cait.variants import PREPROCESSING, VARIANTS
from vit_convert.architectures.parameters import Shape
from vit_convert.architectures.recognition import (
    depth_of,
    settle,
    shape_of,
    source_image_size,
)


def recognise_cait(shapes: Mapping[str, Shape], overrides: Overrides, hint: str) -> Recognition:
    """See `Architecture.recognise`.

    Raises:
        RecognitionError, UsageError: as `shape_of`, `depth_of`, `source_image_size` and `settle`.
    """
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
    return settle(VARIANTS, read, CaiTConfig, overrides, hint, PREPROCESSING)
