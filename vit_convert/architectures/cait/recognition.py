"""The configuration of a CaiT: what its tensors tell, and what published ones have."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from vit_convert.architectures.base import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Overrides,
    Preprocessing,
    Recognition,
    TransformerConfig,
)
from vit_convert.architectures.cait.config import CaiTConfig
from vit_convert.architectures.candidates import find_candidates
from vit_convert.architectures.facts import Facts, settle_image_size
from vit_convert.architectures.parameters import Shape
from vit_convert.architectures.published import PublishedModel, read_published
from vit_convert.architectures.recognition import depth_of, shape_of
from vit_convert.errors import RecognitionError, UsageError

_PREPROCESSING = Preprocessing(IMAGENET_MEAN, IMAGENET_STD, "bicubic", 1.0)  # facebookresearch/deit


@cache
def published_caits() -> tuple[PublishedModel, ...]:
    """timm's."""
    return read_published(Path(__file__).with_name("published.json"), CaiTConfig)


def read_cait(shapes: Mapping[str, Shape], overrides: Overrides) -> dict[str, Any]:
    """See `Architecture.read`.

    Raises:
        RecognitionError: as `shape_of` and `depth_of`.
    """
    dim, channels, *patch = shape_of(shapes, "patch_embed.proj.weight", 4)
    return {
        "patch_size": (patch[0], patch[1]),
        "in_channels": channels,
        "num_classes": shape_of(shapes, "head.weight", 2)[0] if "head.weight" in shapes else 0,
        "embed_dim": dim,
        "depth": depth_of(shapes, "blocks"),
        "depth_token_only": depth_of(shapes, "blocks_token_only"),
        "num_heads": shape_of(shapes, "blocks.0.attn.proj_l.weight", 2)[0],
        "mlp_dim": shape_of(shapes, "blocks.0.mlp.fc1.weight", 2)[0],
        "mlp_dim_token_only": shape_of(shapes, "blocks_token_only.0.mlp.fc1.weight", 2)[0],
        "qkv_bias": "blocks.0.attn.qkv.bias" in shapes,
    }


def recognise_cait(shapes: Mapping[str, Shape], overrides: Overrides, hint: str) -> Recognition:
    """See `Architecture.recognise`.

    Raises:
        RecognitionError, UsageError: the tensors are those of no CaiT, or contradict an option or a
            file.
    """
    read = read_cait(shapes, overrides)
    patches = shape_of(shapes, "pos_embed", 3)[1]

    def same_size(values: Mapping[str, Any]) -> bool:
        size, patch = values["image_size"], values["patch_size"]
        return bool((size[0] // patch[0]) * (size[1] // patch[1]) == patches)

    candidates = find_candidates(
        published_caits(), read, lambda values: True, same_size, overrides, hint
    )
    facts = Facts(read, candidates, overrides)
    settle_image_size(facts, patches, overrides)
    why = (
        "class attention updates nothing else; timm can average the patches, which leaves no trace"
    )
    if facts.settle("pool", "token", why) != "token":
        raise UsageError(
            "a CaiT is read by its class token here",
            where=f"--pool {facts.value('pool')}",
            expected="token, or no option",
        )
    return facts.finish(CaiTConfig, _PREPROCESSING)


def refuse_pools(config: TransformerConfig) -> None:
    """Raises RecognitionError for pooling that no CaiT has here."""
    if config.pool != "token":
        raise RecognitionError(
            "the options are those of no CaiT", expected="a CaiT is read by its class token"
        )
