"""The models that run sources under canonical names: timm's own for a ViT and a CaiT.

Where timm has no such block (a norm after the addition), it is PyTorch's TransformerEncoderLayer.
PyTorch and timm are imported when they are needed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from vit_convert.architectures import CaiTConfig, ModelSpec, TransformerConfig, ViTConfig
from vit_convert.errors import UsageError

if TYPE_CHECKING:
    import torch

State = dict[str, "torch.Tensor"]

# timm's names of its activation layers
_ACTIVATIONS = {"erf": "gelu", "tanh": "gelu_tanh", "quick": "quick_gelu", "relu": "relu"}


def vit(spec: ModelSpec, num_classes: int) -> torch.nn.Module:
    """timm's model of a Vision Transformer: VisionTransformer, Beit, Eva or a distilled DeiT."""
    config: ViTConfig = spec.config
    options = _options(config, num_classes)
    if config.rotary != "none":
        return _eva(config, options)
    if config.rel_pos != "none":
        return _beit(config, options)
    return _vit(config, options)


def cait(spec: ModelSpec, num_classes: int) -> torch.nn.Module:
    """timm's Cait."""
    from timm.models.cait import Cait

    config: CaiTConfig = spec.config
    return Cait(
        **_options(config, num_classes),
        act_layer=_activation(config),
        depth_token_only=config.depth_token_only,
        mlp_ratio_token_only=_ratio(config.mlp_dim_token_only, config.embed_dim),
    )


def own_state(model: torch.nn.Module, state: State) -> State:
    """Canonical tensors under the model's own names, where it is timm's or PyTorch's and calls them
    otherwise."""
    wanted = model.state_dict()
    renamed: State = {}
    for name, tensor in state.items():
        block, _, inner = name.rpartition(".attn.qkv.bias")
        if f"{block}.attn.q_bias" in wanted and not inner:
            queries, keys, values = tensor.chunk(3)  # BEiT's keys have no bias
            _refuse(hasattr(model, "rope") and bool(keys.any()), "its EVA's keys have no bias")
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


def _options(config: TransformerConfig, num_classes: int) -> dict[str, Any]:
    """The options that all of timm's models have."""
    import torch

    return {
        "img_size": config.image_size,
        "patch_size": config.patch_size,
        "in_chans": config.in_channels,
        "num_classes": num_classes,
        "embed_dim": config.embed_dim,
        "depth": config.depth,
        "num_heads": config.num_heads,
        "mlp_ratio": _ratio(config.mlp_dim, config.embed_dim),
        "qkv_bias": config.qkv_bias,
        "norm_layer": partial(torch.nn.LayerNorm, eps=config.norm_eps),
    }


def _activation(config: TransformerConfig) -> type[torch.nn.Module]:
    from timm.layers import get_act_layer

    return get_act_layer(_ACTIVATIONS[config.gelu])


def _ratio(hidden: int, dim: int) -> float:
    """timm makes the hidden width int(dim * ratio); half a channel more cannot round down."""
    return (hidden + 0.5) / dim


def _refuse(holds: bool, why: str) -> None:
    if holds:
        raise UsageError(
            f"timm has no such model: {why}", hint="--reference with logits recorded elsewhere"
        )


def _vit(config: ViTConfig, options: dict[str, Any]) -> torch.nn.Module:
    import torch

    _refuse(
        config.final_norm and config.fc_norm,
        "its norm stands before or after pooling",
    )
    _refuse(config.distilled and config.pool != "token", "DeiT's two heads read the two tokens")
    options |= {
        "class_token": config.class_token,
        "reg_tokens": config.reg_tokens,
        "no_embed_class": config.position in ("class", "patches"),
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
        **_mlp(config),
    }
    if config.distilled:
        from timm.models.deit import VisionTransformerDistilled

        return VisionTransformerDistilled(**options)
    from timm.models.vision_transformer import VisionTransformer

    model = VisionTransformer(**options)
    if options["num_classes"] and not config.head_bias:
        model.head = torch.nn.Linear(config.embed_dim, options["num_classes"], bias=False)
    if config.patch_bias == config.pre_norm:  # timm has a bias there unless it has a norm
        sizes = (config.in_channels, config.embed_dim, config.patch_size, config.patch_size)
        model.patch_embed.proj = torch.nn.Conv2d(*sizes, bias=config.patch_bias)
    return model


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

    plain = (config.qk_norm, config.attn_norm, config.mlp, config.mlp_norm)
    _refuse(
        plain != (False, False, "plain", False) or not options["qkv_bias"],
        "PyTorch's TransformerEncoderLayer has a plain attention and MLP",
    )
    return torch.nn.TransformerEncoderLayer(
        config.embed_dim,
        config.num_heads,
        config.mlp_dim,
        activation=_activation(config)(),
        layer_norm_eps=config.norm_eps,
        batch_first=True,
        norm_first=False,
    )


