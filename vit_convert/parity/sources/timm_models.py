"""The models that run sources under canonical names: timm's own for a ViT and a CaiT.

Where timm has no such block (a norm after the addition), it is PyTorch's TransformerEncoderLayer.
PyTorch and timm are imported when they are needed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from vit_convert.architectures import CaiTConfig, ModelSpec, ViTConfig
from vit_convert.parity.sources.timm_options import (
    activation,
    attention_pool,
    common,
    mlp,
    ratio,
    refuse,
    with_own_layers,
)
from vit_convert.parity.sources.timm_relatives import beit, eva

if TYPE_CHECKING:
    import torch

State = dict[str, "torch.Tensor"]


def vit(spec: ModelSpec, num_classes: int) -> torch.nn.Module:
    """timm's model of a Vision Transformer: VisionTransformer, Beit, Eva or a distilled DeiT."""
    config: ViTConfig = spec.config
    refuse(config.projection > 0 or config.unit_features, "features go to the head as they are")
    options = common(config, num_classes)
    if config.rotary != "none":
        return eva(config, options)
    if config.rel_pos != "none":
        return beit(config, options)
    return _vit(config, options)


def cait(spec: ModelSpec, num_classes: int) -> torch.nn.Module:
    """timm's Cait."""
    from timm.models.cait import Cait

    config: CaiTConfig = spec.config
    return Cait(
        **common(config, num_classes),
        act_layer=activation(config),
        depth_token_only=config.depth_token_only,
        mlp_ratio_token_only=ratio(config.mlp_dim_token_only, config.embed_dim),
    )


def own_state(model: torch.nn.Module, state: State) -> State:
    """Canonical tensors under the model's own names, where it is timm's or PyTorch's and calls them
    otherwise."""
    wanted = model.state_dict()
    renamed: State = {}
    for name, tensor in state.items():
        block, _, inner = name.rpartition(".attn.qkv.bias")
        if f"{block}.attn.q_bias" in wanted and not inner:
            queries, _, values = tensor.chunk(3)  # BEiT's keys have no bias
            renamed |= {f"{block}.attn.q_bias": queries, f"{block}.attn.v_bias": values}
            continue
        match = re.fullmatch(r"(blocks\.\d+\.)(.+)", name)
        other = match[1] + _INNER.get(match[2], match[2]) if match else name
        renamed[other if other in wanted else name] = tensor
    if "reg_token" in wanted and "pos_embed" in wanted and "cls_token" in wanted:
        position, token = renamed["pos_embed"], renamed["cls_token"]
        if position.shape[1] == wanted["pos_embed"].shape[1] + 1:  # timm adds the two beforehand
            renamed |= {"cls_token": token + position[:, :1], "pos_embed": position[:, 1:]}
    return renamed


# what is called otherwise inside a block of Beit, and of PyTorch's TransformerEncoderLayer
_INNER = {
    "ls1.gamma": "gamma_1",
    "ls2.gamma": "gamma_2",
    "attn.qkv.weight": "self_attn.in_proj_weight",
    "attn.qkv.bias": "self_attn.in_proj_bias",
    "attn.proj.weight": "self_attn.out_proj.weight",
    "attn.proj.bias": "self_attn.out_proj.bias",
    "mlp.fc1.weight": "linear1.weight",
    "mlp.fc1.bias": "linear1.bias",
    "mlp.fc2.weight": "linear2.weight",
    "mlp.fc2.bias": "linear2.bias",
}


def _vit(config: ViTConfig, options: dict[str, Any]) -> torch.nn.Module:
    refuse(
        config.final_norm and config.fc_norm,
        "its norm stands before or after pooling",
    )
    refuse(config.distilled and config.pool != "token", "DeiT's two heads read the two tokens")
    refuse(not config.mlp_layer_scale, "LayerScale follows attention and MLPs")
    refuse(config.proj_bias != config.mlp_bias, "its projections and MLPs have biases, or have not")
    options |= {
        "class_token": config.class_token,
        "reg_tokens": config.reg_tokens,
        "no_embed_class": config.position in ("class", "patches"),
        "proj_bias": config.proj_bias,
        "embed_norm_layer": options["norm_layer"] if config.patch_norm else None,
        "pos_embed": "none" if config.position == "none" else "learn",
        "pre_norm": config.pre_norm,
        "qk_norm": config.qk_norm,
        "scale_attn_norm": config.attn_norm,
        "scale_mlp_norm": config.mlp_norm,
        "global_pool": config.pool,
        "pool_include_prefix": config.pool_prefix,
        "init_values": 1.0 if config.layer_scale else None,
        "fc_norm": config.fc_norm,
        "final_norm": config.final_norm or config.fc_norm,
        "block_fn": _block(config),
        **mlp(config),
    }
    if config.distilled:
        from timm.models.deit import VisionTransformerDistilled

        return VisionTransformerDistilled(**options)
    from timm.models.vision_transformer import VisionTransformer

    model = VisionTransformer(**options)
    if config.pool == "map":
        model.attn_pool = attention_pool(config)
    return with_own_layers(model, config)


def _block(config: ViTConfig) -> Callable[..., torch.nn.Module]:
    from timm.models.vision_transformer import Block, ParallelThingsBlock, ResPostBlock

    if config.norm_position == "post":
        return partial(_encoder_layer, config)
    if config.parallel > 1:
        return partial(ParallelThingsBlock, num_parallel=config.parallel)
    return ResPostBlock if config.norm_position == "res-post" else Block


def _encoder_layer(config: ViTConfig, **options: Any) -> torch.nn.Module:
    """A block that PyTorch has and timm has not."""
    import torch

    plain = {
        "qk_norm": False,
        "attn_norm": False,
        "mlp": "plain",
        "mlp_norm": False,
        "norm": "layer",
        "norm_bias": True,
        "qkv_bias": True,
        "proj_bias": True,
        "mlp_bias": True,
    }
    refuse(
        any(getattr(config, name) != value for name, value in plain.items()),
        "PyTorch's TransformerEncoderLayer has a plain attention and MLP",
    )
    return torch.nn.TransformerEncoderLayer(
        config.embed_dim,
        config.num_heads,
        config.mlp_dim,
        activation=activation(config)(),
        layer_norm_eps=config.norm_eps,
        batch_first=True,
        norm_first=False,
    )
