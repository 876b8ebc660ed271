"""PyTorch's nn.TransformerEncoder, with what a ViT has around it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from vit_convert.architectures import ModelSpec
from vit_convert.checkpoint import Checkpoint
from vit_convert.dialects import Ledger
from vit_convert.parity.sources.strict_loading import load_strictly
from vit_convert.parity.sources.timm_source import import_library
from vit_convert.parity.sources.watched import WatchedModel, as_torch

if TYPE_CHECKING:
    import torch


def build(spec: ModelSpec, checkpoint: Checkpoint, ledger: Ledger, features: bool) -> WatchedModel:
    """See `vit_convert.parity.sources.source_model`."""
    import_library("torch")
    import torch

    config = spec.config
    state = {
        name.removeprefix(ledger.prefix): tensor
        for name, tensor in as_torch(checkpoint.tensors).items()
        if name not in ledger.ignored
    }
    nn = torch.nn
    activations: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "erf": nn.GELU(),
        "tanh": nn.GELU(approximate="tanh"),
        "relu": nn.ReLU(),
        "silu": nn.SiLU(),
        "quick": _quick_gelu,
    }
    layer = nn.TransformerEncoderLayer(
        config.embed_dim,
        config.num_heads,
        config.mlp_dim,
        activation=activations[config.gelu],
        layer_norm_eps=config.norm_eps,
        batch_first=True,
        norm_first=config.norm_position == "pre",
    )
    norm = nn.LayerNorm(config.embed_dim, eps=config.norm_eps) if config.final_norm else None
    model: Any = nn.Module()
    model.encoder = nn.TransformerEncoder(layer, config.depth, norm, enable_nested_tensor=False)
    size, channels = config.patch_size, config.in_channels
    unfolded = state["patch_embed.weight"].ndim == 2
    if unfolded:
        model.patch_embed = nn.Linear(channels * size[0] * size[1], config.embed_dim)
    else:
        model.patch_embed = nn.Conv2d(channels, config.embed_dim, size, size)
    for name in ("cls_token", "pos_embed"):
        if name in state:
            setattr(model, name, nn.Parameter(torch.zeros_like(state[name])))
    if config.num_classes:
        model.head = nn.Linear(config.embed_dim, config.num_classes)
    load_strictly(model, state)

    def forward(images: torch.Tensor) -> torch.Tensor:
        if unfolded:
            patches = nn.functional.unfold(images, size, stride=size)  # (n, values, patches)
            tokens = model.patch_embed(patches.transpose(1, 2))
        else:
            tokens = model.patch_embed(images).flatten(2).transpose(1, 2)
        if config.class_token:
            tokens = torch.cat([model.cls_token.expand(len(tokens), -1, -1), tokens], dim=1)
        tokens = model.encoder(tokens + model.pos_embed)
        pooled = tokens[:, 0] if config.pool == "token" else tokens.mean(dim=1)
        result: torch.Tensor = pooled if features else model.head(pooled)
        return result

    versions = f"nn.TransformerEncoder of PyTorch {torch.__version__}, float32"
    blocks = dict(zip(spec.block_names()[1:], model.encoder.layers, strict=True))
    return WatchedModel(model, forward, blocks, versions)


def _quick_gelu(x: torch.Tensor) -> torch.Tensor:
    return x * (1.702 * x).sigmoid()
