"""The text towers of CLIP and SigLIP, which stand beside their image towers in one file.

A checkpoint of both is read twice: as a Vision Transformer with `dialects()`, which leave out the
text tower, and with these, which leave out the image tower.

https://github.com/openai/CLIP, clip/model.py; https://github.com/mlfoundations/open_clip,
src/open_clip/transformer.py (TextTransformer); https://github.com/huggingface/transformers,
models/{clip,siglip,siglip2}.
"""

from __future__ import annotations

from vit_convert.dialects.rules import Dialect, Ignore, defaults, published, renamed
from vit_convert.dialects.transformers_clip import POSITION_IDS, tower_blocks
from vit_convert.dialects.transforms import TRANSPOSED, with_axes

_IMAGE = "the image tower's, which is read by itself"
_SIMILARITY = "scales or shifts similarities of images and texts"
_BLOCK = "{body}transformer.resblocks.{i}"
_BESIDE = (
    *(Ignore(f"{tower}.{{rest}}", _IMAGE) for tower in ("vision_model", "visual")),
    Ignore("visual_projection.weight", _IMAGE),
    *(Ignore(name, _SIMILARITY) for name in ("logit_scale", "logit_bias")),
)
_TRANSFORMERS = (
    renamed("{body}embeddings.token_embedding.weight", "token_embed.weight"),
    renamed("{body}embeddings.position_embedding.weight", "pos_embed", with_axes(1)),
    *tower_blocks(),
    renamed("{body}final_layer_norm.{leaf}", "norm.{leaf}"),
)

TRANSFORMERS_CLIP_TEXT = Dialect(
    name="transformers-clip-text",
    architecture="text",
    title="transformers' CLIP text tower",
    marker="{body}embeddings.token_embedding.weight",
    bodies=("text_model.",),
    rules=(*_TRANSFORMERS, renamed("text_projection.weight", "head.weight")),
    ignored=(*_BESIDE, POSITION_IDS),
    facts={
        **published("transformers' CLIP", causal=True),
        # CLIPTextModel.forward; an end token of 2 in config.json means "highest" there
        **defaults("transformers' CLIP", pool="highest", gelu="quick", norm_eps=1e-5),
    },
    library="transformers",
    sidecar=True,
)
TRANSFORMERS_SIGLIP_TEXT = Dialect(
    name="transformers-siglip-text",
    architecture="text",
    title="transformers' SigLIP text tower",
    marker="{body}head.weight",
    bodies=("text_model.",),
    rules=(*_TRANSFORMERS, renamed("{body}head.{leaf}", "head.{leaf}")),
    ignored=(*_BESIDE, POSITION_IDS),
    facts={
        **published("transformers' SigLIP", causal=False, pool="last"),
        **defaults("transformers' SigLIP", gelu="tanh", norm_eps=1e-6),
    },
    library="transformers",
    sidecar=True,
)
OPEN_CLIP_TEXT = Dialect(
    name="clip-text",
    architecture="text",
    title="CLIP's text tower (OpenAI, open_clip)",
    marker="{body}token_embedding.weight",
    # open_clip's CustomTextCLIP first, because its `text.` would else pass for the whole's prefix
    bodies=("text.", ""),
    rules=(
        renamed("{body}token_embedding.weight", "token_embed.weight"),
        renamed("{body}positional_embedding", "pos_embed", with_axes(1)),
        renamed(f"{_BLOCK}.ln_1.{{leaf}}", "blocks.{i}.norm1.{leaf}"),
        renamed(f"{_BLOCK}.attn.in_proj_{{leaf}}", "blocks.{i}.attn.qkv.{leaf}"),
        renamed(f"{_BLOCK}.attn.out_proj.{{leaf}}", "blocks.{i}.attn.proj.{leaf}"),
        renamed(f"{_BLOCK}.ln_2.{{leaf}}", "blocks.{i}.norm2.{leaf}"),
        renamed(f"{_BLOCK}.mlp.c_fc.{{leaf}}", "blocks.{i}.mlp.fc1.{leaf}"),
        renamed(f"{_BLOCK}.mlp.c_proj.{{leaf}}", "blocks.{i}.mlp.fc2.{leaf}"),
        renamed("{body}ln_final.{leaf}", "norm.{leaf}"),
        # a parameter in most, the weight of a linear layer where open_clip's has a bias (SigLIP)
        renamed("{body}text_projection", "head.weight", TRANSPOSED),
        renamed("{body}text_projection.{leaf}", "head.{leaf}"),
    ),
    ignored=(
        *_BESIDE,
        Ignore("{body}attn_mask", "the causal mask"),
        *(
            Ignore(name, "a setting of OpenAI's archive, told by the shapes")
            for name in ("input_resolution", "context_length", "vocab_size")
        ),
    ),
    # OpenAI's models; what open_clip's are instead, open_clip_config.json says
    facts=defaults("OpenAI's CLIP", causal=True, pool="highest", gelu="quick", norm_eps=1e-5),
    library="transformers",
)

TEXT_DIALECTS: tuple[Dialect, ...] = (
    TRANSFORMERS_CLIP_TEXT,
    TRANSFORMERS_SIGLIP_TEXT,
    OPEN_CLIP_TEXT,
)
