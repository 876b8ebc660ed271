"""The configuration of a Vision Transformer with a dense head: that of its backbone, as any Vision
Transformer is recognised, and that of the head, of which tensors tell a part only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from vit_convert.architectures.base import Fact, Overrides, Recognition, Rival, TransformerConfig
from vit_convert.architectures.dense.config import DenseConfig, stride_of
from vit_convert.architectures.dense.published import settle_by_name
from vit_convert.architectures.dense.tensors import STRIDED, of_backbone, read_head, resize_sides
from vit_convert.architectures.parameters import Shape
from vit_convert.architectures.ranges import as_text
from vit_convert.architectures.vit.config import ViTConfig
from vit_convert.architectures.vit.recognition import recognise_vit, refuse_combinations
from vit_convert.errors import RecognitionError, UsageError

# what the head does not read of a Vision Transformer's configuration
_UNUSED = frozenset({"pool", "pool_prefix", "head_bias", "fc_norm"})
_OF_DPT = frozenset({"taps", "depth_activation", "max_depth"})


def recognise_dense(shapes: Mapping[str, Shape], overrides: Overrides, hint: str) -> Recognition:
    """See `Architecture.recognise`.

    Raises:
        RecognitionError, UsageError: the tensors are those of a model that is not supported, or
            contradict each other, an option or a file.
    """
    found = recognise_vit(of_backbone(shapes), overrides, hint)
    facts = dict(found.facts)
    tensors = "norm.weight" in shapes
    facts["final_norm"] = Fact(tensors, "read", "from names and shapes")
    for name, value in read_head(shapes).items():
        facts[name] = _read(name, value, overrides)
    unused = found.unused | _UNUSED
    if facts["head"].value == "dpt":
        _settle_dpt(facts, shapes, overrides, hint)
    else:
        unused |= _OF_DPT
        facts["taps"] = Fact((facts["depth"].value - 1,), "read", "the head is a linear one")
    names = {field.name for field in fields(DenseConfig)}
    values = {name: getattr(found.config, name) for name in _fields(ViTConfig)}
    values |= {name: fact.value for name, fact in facts.items() if name in names}
    config = DenseConfig(**values)
    refuse_dense(config)
    return Recognition(config, found.preprocessing, "", facts, unused, stated=found.stated)


def _settle_dpt(
    facts: dict[str, Fact], shapes: Mapping[str, Shape], overrides: Overrides, hint: str
) -> None:
    """Settle what tensors do not tell of DPT's head.

    Raises:
        UsageError: --taps names other blocks than such a head can read.
    """
    facts["neck_factors"] = _factors(shapes, facts["neck_dims"].value, overrides)
    depth, maps = facts["depth"].value, len(facts["neck_dims"].value)
    for name in ("readout", "fusion", "taps", "depth_activation", "max_depth"):
        stated = overrides.fact(name)
        if stated or name not in facts:
            facts[name] = stated or settle_by_name(name, depth, maps, hint, overrides, facts)
    taps = overrides.taps
    if taps and (list(taps) != sorted({*taps}) or (len(taps), taps[-1]) != (maps, depth - 1)):
        raise UsageError(
            f"the head reads {maps} of the blocks 0 to {depth - 1}, in their order",
            where=f"--taps {as_text(taps, 'taps')}",
            expected=f"{maps} numbers, each above the one before, and {depth - 1} as the last",
        )


def refuse_dense(config: TransformerConfig) -> None:
    """Raises RecognitionError for values that no model has together."""
    refuse_combinations(config)
    assert isinstance(config, DenseConfig)
    count, linear = len(config.taps), config.head == "linear"
    wrong = {
        "a linear head gives scores of classes, DPT's a depth": linear == (not config.num_classes),
        "each map is one block's, and has channels and a factor": (
            not linear and (len(config.neck_dims), len(config.neck_factors)) != (count, count)
        ),
        "the head reads blocks in their order, the last block too": (
            list(config.taps) != sorted({*config.taps}) or config.taps[-1:] != (config.depth - 1,)
        ),
        "maps are enlarged or made smaller by a whole factor": not all(
            factor == int(factor) >= 1 or (factor > 0 and 1 / factor == stride_of(factor))
            for factor in config.neck_factors
        ),
        "DPT's head reads one class token, and no registers": (
            not linear and (config.num_prefix_tokens, config.class_token) != (1, True)
        ),
        "the blocks are pre-norm": config.norm_position != "pre",
    }
    for why, holds in wrong.items():
        if holds:
            raise RecognitionError("the tensors are those of no model that is known", expected=why)


def _fields(cls: type[Any]) -> list[str]:
    return [field.name for field in fields(cls)]


def _read(name: str, value: Any, overrides: Overrides) -> Fact:
    """A value that tensors tell, which a file must not contradict."""
    stated = overrides.stated.get(name)
    if stated and stated.provenance == "read" and stated.value != value:
        raise RecognitionError(
            f"what is stated is of another model: {name} is {stated.value} ({stated.why}), but the "
            f"tensors say {value}",
            expected="what was saved with the checkpoint",
        )
    return Fact(value, "read", "from names and shapes")


def _factors(shapes: Mapping[str, Shape], dims: tuple[int, ...], overrides: Overrides) -> Fact:
    """By the filters; one of 3 x 3 may enlarge, or make smaller by any stride."""
    sides = resize_sides(shapes, len(dims))
    stated = overrides.stated.get("neck_factors")
    usual = tuple(0.5 if side == STRIDED else float(side) for side in sides)
    if stated is None:
        if STRIDED not in sides:
            return Fact(usual, "read", "from names and shapes")
        rivals = (Rival("<another stride>", ("a model with other reassemble_factors",)),)
        return Fact(usual, "assumed", "a filter of 3 x 3 halves, as DPT's", rivals=rivals)
    expected = [STRIDED if f < 1 else int(f) for f in stated.value]
    return stated if expected == sides else _read("neck_factors", usual, overrides)