def _mlp(config: ViTConfig) -> dict[str, Any]:
    """The kind of MLP, its activation and its width."""
    import torch
    from timm.layers import Mlp, SwiGLU, SwiGLUPacked

    if config.mlp == "plain":
        return {"mlp_layer": Mlp, "act_layer": _activation(config)}
    packed = config.mlp == "swiglu-packed"
    return {
        "mlp_layer": SwiGLUPacked if packed else SwiGLU,
        "act_layer": torch.nn.SiLU,
        "mlp_ratio": _ratio(config.mlp_dim * (2 if packed else 1), config.embed_dim),
    }


def _beit(config: ViTConfig, options: dict[str, Any]) -> torch.nn.Module:
    from timm.models.beit import Beit

    plain = {
        "position": ("none", "all"),
        "mlp": ("plain", "swiglu"),
        "pool": ("token", "avg"),
        "norm_position": ("pre",),
        "fc_norm": (not config.final_norm,),
    }
    others = (config.qk_norm, config.attn_norm, config.pre_norm, config.pool_prefix)
    _refuse(
        any(others) or any(getattr(config, k) not in v for k, v in plain.items()),
        "its BEiT has fewer options",
    )
    model = Beit(
        **options,
        use_abs_pos_emb=config.position == "all",
        use_rel_pos_bias=config.rel_pos == "blocks",
        use_shared_rel_pos_bias=config.rel_pos == "shared",
        init_values=1.0 if config.layer_scale else None,
        global_pool=config.pool,
        use_fc_norm=config.fc_norm,
        swiglu_mlp=config.mlp == "swiglu",
        scale_mlp=config.mlp_norm,
    )
    if config.mlp == "plain":
        for block in model.blocks:
            block.mlp.act = _activation(config)()
    return model


def _eva(config: ViTConfig, options: dict[str, Any]) -> torch.nn.Module:
    import torch
    from timm.models.eva import Eva

    plain = {
        "position": ("none", "all", "patches"),
        "pool": ("token", "avg", "max", "avgmax"),
        "norm_position": ("pre",),
        "pre_norm": (not config.patch_bias,),
    }
    _refuse(
        config.distilled
        or config.pool_prefix
        or any(getattr(config, k) not in v for k, v in plain.items()),
        "its EVA has fewer options",
    )
    dinov3 = config.rotary == "dinov3"
    model = Eva(
        **options,
        class_token=config.class_token,
        num_reg_tokens=config.reg_tokens,
        no_embed_class=config.position == "patches",
        use_abs_pos_emb=config.position != "none",
        use_rot_pos_emb=True,
        rope_type="dinov3" if dinov3 else "cat",
        rope_rotate_half=dinov3,
        rope_temperature=config.rotary_base,
        ref_feat_shape=config.rotary_grid,
        qk_norm=config.qk_norm,
        scale_attn_inner=config.attn_norm,
        swiglu_mlp=config.mlp != "plain",
        swiglu_align_to=int(config.mlp == "swiglu"),  # then gate and value are two layers
        scale_mlp=config.mlp_norm,
        init_values=1.0 if config.layer_scale else None,
        global_pool=config.pool,
        use_pre_transformer_norm=config.pre_norm,
        use_post_transformer_norm=config.final_norm,
        use_fc_norm=config.fc_norm,
    )
    if options["num_classes"] and not config.head_bias:
        model.head = torch.nn.Linear(config.embed_dim, options["num_classes"], bias=False)
    if config.mlp == "plain":
        for block in model.blocks:
            block.mlp.act = _activation(config)()
    return model
