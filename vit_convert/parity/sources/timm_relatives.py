"""timm's models of what descends from the Vision Transformer with other positions: Beit and Eva.

PyTorch and timm are imported when they are needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vit_convert.architectures import ViTConfig
from vit_convert.architectures.vit.rotary import turns_neighbours
from vit_convert.parity.sources.timm_options import (
    activation,
    attention_pool,
    refuse,
    with_own_layers,
)

if TYPE_CHECKING:
    import torch


def beit(config: ViTConfig, options: dict[str, Any]) -> torch.nn.Module:
    """timm's Beit: all models with a relative position bias."""
    from timm.models.beit import Beit

    plain = {
        "position": ("none", "all"),
        "mlp": ("plain", "swiglu"),
        "pool": ("token", "avg"),
        "norm_position": ("pre",),
        "fc_norm": (not config.final_norm,),
    }
    others = (
        config.qk_norm,
        config.attn_norm,
        config.pre_norm,
        config.patch_norm,
        config.pool_prefix,
        not config.proj_bias,
        not config.mlp_bias,
        not config.mlp_layer_scale,
    )
    refuse(
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
            block.mlp.act = activation(config)()
    return model


def eva(config: ViTConfig, options: dict[str, Any], attention: str = "rope") -> torch.nn.Module:
    """timm's Eva: all models with rotary position embedding.

    Args:
        config: of the model.
        options: that all models of timm's have.
        attention: timm's `attn_type`; "rope", whose keys may have a bias, computes what "eva" does.
    """
    from timm.models.eva import Eva

    plain = {
        "distilled": (False,),
        "position": ("none", "all", "patches"),
        "pool": ("token", "avg", "max", "avgmax", "map"),
        "norm_position": ("pre",),
        "pool_prefix": (config.pool == "map" and config.num_prefix_tokens > 0,),
        "proj_bias": (True,),
        "mlp_bias": (True,),
        "patch_norm": (False,),
    }
    if config.pool == "map" and not config.num_prefix_tokens:
        plain["pool_prefix"] = (True, False)
    refuse(
        any(getattr(config, name) not in values for name, values in plain.items()),
        "its EVA has fewer options",
    )
    counts_patches = config.rotary in ("eva02", "pe")
    model = Eva(
        **options,
        attn_type=attention,
        class_token=config.class_token,
        num_reg_tokens=config.reg_tokens,
        no_embed_class=config.position == "patches",
        use_abs_pos_emb=config.position != "none",
        use_rot_pos_emb=True,
        rope_type=_ROPE_TYPES.get(config.rotary, "cat"),
        rope_rotate_half=not turns_neighbours(config.rotary),
        rope_grid_indexing="xy" if config.rotary in ("axial", "mixed", "pe") else "ij",
        rope_grid_offset=float(config.rotary == "pe" and config.num_prefix_tokens > 0),
        rope_temperature=config.rotary_base,
        ref_feat_shape=config.rotary_grid if counts_patches else None,
        qk_norm=config.qk_norm,
        scale_attn_inner=config.attn_norm,
        swiglu_mlp=config.mlp != "plain",
        swiglu_align_to=int(config.mlp == "swiglu"),  # then gate and value are two layers
        scale_mlp=config.mlp_norm,
        init_values=1.0 if config.layer_scale else None,
        attn_only_layer_scale=not config.mlp_layer_scale,
        global_pool=config.pool,
        use_pre_transformer_norm=config.pre_norm,
        use_post_transformer_norm=config.final_norm,
        use_fc_norm=config.fc_norm,
    )
    if config.pool == "map":
        model.attn_pool = attention_pool(config)
    if config.mlp == "plain":
        for block in model.blocks:
            block.mlp.act = activation(config)()
    return with_own_layers(model, config)


_ROPE_TYPES = {"dinov3": "dinov3", "mixed": "mixed"}
