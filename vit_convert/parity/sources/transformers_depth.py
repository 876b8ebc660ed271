"""Models for depth, in Hugging Face transformers: its own checkpoints, and Depth Anything's by its
authors' names, which are renamed as transformers' convert_depth_anything_to_hf.py does it.

transformers resamples position embeddings itself, so that these run at any size.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from vit_convert.architectures import ModelSpec
from vit_convert.architectures.dense.config import DenseConfig
from vit_convert.checkpoint import Checkpoint
from vit_convert.dialects import Ledger
from vit_convert.errors import UsageError
from vit_convert.hf_config.depth_config import DEPTH_MODELS
from vit_convert.parity.sources.timm_source import import_library
from vit_convert.parity.sources.transformers_models import ACTIVATIONS, loaded, read_config
from vit_convert.parity.sources.watched import WatchedModel, as_torch

if TYPE_CHECKING:
    import torch

_OWN_NAMES = "depth-anything"
# of a block, and then of the rest: what the authors' script replaces, in its order
_IN_BLOCKS = {
    r"^pretrained\.blocks\.": "backbone.encoder.layer.",
    r"\.attn\.proj\.": ".attention.output.dense.",
    r"\.ls([12])\.gamma$": r".layer_scale\1.lambda1",
}
_OTHERS = {
    r"^pretrained\.(cls_token|mask_token|register_tokens)$": r"backbone.embeddings.\1",
    r"^pretrained\.pos_embed$": "backbone.embeddings.position_embeddings",
    r"^pretrained\.patch_embed\.proj\.": "backbone.embeddings.patch_embeddings.projection.",
    r"^pretrained\.norm\.": "backbone.layernorm.",
    r"^depth_head\.projects\.(\d)\.": r"neck.reassemble_stage.layers.\1.projection.",
    r"^depth_head\.resize_layers\.(\d)\.": r"neck.reassemble_stage.layers.\1.resize.",
    r"^depth_head\.scratch\.output_conv1\.": "head.conv1.",
    r"^depth_head\.scratch\.output_conv2\.0\.": "head.conv2.",
    r"^depth_head\.scratch\.output_conv2\.2\.": "head.conv3.",
    r"\.out_conv\.": ".projection.",
    r"\.resConfUnit([12])\.conv([12])\.": r".residual_layer\1.convolution\2.",
}


def build(spec: ModelSpec, checkpoint: Checkpoint, ledger: Ledger, features: bool) -> WatchedModel:
    """See `vit_convert.parity.sources.source_model`."""
    import_library("torchvision")  # before transformers, which imports it its own way
    transformers = import_library("transformers")
    import torch

    own = ledger.dialect.name == _OWN_NAMES
    config: Any = None if own else read_config(checkpoint)
    if getattr(config, "model_type", "") not in DEPTH_MODELS:
        config = _config(spec, ledger)
    kind = "DPT" if config.model_type == "dpt" else "DepthAnything"
    state = {
        name.removeprefix(ledger.prefix): tensor
        for name, tensor in as_torch(checkpoint.tensors, without=ledger.ignored).items()
    }
    left_out = {name.removeprefix(ledger.prefix) for name in ledger.ignored}
    if own:
        state = {
            new: value
            for name, tensor in state.items()
            for new, value in transformers_name(name, tensor).items()
        }
        left_out = {*map(_new_name, left_out)}
    model_class = getattr(transformers, f"{kind}ForDepthEstimation")
    model = loaded(model_class, config, state, left_out, {})

    def forward(images: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = model(pixel_values=images).predicted_depth
        return result

    versions = f"transformers {transformers.__version__} on PyTorch {torch.__version__}, float32"
    blocks = dict(zip(spec.block_names()[1:], _blocks(model), strict=True))
    return WatchedModel(model, forward, blocks, versions)


def dense(spec: ModelSpec, num_classes: int) -> torch.nn.Module:
    """See `Architecture.source_model`.

    Raises:
        UsageError: always: PyTorch has no model for depth with canonical names.
    """
    raise UsageError(
        "a model for depth is run in transformers, by the names that transformers or its authors "
        "gave it",
        where=spec.source.file,
        expected="a checkpoint of transformers, or Depth Anything's own",
    )


def _blocks(model: Any) -> list[Any]:
    encoder = getattr(model, "backbone", None) or model.dpt
    return list(encoder.encoder.layer)


def _config(spec: ModelSpec, ledger: Ledger) -> Any:
    """What config.json would say, from the converted model."""
    transformers = import_library("transformers")
    config: DenseConfig = spec.config
    head = {
        "reassemble_factors": [f if f < 1 else int(f) for f in config.neck_factors],
        "neck_hidden_sizes": list(config.neck_dims),
        "fusion_hidden_size": config.fusion_dim,
    }
    dpt = {
        **head,
        "readout_type": config.readout,
        "add_projection": config.head_projection,
        "use_batch_norm_in_fusion_residual": config.fusion_norm,
        "use_bias_in_fusion_residual": config.fusion_bias,
    }
    if ledger.dialect.name == "transformers-dpt":
        return transformers.DPTConfig(
            **_sizes(spec, ledger),
            **dpt,
            intermediate_size=config.mlp_dim,
            backbone_out_indices=list(config.taps),
        )
    backbone = dinov2_config(
        spec, ledger, out_indices=[tap + 1 for tap in config.taps], reshape_hidden_states=False
    )
    if config.fusion == "double":
        return transformers.DPTConfig(backbone_config=backbone, **dpt)
    return transformers.DepthAnythingConfig(
        backbone_config=backbone,
        **head,
        patch_size=config.patch_size[0],
        reassemble_hidden_size=config.embed_dim,
        head_hidden_size=config.head_hidden,
        depth_estimation_type="relative" if config.depth_activation == "relu" else "metric",
        max_depth=int(config.max_depth),
    )


def dinov2_config(spec: ModelSpec, ledger: Ledger, **options: Any) -> Any:
    """transformers' configuration of a DINOv2, with registers where it has some."""
    config, transformers = spec.config, import_library("transformers")
    swiglu = config.mlp == "swiglu-packed"
    kind = transformers.Dinov2Config
    if config.reg_tokens:
        kind = transformers.Dinov2WithRegistersConfig
        options["num_register_tokens"] = config.reg_tokens
    return kind(
        **_sizes(spec, ledger),
        use_swiglu_ffn=swiglu,
        mlp_ratio=round(config.mlp_dim * (1.5 if swiglu else 1) / config.embed_dim),
        **options,
    )


