"""Image towers of CLIP (OpenAI's names, which open_clip keeps) and transformers' CLIP and SigLIP.

https://github.com/openai/CLIP, clip/model.py; https://github.com/mlfoundations/open_clip,
src/open_clip/transformer.py; https://github.com/huggingface/transformers, models/{clip,siglip}.
"""

from __future__ import annotations

from vit_convert.dialects.attention_transforms import Q_AND_KV
from vit_convert.dialects.rules import Dialect, Ignore, Rule, defaults, joining, published, renamed
from vit_convert.dialects.transforms import TRANSPOSED, joined, with_axes

# clip/clip.py, _transform
_MEAN, _STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_TEXT = "the text tower's: an image model does not need it"
_PICTURES = {"mean": _MEAN, "std": _STD, "interpolation": "bicubic", "crop_pct": 1.0}
_BLOCK = "{body}transformer.resblocks.{i}"

# `visual.` is written where the source does not tell: it is what both libraries load
CLIP = Dialect(
    name="clip",
    architecture="vit",
    title="CLIP's image tower (OpenAI, open_clip)",
    marker="{body}transformer.resblocks.0.attn.in_proj_weight",
    bodies=("visual.",),
    rules=(
        renamed("{body}class_embedding", "cls_token", with_axes(2)),
        renamed("{body}positional_embedding", "pos_embed", with_axes(1)),
        renamed("{body}conv1.{leaf}", "patch_embed.proj.{leaf}"),
        renamed("{body}ln_pre.{leaf}", "norm_pre.{leaf}"),
        renamed(f"{_BLOCK}.ln_1.{{leaf}}", "blocks.{i}.norm1.{leaf}"),
        renamed(f"{_BLOCK}.attn.in_proj_{{leaf}}", "blocks.{i}.attn.qkv.{leaf}"),
        renamed(f"{_BLOCK}.attn.out_proj.{{leaf}}", "blocks.{i}.attn.proj.{leaf}"),
        renamed(f"{_BLOCK}.ls_1.gamma", "blocks.{i}.ls1.gamma"),
        renamed(f"{_BLOCK}.ln_2.{{leaf}}", "blocks.{i}.norm2.{leaf}"),
        renamed(f"{_BLOCK}.mlp.c_fc.{{leaf}}", "blocks.{i}.mlp.fc1.{leaf}"),
        renamed(f"{_BLOCK}.mlp.c_proj.{{leaf}}", "blocks.{i}.mlp.fc2.{leaf}"),
        renamed(f"{_BLOCK}.ls_2.gamma", "blocks.{i}.ls2.gamma"),
        renamed("{body}ln_post.{leaf}", "norm.{leaf}"),
        renamed("{body}proj", "head.weight", TRANSPOSED),
    ),
    ignored=(
        Ignore("transformer.{rest}", _TEXT),
        Ignore("text.{rest}", _TEXT),
        Ignore("token_embedding.weight", _TEXT),
        Ignore("positional_embedding", _TEXT),
        Ignore("ln_final.{leaf}", _TEXT),
        Ignore("text_projection", _TEXT),
        Ignore("text_projection.{leaf}", _TEXT),
        Ignore("attn_mask", _TEXT),
        Ignore("logit_scale", "scales similarities of images and texts"),
        Ignore("logit_bias", "shifts similarities of images and texts"),
        Ignore("input_resolution", "a setting of OpenAI's archive, told by the shapes"),
        Ignore("context_length", _TEXT),
        Ignore("vocab_size", _TEXT),
    ),
    facts={
        **published("CLIP", norm_position="pre", position="all"),
        # open_clip's CLIPA averages the patches (pool_type), with an epsilon of 1e-6 (norm_kwargs)
        **defaults("CLIP", pool="token", norm_eps=1e-5, **_PICTURES),
        # OpenAI's models; of open_clip's those whose name ends in -quickgelu
        **defaults("OpenAI's CLIP; open_clip's own models mostly have erf", gelu="quick"),
    },
    library="transformers",
)

_LAYER = "{body}encoder.layers.{i}"


