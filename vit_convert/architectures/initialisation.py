"""The values that the parameters of a model begin with, as timm's models have them.

They are drawn in NumPy: the same seed gives the same model on every machine, with any backend.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np

from vit_convert.architectures.draws import Draw, constant, normal, uniform
from vit_convert.architectures.mimetic import mimetic_values
from vit_convert.architectures.model_spec import ModelSpec
from vit_convert.architectures.parameters import Parameter
from vit_convert.architectures.registry import architecture

Init = Literal["usual", "mimetic"]

STD = 0.02  # of linear layers, tokens and positions: timm's `trunc_normal_(std=.02)`


def initial_values(
    spec: ModelSpec,
    seed: int,
    wanted: Callable[[str], bool] = lambda name: True,
    init: Init = "usual",
) -> Iterator[tuple[str, np.ndarray]]:
    """Canonical names, and float32 arrays in PyTorch's layout to begin training with.

    A parameter's values depend on its name, its shape and the seed alone, so that two models that
    differ in their heads have the same backbone.

    Args:
        spec: of the model.
        seed: 0 or more.
        wanted: the names to draw; all by default.
        init: "usual", timm's, or "mimetic"; see `mimetic_values`.

    Raises:
        UsageError: the model cannot begin with mimetic values.
    """
    special = mimetic_values(spec, seed) if init == "mimetic" else {}
    family = architecture(spec.architecture)
    for parameter in spec.parameters():
        if not wanted(parameter.name):
            continue
        if parameter.name in special:
            yield parameter.name, special[parameter.name]
        else:
            draw = family.initial(spec.config, parameter) or _usual(spec, parameter)
            rng = np.random.default_rng([seed, zlib.crc32(parameter.name.encode())])
            yield parameter.name, draw(rng, parameter.shape).astype(np.float32)


def _usual(spec: ModelSpec, parameter: Parameter) -> Draw:
    """What all of timm's models have in common."""
    name, leaf = parameter.name, parameter.name.rpartition(".")[2]
    if parameter.kind == "norm":
        return constant(1.0 if leaf == "weight" else 0.0)
    if name.startswith("patch_embed.proj."):
        # timm leaves PyTorch's own of convolutions: torch.nn.Conv2d.reset_parameters
        config = spec.config
        return uniform(1 / math.sqrt(config.in_channels * math.prod(config.patch_size)))
    if leaf.startswith("gamma"):
        return constant(layer_scale(spec.config.depth))
    return constant(0.0) if leaf == "bias" else normal(STD)


def layer_scale(depth: int) -> float:
    """LayerScale's factors by the number of blocks (Touvron et al. 2021, arXiv:2103.17239,
    section 2.2)."""
    if depth <= 18:
        return 0.1
    return 1e-5 if depth <= 24 else 1e-6
