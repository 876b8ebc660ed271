"""A DINOv2 with a linear head for segmentation: transformers' Dinov2Model, or
Dinov2WithRegistersModel, and PyTorch's layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vit_convert.architectures import ModelSpec
from vit_convert.architectures.parameters import BATCH_NORM
from vit_convert.checkpoint import Checkpoint
from vit_convert.dialects import Ledger
from vit_convert.parity.sources.timm_source import import_library
from vit_convert.parity.sources.transformers_depth import dinov2_config, transformers_name
from vit_convert.parity.sources.transformers_models import loaded
from vit_convert.parity.sources.watched import WatchedModel, as_torch

if TYPE_CHECKING:
    import torch

_BACKBONES = ("dinov2.", "backbone.")


def build(spec: ModelSpec, checkpoint: Checkpoint, ledger: Ledger, features: bool) -> WatchedModel:
    """See `vit_convert.parity.sources.source_model`."""
    import_library("torchvision")  # before transformers, which imports it its own way
    transformers = import_library("transformers")
    import torch

    own = ledger.dialect.name == "dinov2-segmentation"
    backbone: dict[str, torch.Tensor] = {}
    head: dict[str, torch.Tensor] = {}
    for name, tensor in as_torch(checkpoint.tensors, without=ledger.ignored).items():
        name = name.removeprefix(ledger.prefix)
        start = next((b for b in _BACKBONES if name.startswith(b)), None)
        if start is None:
            head[".".join(name.split(".")[-2:])] = tensor
        elif own:
            found = transformers_name(f"pretrained.{name.removeprefix(start)}", tensor)
            backbone |= {n.removeprefix("backbone."): value for n, value in found.items()}
        else:
            backbone[name.removeprefix(start)] = tensor
    kind = transformers.Dinov2Model
    if spec.config.reg_tokens:
        kind = transformers.Dinov2WithRegistersModel
    model = loaded(kind, dinov2_config(spec, ledger), backbone, set(), {})
    scores = torch.nn.Conv2d(spec.config.embed_dim, spec.config.num_classes, 1)
    norm: Any = torch.nn.Identity()
    if spec.config.head_norm:
        norm = torch.nn.BatchNorm2d(spec.config.embed_dim)
        norm.load_state_dict({n: head[f"bn.{n}"] for n in BATCH_NORM}, strict=False)
    layer = "conv_seg" if own else "classifier"
    scores.load_state_dict({n: head[f"{layer}.{n}"] for n in ("weight", "bias")})
    norm.eval()

    def forward(images: torch.Tensor) -> torch.Tensor:
        rows, columns = spec.config.grid
        patches = model(pixel_values=images).last_hidden_state
        patches = patches[:, spec.config.num_prefix_tokens :]
        picture = patches.reshape(len(images), rows, columns, -1).permute(0, 3, 1, 2)
        result = torch.nn.functional.interpolate(
            scores(norm(picture)), size=images.shape[2:], mode="bilinear", align_corners=False
        )
        return result.permute(0, 2, 3, 1)

    versions = f"transformers {transformers.__version__} on PyTorch {torch.__version__}, float32"
    blocks = dict(zip(spec.block_names()[1:], model.encoder.layer, strict=True))
    return WatchedModel(model, forward, blocks, versions)
