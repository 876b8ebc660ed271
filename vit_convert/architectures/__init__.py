"""The models that are known here. To add one: a file like vit.py, and a line in the table below."""

from __future__ import annotations

from collections.abc import Mapping

from vit_convert.architectures.base import (
    PUBLISHED_LOGITS,
    Architecture,
    Fact,
    Known,
    Overrides,
    Preprocessing,
    Recognition,
    TransformerConfig,
    Variant,
)
from vit_convert.architectures.cait.config import CAIT, CaiTConfig
from vit_convert.architectures.model_spec import ModelSpec, Source
from vit_convert.architectures.parameters import Parameter, Shape
from vit_convert.architectures.vit.config import ViTConfig
from vit_convert.architectures.vit.recognition import VIT
from vit_convert.errors import RecognitionError

def resolve(path: str):
    import importlib
    m, _, n = path.partition(":")
    return getattr(importlib.import_module(m), n)


__all__ = [
    "PUBLISHED_LOGITS",
    "Architecture",
    "CaiTConfig",
    "Fact",
    "Known",
    "ModelSpec",
    "Overrides",
    "Parameter",
    "Preprocessing",
    "Recognition",
    "Shape",
    "Source",
    "TransformerConfig",
    "Variant",
    "ViTConfig",
    "architecture",
    "architecture_of",
    "architectures",
    "resolve",
]


def _by_name(*all_of_them: Architecture) -> dict[str, Architecture]:
    table = {a.name: a for a in all_of_them}
    if len(table) != len(all_of_them):
        raise ValueError("two architectures have the same name")
    return table


_ARCHITECTURES = _by_name(VIT, CAIT)


def architectures() -> tuple[Architecture, ...]:
    """All architectures."""
    return tuple(_ARCHITECTURES.values())


def architecture(name: str) -> Architecture:
    """The architecture of that name.

    Raises:
        RecognitionError: there is none.
    """
    if name not in _ARCHITECTURES:
        raise RecognitionError(
            f"no architecture is called {name!r}", expected=", ".join(_ARCHITECTURES)
        )
    return _ARCHITECTURES[name]


def architecture_of(shapes: Mapping[str, Shape]) -> Architecture:
    """The architecture whose canonical names these are.

    Raises:
        RecognitionError: none is, or several are.
    """
    found = [a for a in _ARCHITECTURES.values() if a.matches(shapes)]
    if len(found) != 1:
        some = ", ".join(sorted(shapes)[:5])
        raise RecognitionError(
            "this is no model that is known here"
            if not found
            else f"this could be {' or '.join(a.title for a in found)}",
            where=f"tensors such as {some}",
            expected=" or ".join(a.title for a in _ARCHITECTURES.values()),
        )
    return found[0]
