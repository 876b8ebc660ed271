"""timm's names, the canonical ones; DeiT's and CaiT's own repositories use them too.

Older ViT checkpoints call LayerScale `gamma_1` and `gamma_2` (timm before 0.6, DeiT III), and so do
BEiT's and EVA's, whose q and v alone have a bias. The larger EVA-02 keep q, k and v apart."""

from __future__ import annotations

from vit_convert.architectures.vit.rotary import KINDS
from vit_convert.dialects.attention_transforms import BIAS_WITHOUT_KEYS, GROUPED_QUERIES
from vit_convert.dialects.beside_the_tower import OPEN_CLIP
from vit_convert.dialects.rules import Dialect, Ignore, Rule, joining, renamed, same
from vit_convert.dialects.transforms import joined

# what ViT and CaiT have in common, but for the blocks
_AROUND = same("cls_token", "pos_embed", "patch_embed.proj.{leaf}", "norm.{leaf}", "head.{leaf}")
_BLOCK = (
    "norm1.{leaf}",
    "attn.qkv.{leaf}",
    "attn.proj.{leaf}",
    "norm2.{leaf}",
    "mlp.fc1.{leaf}",
    "mlp.fc2.{leaf}",
)
_OPTIONS = (  # of a ViT's attention and MLP
    "attn.q_norm.{leaf}",
    "attn.k_norm.{leaf}",
    "attn.norm.{leaf}",
    "attn.relative_position_bias_table",
    "mlp.fc1_g.{leaf}",
    "mlp.fc1_x.{leaf}",
    "mlp.norm.{leaf}",
)
_TOWER = {"visual.trunk.": OPEN_CLIP}  # open_clip's timm_model.py
_SHARED = same(*(f"blocks.{{i}}.{name}" for name in _BLOCK))
_VIT = (
    *_AROUND,
    *same(
        "dist_token",
        "reg_token",
        "patch_embed.norm.{leaf}",
        "norm_pre.{leaf}",
        "rope.freqs",
        "rel_pos_bias.relative_position_bias_table",
        "attn_pool.latent",
        "attn_pool.q.{leaf}",
        "attn_pool.kv.{leaf}",
        "attn_pool.proj.{leaf}",
        "attn_pool.norm.{leaf}",
        "attn_pool.mlp.fc1.{leaf}",
        "attn_pool.mlp.fc2.{leaf}",
        "fc_norm.{leaf}",
        "head_dist.{leaf}",
        *(f"blocks.{{i}}.{name}" for name in _OPTIONS),
        *(  # parallel blocks
            f"blocks.{{i}}.{group}.{{j}}.{name}"
            for group, module in (("attns", "attn."), ("ffns", "mlp."))
            for name in ("norm.{leaf}", "ls.gamma", *_BLOCK, *_OPTIONS)
            if name.startswith((module, "norm.", "ls."))
        ),
    ),
)
_WITHOUT_QKV = same(*(f"blocks.{{i}}.{name}" for name in _BLOCK if "qkv" not in name))
_OLD_LAYER_SCALE = (
    renamed("blocks.{i}.gamma_1", "blocks.{i}.ls1.gamma"),
    renamed("blocks.{i}.gamma_2", "blocks.{i}.ls2.gamma"),
)
_MASK = Ignore("mask_token", "stands for masked patches in pre-training only")
_INDEX = "is computed from the number of patches"

TIMM_VIT = Dialect(
    name="timm",
    architecture="vit",
    rotary=KINDS,
    title="timm's VisionTransformer",
    beside=_TOWER,
    marker="patch_embed.proj.weight",
    rules=(*_VIT, *_SHARED, *same("blocks.{i}.ls1.gamma", "blocks.{i}.ls2.gamma")),
    ignored=(_MASK,),
)

TIMM_VIT_OLD_LAYER_SCALE = Dialect(
    name="timm-gamma",
    architecture="vit",
    rotary=KINDS,
    title="timm's VisionTransformer, LayerScale as gamma_1 and gamma_2",
    beside=_TOWER,
    marker="blocks.0.attn.qkv.weight",
    rules=(*_VIT, *_SHARED, *_OLD_LAYER_SCALE),
)