def _tower_blocks() -> tuple[Rule, ...]:
    parts = [f"{_LAYER}.self_attn.{part}_proj.{{leaf}}" for part in "qkv"]
    return (
        renamed(f"{_LAYER}.layer_norm1.{{leaf}}", "blocks.{i}.norm1.{leaf}"),
        joining(parts, "blocks.{i}.attn.qkv.{leaf}", joined(3)),
        renamed(f"{_LAYER}.self_attn.out_proj.{{leaf}}", "blocks.{i}.attn.proj.{leaf}"),
        renamed(f"{_LAYER}.layer_norm2.{{leaf}}", "blocks.{i}.norm2.{leaf}"),
        renamed(f"{_LAYER}.mlp.fc1.{{leaf}}", "blocks.{i}.mlp.fc1.{leaf}"),
        renamed(f"{_LAYER}.mlp.fc2.{{leaf}}", "blocks.{i}.mlp.fc2.{leaf}"),
        renamed("{body}post_layernorm.{leaf}", "norm.{leaf}"),
    )


_TOWER_IGNORED = (
    Ignore("text_model.{rest}", _TEXT),
    Ignore("text_projection.weight", _TEXT),
    Ignore("{body}embeddings.position_ids", "counts the positions"),
    Ignore("logit_scale", "scales similarities of images and texts"),
    Ignore("logit_bias", "shifts similarities of images and texts"),
)

TRANSFORMERS_CLIP = Dialect(
    name="transformers-clip",
    architecture="vit",
    title="transformers' CLIP image tower",
    marker="{body}pre_layrnorm.weight",
    bodies=("vision_model.", ""),
    rules=(
        renamed("{body}embeddings.class_embedding", "cls_token", with_axes(2)),
        renamed("{body}embeddings.patch_embedding.{leaf}", "patch_embed.proj.{leaf}"),
        renamed("{body}embeddings.position_embedding.weight", "pos_embed", with_axes(1)),
        renamed("{body}pre_layrnorm.{leaf}", "norm_pre.{leaf}"),
        *_tower_blocks(),
        renamed("visual_projection.weight", "head.weight"),
    ),
    ignored=_TOWER_IGNORED,
    facts={
        **published("CLIP", norm_position="pre", position="all", pool="token", pos_embed="bicubic"),
        **defaults("transformers' CLIP", gelu="quick", norm_eps=1e-5, **_PICTURES),
    },
    library="transformers",
    sidecar=True,
)

TRANSFORMERS_SIGLIP = Dialect(
    name="transformers-siglip",
    architecture="vit",
    title="transformers' SigLIP image tower",
    marker="{body}head.probe",
    bodies=("vision_model.", ""),
    rules=(
        renamed("{body}embeddings.patch_embedding.{leaf}", "patch_embed.proj.{leaf}"),
        renamed("{body}embeddings.position_embedding.weight", "pos_embed", with_axes(1)),
        *_tower_blocks(),
        renamed("{body}head.probe", "attn_pool.latent"),
        Rule(
            ("{body}head.attention.in_proj_{leaf}",),
            ("attn_pool.q.{leaf}", "attn_pool.kv.{leaf}"),
            Q_AND_KV,
        ),
        renamed("{body}head.attention.out_proj.{leaf}", "attn_pool.proj.{leaf}"),
        renamed("{body}head.layernorm.{leaf}", "attn_pool.norm.{leaf}"),
        renamed("{body}head.mlp.fc1.{leaf}", "attn_pool.mlp.fc1.{leaf}"),
        renamed("{body}head.mlp.fc2.{leaf}", "attn_pool.mlp.fc2.{leaf}"),
    ),
    ignored=_TOWER_IGNORED,
    facts={
        **published(
            "SigLIP",
            norm_position="pre",
            pos_embed="bicubic",
        ),
        **defaults(
            "transformers' SigLIP",
            gelu="tanh",
            norm_eps=1e-6,
            mean=(0.5, 0.5, 0.5),
            std=(0.5, 0.5, 0.5),
            interpolation="bicubic",
            crop_pct=1.0,
            crop_mode="squash",
        ),
    },
    library="transformers",
    sidecar=True,
)
