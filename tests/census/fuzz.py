"""Models of timm's classes with options at random, from a seed."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from families import import_vision

from census.judging import Verdict, equal_to, judge, write_empty
from census.truth import truth_of

timm = import_vision("timm")
from timm.layers import (  # noqa: E402  # timm must be imported as above first
    GluMlp,
    LayerNorm,
    Mlp,
    QuickGELU,
    RmsNorm,
    SwiGLU,
    SwiGLUPacked,
)
from timm.layers.diff_attention import DiffAttention  # noqa: E402  # as above
from timm.models.beit import Beit  # noqa: E402  # as above
from timm.models.cait import Cait  # noqa: E402  # as above
from timm.models.deit import VisionTransformerDistilled  # noqa: E402  # as above
from timm.models.eva import Eva  # noqa: E402  # as above
from timm.models.vision_transformer import (  # noqa: E402  # as above
    Block,
    DiffParallelScalingBlock,
    ParallelScalingBlock,
    ParallelThingsBlock,
    ResPostBlock,
    VisionTransformer,
)

_ACTIVATIONS = (
    torch.nn.GELU,
    partial(torch.nn.GELU, approximate="tanh"),
    QuickGELU,
    torch.nn.ReLU,
    torch.nn.SiLU,
)
_NORMS = [partial(norm, eps=eps) for norm in (LayerNorm, RmsNorm) for eps in (1e-6, 1e-5, 1e-3)]
_FLAG = (False, True)
_FOREIGN_BLOCKS = (ParallelScalingBlock, DiffParallelScalingBlock)  # none of ours
# the first value of each is the usual one
_SHAPES: dict[str, tuple[Any, ...]] = {
    "img_size": (48, 32, 64, (48, 80), (40, 56)),
    "patch_size": (16, 8, (8, 16)),
    "in_chans": (3, 1, 4),
    "num_classes": (10, 0, 1000),
    "embed_dim": (192, 64, 384, 144),
    "depth": (2, 12),
    "num_heads": (3, 1, 4, 6, 12, 16),
    "mlp_ratio": (4, 3, 2.67),
    "qkv_bias": (True, False),
    "act_layer": _ACTIVATIONS,
    "norm_layer": (_NORMS[0], *_NORMS[1:]),
    "init_values": (None, 1e-5),
}
_VIT = _SHAPES | {
    "global_pool": ("token", "avg", "max", "avgmax", "map", "prr"),
    "qk_norm": _FLAG,
    "scale_attn_norm": _FLAG,
    "scale_mlp_norm": _FLAG,
    "proj_bias": (True, False),
    "class_token": (True, False),
    "pos_embed": ("learn", "none"),
    "no_embed_class": _FLAG,
    "reg_tokens": (0, 1, 4),
    "pre_norm": _FLAG,
    "final_norm": (True, False),
    "fc_norm": (None, False, True),
    "pool_include_prefix": _FLAG,
    "dynamic_img_size": _FLAG,
    "mlp_layer": (Mlp, SwiGLU, SwiGLUPacked, GluMlp),
    "block_fn": (Block, ResPostBlock, ResPostBlock, ParallelThingsBlock, *_FOREIGN_BLOCKS),
    "attn_layer": ("attn", "attn", "attn", DiffAttention),
}
_DISTILLED = {k: v for k, v in _VIT.items() if k not in ("global_pool", "class_token")}
_BEIT = {k: v for k, v in _SHAPES.items() if k != "act_layer"} | {
    "global_pool": ("avg", "token"),
    "use_abs_pos_emb": _FLAG,
    "use_rel_pos_bias": (True, False),
    "use_shared_rel_pos_bias": _FLAG,
    "swiglu_mlp": _FLAG,
    "scale_mlp": _FLAG,
    "init_values": (0.1, None),
}
_EVA = {k: v for k, v in _SHAPES.items() if k != "act_layer"} | {
    "global_pool": ("avg", "token", "max", "avgmax", "map"),
    "qkv_fused": (True, False),
    "qk_norm": _FLAG,
    "swiglu_mlp": _FLAG,
    "swiglu_align_to": (0, 1, 8),
    "scale_mlp": _FLAG,
    "scale_attn_inner": _FLAG,
    "attn_type": ("eva", "rope"),
    "class_token": (True, False),
    "num_reg_tokens": (0, 1, 4),
    "no_embed_class": _FLAG,
    "use_abs_pos_emb": (True, False),
    "use_rot_pos_emb": (False, True),
    "rope_type": ("cat", "mixed", "dinov3"),
    "rope_grid_offset": (0.0, 1.0),
    "rope_grid_indexing": ("ij", "xy"),
    "rope_temperature": (10000.0, 100.0),
    "rope_rotate_half": _FLAG,
    "use_post_norm": _FLAG,
    "use_pre_transformer_norm": _FLAG,
    "use_post_transformer_norm": (None, False, True),
    "use_fc_norm": (None, False, True),
    "ref_feat_shape": (None, (16, 16), (3, 5)),
    "attn_only_layer_scale": _FLAG,
}
_CAIT = {
    k: v for k, v in _SHAPES.items() if k not in ("act_layer", "init_values", "norm_layer")
} | {
    "global_pool": ("token", "avg"),
    "act_layer": _ACTIVATIONS,
    "norm_layer": _NORMS[:3],
    "init_values": (1e-4,),
    "depth_token_only": (2, 1),
    "mlp_ratio_token_only": (4, 3),
}
_CLASSES: tuple[tuple[type[torch.nn.Module], dict[str, tuple[Any, ...]]], ...] = (
    (VisionTransformer, _VIT),
    (VisionTransformer, _VIT),  # twice as often
    (VisionTransformerDistilled, _DISTILLED),
    (Beit, _BEIT),
    (Eva, _EVA),
    (Eva, _EVA),
    (Cait, _CAIT),
)


def model_maker(seed: int) -> tuple[str, Callable[..., torch.nn.Module]]:
    """A class with options, drawn again until it makes a model.

    Most options have their usual value, because models in which everything is unusual are refused
    for the first of many reasons. A few are of a published shape, in which nothing but an option
    differs.

    Returns:
        what it is, and what makes it; `depth` can be given again.
    """
    draw = random.Random(seed)
    while True:
        cls, table = draw.choice(_CLASSES)
        rate = draw.choice((0.05, 0.1, 0.2, 0.4))
        options = {
            name: draw.choice(values[1:]) if len(values) > 1 and draw.random() < rate else values[0]
            for name, values in table.items()
        }
        if draw.random() < 0.3:  # as ViT-Ti
            options |= {"img_size": 224, "patch_size": 16, "embed_dim": 192, "depth": 12}
            options |= {"num_heads": draw.choice((3, 6, 12)), "mlp_ratio": 4, "in_chans": 3}
        make = partial(cls, **options)
        try:
            make()(torch.zeros(1, options["in_chans"], *_sides(options["img_size"])))
        except (AssertionError, AttributeError, RuntimeError, TypeError, ValueError):
            continue  # timm has no such model
        usual = {name: values[0] for name, values in table.items()}
        unusual = {k: v for k, v in options.items() if v != usual[k]}
        words = ", ".join(f"{k}={_word(v)}" for k, v in unusual.items())
        return f"{seed}: {cls.__name__}({words})", make


def judge_seed(seed: int, folder: Path) -> Verdict:
    """Judge one of them, as a file that does not say what it is."""
    what, make = model_maker(seed)
    model = make()
    path = folder / "model.safetensors"
    write_empty(path, model)
    try:
        return judge(what, path, equal_to(lambda: make(depth=1)), truth_of(model), {})
    finally:
        path.unlink()


def _sides(size: Any) -> tuple[int, int]:
    return size if isinstance(size, tuple) else (size, size)


def _word(value: Any) -> str:
    if isinstance(value, partial):
        return f"{_word(value.func)} {next(iter(value.keywords.values()))}"
    return getattr(value, "__name__", str(value))
