"""The options of a new model, for type checkers: they know which there are, and their types.

A test compares them with the fields of all configurations and of `Preprocessing`.
"""

from __future__ import annotations

from typing import Literal, TypedDict

from vit_convert.architectures.base import (
    CropMode,
    DepthActivation,
    Gelu,
    Interpolation,
    NormKind,
    NormPosition,
    Pool,
    Position,
    Rotary,
)
from vit_convert.architectures.dense.config import Fusion, Head, Readout


class TrainingOptions(TypedDict, total=False):
    """What a model does in training alone; see `TransformerConfig`."""

    drop_rate: float
    attn_drop_rate: float
    drop_path_rate: float


class ModelOptions(TrainingOptions, total=False):
    """What a model is, and how its pictures are prepared.

    See `TransformerConfig`, `ViTConfig`, `DenseConfig`, `CaiTConfig` and `Preprocessing`.
    """

    image_size: int | tuple[int, int]
    patch_size: int | tuple[int, int]
    in_channels: int
    num_classes: int
    embed_dim: int
    depth: int
    num_heads: int
    mlp_dim: int
    qkv_bias: bool
    gelu: Gelu
    norm_eps: float
    pool: Pool
    # of a ViT
    class_token: bool
    distilled: bool
    reg_tokens: int
    position: Position
    rel_pos: Literal["none", "blocks", "shared"]
    rotary: Rotary
    rotary_base: float
    rotary_grid: int | tuple[int, int]
    norm: NormKind
    norm_bias: bool
    patch_bias: bool
    patch_norm: bool
    pre_norm: bool
    norm_position: NormPosition
    parallel: int
    qk_norm: bool
    attn_norm: bool
    proj_bias: bool
    mlp: Literal["plain", "swiglu", "swiglu-packed"]
    mlp_bias: bool
    mlp_norm: bool
    layer_scale: bool
    mlp_layer_scale: bool
    final_norm: bool
    fc_norm: bool
    pool_prefix: bool
    pool_heads: int | None
    pool_mlp_dim: int | None
    head_bias: bool
    projection: int
    unit_features: bool
    # of a ViT with a dense head
    head: Head
    head_norm: bool
    taps: tuple[int, ...]
    readout: Readout
    neck_dims: tuple[int, ...]
    neck_factors: tuple[float, ...]
    fusion_dim: int
    fusion: Fusion
    fusion_norm: bool
    fusion_bias: bool
    head_projection: bool
    head_hidden: int
    depth_activation: DepthActivation
    max_depth: float
    # of a CaiT
    depth_token_only: int
    mlp_dim_token_only: int
    # of the pictures
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: Interpolation
    crop_pct: float
    crop_mode: CropMode