def _sizes(spec: ModelSpec, ledger: Ledger) -> dict[str, Any]:
    """What both kinds of backbones are configured by; the size is the one of the checkpoint's
    position embedding, which transformers takes for a square."""
    config = spec.config
    positions = ledger.tensors["pos_embed"].shape[1] - config.num_positioned_prefix_tokens
    return {
        "hidden_size": config.embed_dim,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.num_heads,
        "image_size": math.isqrt(positions) * config.patch_size[0],
        "patch_size": config.patch_size[0],
        "num_channels": config.in_channels,
        "hidden_act": ACTIVATIONS[config.gelu],
        "layer_norm_eps": config.norm_eps,
        "qkv_bias": config.qkv_bias,
    }


def transformers_name(name: str, tensor: torch.Tensor) -> dict[str, torch.Tensor]:
    """A tensor by Depth Anything's own name -> transformers' name and tensor, or three."""
    if match := re.fullmatch(r"pretrained\.blocks\.(\d+)\.attn\.qkv\.(\w+)", name):
        layer = f"backbone.encoder.layer.{match[1]}.attention.attention"
        parts = zip(("query", "key", "value"), tensor.chunk(3), strict=True)
        return {f"{layer}.{part}.{match[2]}": rows for part, rows in parts}
    return {_new_name(name): tensor}


def _new_name(name: str) -> str:
    if match := re.match(r"depth_head\.scratch\.layer(\d)_rn\.", name):
        return f"neck.convs.{int(match[1]) - 1}.weight"
    if match := re.match(r"depth_head\.scratch\.refinenet(\d)", name):
        name = f"neck.fusion_stage.layers.{4 - int(match[1])}{name[match.end() :]}"
    for pattern, text in (_IN_BLOCKS | _OTHERS).items():
        name = re.sub(pattern, text, name)
    return name.replace(".w12.", ".weights_in.").replace(".w3.", ".weights_out.")