TIMM_BEIT = Dialect(
    name="timm-beit",
    architecture="vit",
    rotary=KINDS,
    title="timm's Beit, or its Eva with a fused qkv",
    beside=_TOWER,
    marker="blocks.0.attn.q_bias",
    rules=(
        *_VIT,
        *same("blocks.{i}.attn.qkv.weight"),
        *_WITHOUT_QKV,
        *_OLD_LAYER_SCALE,
        joining(
            ("blocks.{i}.attn.q_bias", "blocks.{i}.attn.v_bias"),
            "blocks.{i}.attn.qkv.bias",
            BIAS_WITHOUT_KEYS,
        ),
    ),
    ignored=(
        _MASK,
        Ignore("blocks.{i}.attn.relative_position_index", _INDEX),
        Ignore("rel_pos_bias.relative_position_index", _INDEX),
        Ignore("lm_head.{leaf}", "predicts masked patches, in pre-training only"),
    ),
)

TIMM_EVA = Dialect(
    name="timm-eva",
    architecture="vit",
    rotary=KINDS,
    title="timm's Eva, q, k and v apart",
    beside=_TOWER,
    marker="blocks.0.attn.q_proj.weight",
    rules=(
        *_VIT,
        *_WITHOUT_QKV,
        *_OLD_LAYER_SCALE,
        joining(
            [f"blocks.{{i}}.attn.{part}_proj.weight" for part in "qkv"],
            "blocks.{i}.attn.qkv.weight",
            joined(3),
        ),
        joining(
            ("blocks.{i}.attn.q_proj.bias", "blocks.{i}.attn.v_proj.bias"),
            "blocks.{i}.attn.qkv.bias",
            BIAS_WITHOUT_KEYS,
        ),
    ),
    ignored=(_MASK,),
    refused=(Ignore("blocks.{i}.attn.gate.{leaf}", "gated attention is not supported"),),
)

_ATTENTION = "blocks.{i}.attn."
TIMM_GROUPED = Dialect(
    name="timm-grouped",
    architecture="vit",
    rotary=KINDS,
    title="timm's Eva with grouped-query attention (Sapiens2)",
    marker="blocks.0.attn.k_proj.bias",
    rules=(
        *(rule for rule in _VIT if rule.sources != (f"{_ATTENTION}q_norm.{{leaf}}",)),
        *_WITHOUT_QKV,
        *_OLD_LAYER_SCALE,
        Rule(
            (
                *(f"{_ATTENTION}{q}_proj.{leaf}" for leaf in ("weight", "bias") for q in "qkv"),
                f"{_ATTENTION}q_norm.weight",
            ),
            tuple(f"{_ATTENTION}{name}" for name in ("qkv.weight", "qkv.bias", "q_norm.weight")),
            GROUPED_QUERIES,
        ),
        *same(f"{_ATTENTION}q_norm.bias"),
    ),
    ignored=(_MASK,),
)

TIMM_CAIT = Dialect(
    name="timm",
    architecture="cait",
    title="timm's Cait",
    marker="blocks_token_only.0.attn.q.weight",
    rules=(
        *_AROUND,
        *_SHARED,
        *same(
            "blocks.{i}.gamma_1",
            "blocks.{i}.gamma_2",
            "blocks.{i}.attn.proj_l.{leaf}",
            "blocks.{i}.attn.proj_w.{leaf}",
            "blocks_token_only.{i}.gamma_1",
            "blocks_token_only.{i}.gamma_2",
            "blocks_token_only.{i}.norm1.{leaf}",
            "blocks_token_only.{i}.attn.q.{leaf}",
            "blocks_token_only.{i}.attn.k.{leaf}",
            "blocks_token_only.{i}.attn.v.{leaf}",
            "blocks_token_only.{i}.attn.proj.{leaf}",
            "blocks_token_only.{i}.norm2.{leaf}",
            "blocks_token_only.{i}.mlp.fc1.{leaf}",
            "blocks_token_only.{i}.mlp.fc2.{leaf}",
        ),
    ),
)
