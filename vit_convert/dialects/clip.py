"""The image tower of CLIP under OpenAI's names, which open_clip keeps.

https://github.com/openai/CLIP, clip/model.py; https://github.com/mlfoundations/open_clip,
src/open_clip/transformer.py.
"""

from __future__ import annotations

from vit_convert.dialects.beside_the_tower import OPEN_CLIP, TEXT
from vit_convert.dialects.rules import Dialect, Ignore, defaults, published, renamed
from vit_convert.dialects.transforms import TRANSPOSED, with_axes

# clip/clip.py, _transform
_MEAN, _STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
CLIP_PICTURES = {"mean": _MEAN, "std": _STD, "interpolation": "bicubic", "crop_pct": 1.0}
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
        *OPEN_CLIP,
        Ignore("input_resolution", "a setting of OpenAI's archive, told by the shapes"),
        Ignore("context_length", TEXT),
        Ignore("vocab_size", TEXT),
    ),
    facts={
        **published("CLIP", norm_position="pre", position="all"),
        # open_clip's CLIPA averages the patches (pool_type), with an epsilon of 1e-6 (norm_kwargs)
        **defaults("CLIP", pool="token", norm_eps=1e-5, **CLIP_PICTURES),
        # OpenAI's models; of open_clip's those whose name ends in -quickgelu
        **defaults("OpenAI's CLIP; open_clip's own models mostly have erf", gelu="quick"),
    },
    library="transformers",
    head="projection",
)
