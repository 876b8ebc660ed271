"""The configuration of a Synthesizer, its parameters, and how it is recognised."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vit_convert.architectures import (
    Overrides,
    Parameter,
    Preprocessing,
    Recognition,
    Shape,
    TransformerConfig,
)
from vit_convert.architectures.candidates import Candidates
from vit_convert.architectures.facts import Facts, settle_image_size
from vit_convert.architectures.parameters import convolution, linear, norm, plain
from vit_convert.architectures.recognition import depth_of, shape_of


@dataclass(frozen=True, kw_only=True)
class SynthesizerConfig(TransformerConfig):
    """A Synthesizer.

    Attributes:
        value_dim: width of the values that are mixed.
    """

    value_dim: int


def parameters(config: SynthesizerConfig) -> Iterator[Parameter]:
    """See `Architecture.parameters`."""
    dim, n, inner = config.embed_dim, config.num_patches, config.value_dim
    yield from convolution("patch_embed.proj", config.in_channels, dim, config.patch_size)
    yield from plain("pos_embed", 1, n, dim)
    for i in range(config.depth):
        block = f"blocks.{i}"
        yield from plain(f"{block}.scores", n, n)
        yield from norm(f"{block}.norm1", dim)
        yield from linear(f"{block}.value", dim, inner)
        yield from linear(f"{block}.proj", inner, dim)
        yield from norm(f"{block}.norm2", dim)
        yield from linear(f"{block}.mlp.fc1", dim, config.mlp_dim)
        yield from linear(f"{block}.mlp.fc2", config.mlp_dim, dim)
    yield from norm("norm", dim)
    if config.num_classes:
        yield from linear("head", dim, config.num_classes)


def read(shapes: Mapping[str, Shape], overrides: Overrides) -> dict[str, Any]:
    """See `Architecture.read`."""
    dim, channels, *patch = shape_of(shapes, "patch_embed.proj.weight", 4)
    return {
        "patch_size": (patch[0], patch[1]),
        "in_channels": channels,
        "num_classes": shape_of(shapes, "head.weight", 2)[0] if "head.weight" in shapes else 0,
        "embed_dim": dim,
        "depth": depth_of(shapes, "blocks"),
        "num_heads": 1,
        "mlp_dim": shape_of(shapes, "blocks.0.mlp.fc1.weight", 2)[0],
        "value_dim": shape_of(shapes, "blocks.0.value.weight", 2)[0],
        "pool": "avg",
        "qkv_bias": True,
    }


def recognise(shapes: Mapping[str, Shape], overrides: Overrides, hint: str) -> Recognition:
    """See `Architecture.recognise`."""
    facts = Facts(read(shapes, overrides), Candidates(), overrides)
    settle_image_size(facts, shape_of(shapes, "pos_embed", 3)[1], overrides)
    return facts.finish(SynthesizerConfig, Preprocessing())
