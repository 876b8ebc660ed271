"""torchvision's own VisionTransformer."""

from __future__ import annotations

from functools import partial

from vit_convert.architectures import ModelSpec
from vit_convert.checkpoint import Checkpoint
from vit_convert.dialects import Ledger
from vit_convert.errors import UsageError
from vit_convert.parity.sources.strict_loading import load_strictly
from vit_convert.parity.sources.timm_source import import_library
from vit_convert.parity.sources.watched import WatchedModel, as_torch


def build(spec: ModelSpec, checkpoint: Checkpoint, ledger: Ledger, features: bool) -> WatchedModel:
    """See `vit_convert.parity.sources.source_model`."""
    torchvision = import_library("torchvision")
    import torch

    config = spec.config
    if config.image_size[0] != config.image_size[1] or config.gelu != "erf":
        raise UsageError(
            "torchvision has no such model: its pictures are square, and its GELU is erf",
            hint="--reference with logits recorded elsewhere",
        )
    model = torchvision.models.VisionTransformer(
        image_size=config.image_size[0],
        patch_size=config.patch_size[0],
        num_layers=config.depth,
        num_heads=config.num_heads,
        hidden_dim=config.embed_dim,
        mlp_dim=config.mlp_dim,
        num_classes=config.num_classes or 1,
        norm_layer=partial(torch.nn.LayerNorm, eps=config.norm_eps),
    )
    state = {
        name.removeprefix(ledger.prefix): tensor
        for name, tensor in as_torch(checkpoint.tensors).items()
        if name not in ledger.ignored
    }
    if not config.num_classes:
        model.heads = torch.nn.Identity()
    load_strictly(model, state)
    if features:
        model.heads = torch.nn.Identity()

    def forward(images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = model(images)
        return logits

    versions = f"torchvision {torchvision.__version__} on PyTorch {torch.__version__}"
    blocks = dict(zip(spec.block_names()[1:], model.encoder.layers, strict=True))
    return WatchedModel(model, forward, blocks, f"{versions}, float32")
