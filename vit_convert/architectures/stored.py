"""Dataclasses from stored values, which may be anybody's: each value is checked by its type."""

from __future__ import annotations

import math
import types
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from vit_convert.architectures.base import TransformerConfig
from vit_convert.errors import UsageError
from vit_convert.runtime.limits import BLOCKS, CLASSES, WIDTH

_Made = TypeVar("_Made")
_POSITIVE = (
    *("image_size", "patch_size", "in_channels", "embed_dim", "num_heads", "mlp_dim"),
    *("vocab_size", "context_length"),
)
_MOST_PARALLEL = 16  # branches of a block


def built(cls: type[_Made], data: Mapping[str, Any]) -> _Made:
    """An instance from plain values, with JSON's lists as tuples.

    Raises:
        TypeError: a field is missing or not known.
        ValueError: a value is not of its field's type.
    """
    if not isinstance(data, Mapping):
        raise TypeError("no table")
    values = {key: _tuples(value) for key, value in data.items()}
    for key, hint in _hints(cls).items():  # type: ignore[arg-type]  # a class can be hashed
        if key in values and not conforms(values[key], hint):
            raise ValueError(f"{key} is no {hint}")
    try:
        return cls(**values)
    except UsageError as error:
        raise ValueError(error.what) from error


def check_sizes(config: Any) -> None:
    """Raises ValueError for a configuration of a size that no model has, which would make loops of
    as many steps wherever it is used."""
    for name, value in vars(config).items():
        for number in value if isinstance(value, tuple) else (value,):
            if type(number) is not int:
                continue
            most = WIDTH.allowed()
            if "depth" in name:
                most = BLOCKS.allowed()
            elif name in ("num_classes", "vocab_size", "end_token"):
                most = CLASSES.allowed()
            elif name == "parallel":
                most = _MOST_PARALLEL
            least = 1 if name in _POSITIVE or "depth" in name or name == "parallel" else 0
            if not least <= number <= most:
                raise ValueError(f"{name} is {number}")
    if config.embed_dim % config.num_heads:
        raise ValueError("num_heads does not divide embed_dim")
    if isinstance(config, TransformerConfig) and min(config.grid) < 1:
        raise ValueError("image_size is less than patch_size")


def conforms(value: Any, hint: Any) -> bool:
    """Whether a plain value is of a type as annotations have it. Numbers must be finite, and texts
    such as can be written in UTF-8."""
    kind, parts = get_origin(hint), get_args(hint)
    if hint in (Any, None, type(None)):
        return hint is Any or value is None
    if kind is Literal:
        return any(type(value) is type(part) and value == part for part in parts)
    if kind in (Union, types.UnionType):
        return any(conforms(value, part) for part in parts)
    if kind is tuple:
        if not isinstance(value, tuple):
            return False
        if parts[1:] == (...,):
            return all(conforms(item, parts[0]) for item in value)
        return len(value) == len(parts) and all(map(conforms, value, parts))
    if kind is dict:
        return isinstance(value, dict) and all(
            conforms(key, parts[0]) and conforms(item, parts[1]) for key, item in value.items()
        )
    if hint is float:
        return type(value) in (int, float) and abs(value) < 1e300 and math.isfinite(value)
    if hint is str:
        return isinstance(value, str) and is_text(value)
    return type(value) is hint


def is_text(value: str) -> bool:
    """Whether a text can be written; JSON can hold halves of characters (lone surrogates)."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


@cache
def _hints(cls: Any) -> dict[str, Any]:
    return get_type_hints(cls)


def _tuples(value: Any) -> Any:
    """JSON's lists as tuples, in a table too."""
    if isinstance(value, dict):
        return {key: _tuples(part) for key, part in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
