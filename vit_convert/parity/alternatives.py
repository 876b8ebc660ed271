"""Other values that a field of a configuration may have, with the same tensors."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from vit_convert.architectures import ModelSpec, TransformerConfig, architecture
from vit_convert.architectures.base import CHOICES
from vit_convert.architectures.ranges import as_text
from vit_convert.errors import RecognitionError, option_of

_EPSILONS = (1e-6, 1e-5, 1e-12, 1e-8, 1e-3)  # timm's, PyTorch's, transformers', and others
_USUAL_HEAD = 64  # channels
_TEMPERATURES = (100.0, 10000.0)  # of rotary embeddings


@dataclass(frozen=True)
class Change:
    """Another value of a field.

    Attributes:
        field: of the configuration.
        value: the other value.
    """

    field: str
    value: Any


def as_option(change: Change) -> str:
    """A change as the option of `torch2keras`: "--num-heads 12"."""
    if isinstance(change.value, bool):
        return option_of(change.field if change.value else f"no_{change.field}")
    return f"{option_of(change.field)} {as_text(change.value)}"


def alternatives(spec: ModelSpec, fields: Sequence[str]) -> list[Change]:
    """All other values of some fields that a model of the same tensors can have.

    Args:
        spec: the model.
        fields: of its configuration; those that change no number are passed over.
    """
    found = []
    for name in fields:
        values = _VALUES.get(name)
        if values is None or not hasattr(spec.config, name):
            continue
        own = getattr(spec.config, name)
        others = dict.fromkeys([*_published(spec, name), *values(spec.config)])
        found += [
            Change(name, value)
            for value in others
            if value != own and _is_possible(spec, name, value)
        ]
    return found


def matters(spec: ModelSpec, field: str) -> bool:
    """Whether a field changes what a model computes: bases of frequencies without rotary embedding
    do not, nor does what pooling takes where it takes one token."""
    if field == "gelu" or field not in _VALUES:  # also where no other value can be tried
        return True
    if field == "pool_prefix" and spec.config.pool in ("token", "map"):
        return False
    return bool(alternatives(spec, [field]))


def rank(changes: Iterable[Change]) -> list[Change]:
    """In the order in which they are worth trying: what is wrong most often first."""
    order = list(_VALUES)
    return sorted(changes, key=lambda change: order.index(change.field))


def _heads(config: Any) -> list[int]:
    """Divisors of the width, the usual width of a head first."""
    dim = config.embed_dim
    divisors = [n for n in range(1, dim + 1) if dim % n == 0]
    return sorted(divisors, key=lambda n: abs(math.log(dim / n / _USUAL_HEAD)))


_VALUES: dict[str, Callable[[Any], Iterable[Any]]] = {
    "num_heads": _heads,
    "gelu": lambda config: CHOICES["gelu"] if _has_choice(config) else (),
    "pool": lambda config: CHOICES["pool"] if isinstance(config, TransformerConfig) else (),
    "norm_eps": lambda config: _EPSILONS,
    "pool_prefix": lambda config: () if config.pool == "map" else (False, True),
    "norm_position": lambda config: CHOICES["norm_position"],
    "position": lambda config: CHOICES["position"],
    "rotary": lambda config: CHOICES["rotary"],
    "rotary_base": lambda config: _TEMPERATURES if config.rotary != "none" else (),
    "rotary_grid": lambda config: (config.grid,) if config.rotary != "none" else (),
    "pool_heads": lambda config: _heads(config) if config.pool == "map" else (),
    "norm": lambda config: () if config.norm_bias else CHOICES["norm"],
}


def _has_choice(config: Any) -> bool:
    """Whether there is an MLP that is not gated: a gate is SiLU whatever `gelu` says."""
    return bool(getattr(config, "mlp", "plain") == "plain" or config.pool == "map")


def _published(spec: ModelSpec, name: str) -> Iterable[Any]:
    """The values of published models of the same width and depth."""
    config = spec.config
    variants = architecture(spec.architecture).variants
    alike = [
        v.config
        for v in variants
        if (v.config.embed_dim, v.config.depth) == (config.embed_dim, config.depth)
    ]
    return [getattr(each, name) for each in alike if hasattr(each, name)]


def _is_possible(spec: ModelSpec, name: str, value: Any) -> bool:
    """Whether a model of the same tensors can have it."""
    config = spec.config
    if name == "num_heads" and config.embed_dim % value:
        return False
    if value in ("token", "token-avg") and not getattr(config, "class_token", True):
        return False
    changed = spec.with_config(**{name: value})
    try:
        architecture(spec.architecture).check(changed.config)
    except RecognitionError:
        return False
    own, other = ({p.name: p.shape for p in each.parameters()} for each in (spec, changed))
    return own == other
