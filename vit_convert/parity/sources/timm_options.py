"""The options of timm's models that follow from a configuration.

PyTorch and timm are imported when they are needed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from vit_convert.architectures import TransformerConfig, ViTConfig
from vit_convert.errors import UsageError

if TYPE_CHECKING:
    import torch

# timm's names of its activation layers
_ACTIVATIONS = {
    "erf": "gelu",
    "tanh": "gelu_tanh",
    "quick": "quick_gelu",
    "relu": "relu",
    "silu": "silu",
}


def common(config: TransformerConfig, num_classes: int) -> dict[str, Any]:
    """The options that all of timm's models have."""
    return {
        "img_size": config.image_size,
        "patch_size": config.patch_size,
        "in_chans": config.in_channels,
        "num_classes": num_classes,
        "embed_dim": config.embed_dim,
        "depth": config.depth,
        "num_heads": config.num_heads,
        "mlp_ratio": ratio(config.mlp_dim, config.embed_dim),
        "qkv_bias": config.qkv_bias,
        "norm_layer": norm_layer(config),
    }


def norm_layer(config: TransformerConfig) -> Callable[..., torch.nn.Module]:
    """What makes its norms, given their channels."""
    import torch
    from timm.layers import RmsNorm

    if isinstance(config, ViTConfig) and config.norm == "rms":
        return partial(RmsNorm, eps=config.norm_eps)
    bias = not isinstance(config, ViTConfig) or config.norm_bias
    return partial(torch.nn.LayerNorm, eps=config.norm_eps, bias=bias)


def activation(config: TransformerConfig) -> type[torch.nn.Module]:
    """The layer of its activation."""
    from timm.layers import get_act_layer

    return get_act_layer(_ACTIVATIONS[config.gelu])


def ratio(hidden: int, dim: int) -> float:
    """timm makes the hidden width int(dim * ratio); half a channel more cannot round down."""
    return (hidden + 0.5) / dim


def refuse(holds: bool, why: str) -> None:
    """Raises UsageError where something holds that no model of timm's has."""
    if holds:
        raise UsageError(
            f"timm has no such model: {why}", hint="--reference with logits recorded elsewhere"
        )


def mlp(config: ViTConfig) -> dict[str, Any]:
    """The kind of MLP, its activation and its width."""
    import torch
    from timm.layers import Mlp, SwiGLU, SwiGLUPacked

    if config.mlp == "plain":
        return {"mlp_layer": Mlp, "act_layer": activation(config)}
    packed = config.mlp == "swiglu-packed"
    return {
        "mlp_layer": SwiGLUPacked if packed else SwiGLU,
        "act_layer": torch.nn.SiLU,
        "mlp_ratio": ratio(config.mlp_dim * (2 if packed else 1), config.embed_dim),
    }


def with_own_layers(model: Any, config: ViTConfig) -> torch.nn.Module:
    """The model, with the layers that no option of timm's changes."""
    import torch

    projection = model.patch_embed.proj
    if (projection.bias is not None) != config.patch_bias:
        sizes = (config.in_channels, config.embed_dim, config.patch_size, config.patch_size)
        model.patch_embed.proj = torch.nn.Conv2d(*sizes, bias=config.patch_bias)
    if isinstance(model.head, torch.nn.Linear) and not config.head_bias:
        model.head = torch.nn.Linear(model.head.in_features, model.head.out_features, bias=False)
    return model


def attention_pool(config: ViTConfig) -> torch.nn.Module:
    """Attention pooling whose heads and MLP may differ from those of the blocks."""
    from timm.layers import AttentionPoolLatent

    return AttentionPoolLatent(
        config.embed_dim,
        num_heads=config.pool_heads or config.num_heads,
        mlp_ratio=ratio(config.pool_mlp_dim or config.mlp_dim, config.embed_dim),
        norm_layer=norm_layer(config),
        act_layer=activation(config),
    )
