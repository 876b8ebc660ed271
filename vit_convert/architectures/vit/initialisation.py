"""The values that a Vision Transformer's parameters begin with, where they are special."""

from __future__ import annotations

import math
import re

import numpy as np

from vit_convert.architectures.draws import Draw, constant, cut_normal, normal
from vit_convert.architectures.parameters import Parameter
from vit_convert.architectures.vit.config import ViTConfig

_TOKENS = ("cls_token", "reg_token")
_STD = 0.02
_HEAD_SCALE = 0.001  # `head_init_scale` of timm's Beit and Eva
_BASE = 10.0  # of mixed frequencies; `init_random_2d_freqs` of timm
_BRANCH_END = re.compile(r"blocks\.(\d+)\.(?:attn\.proj|mlp\.fc2)\.weight")


def vit_initial(config: ViTConfig, parameter: Parameter) -> Draw | None:
    """See `Architecture.initial`; by timm's VisionTransformer, and by its Beit and Eva where there
    are relative or rotary positions."""
    name = parameter.name
    if name == "attn_pool.latent":
        return cut_normal(config.embed_dim**-0.5)
    if name == "rope.freqs":
        return _mixed_frequencies
    if name.endswith("relative_position_bias_table"):
        return constant(0.0)
    if config.rel_pos == "none" and config.rotary == "none":
        return normal(1e-6) if name in _TOKENS else None
    if name == "head.weight":
        return normal(_HEAD_SCALE * _STD)
    if found := _BRANCH_END.fullmatch(name):
        return normal(_STD / math.sqrt(2 * (int(found[1]) + 1)))
    return None


def _mixed_frequencies(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Axial frequencies, turned by an angle of each block's and head's own (Heo et al. 2024,
    arXiv:2403.13298)."""
    _, depth, heads, half = shape
    lengths = _BASE ** (-np.arange(half // 2) * 2 / half)
    angles = rng.uniform(0, 2 * np.pi, (depth, heads, 1))
    turned = np.concatenate([angles, angles + np.pi / 2], axis=2).repeat(half // 2, axis=2)
    return np.tile(lengths, 2) * np.stack([np.cos(turned), np.sin(turned)])
