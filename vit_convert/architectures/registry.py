"""The architectures that are known, by name. To add one: a package like vit/, and a line in the
table."""

from __future__ import annotations

import reprlib
from functools import cache

from vit_convert.architectures.cait import CAIT
from vit_convert.architectures.definition import Architecture
from vit_convert.architectures.dense import DENSE
from vit_convert.architectures.text import TEXT
from vit_convert.architectures.vit import VIT
from vit_convert.errors import RecognitionError

ARCHITECTURES: dict[str, Architecture] = {
    "vit": VIT,
    "cait": CAIT,
    "dense": DENSE,
    "text": TEXT,
}


def architectures() -> tuple[Architecture, ...]:
    """All architectures."""
    return tuple(ARCHITECTURES.values())


def architecture(name: str) -> Architecture:
    """The architecture of that name.

    Raises:
        RecognitionError: there is none.
    """
    if name not in ARCHITECTURES:
        raise RecognitionError(
            f"no architecture is called {reprlib.repr(name)}", expected=" or ".join(ARCHITECTURES)
        )
    return ARCHITECTURES[name]


@cache
def published_names() -> frozenset[str]:
    """The names of all published models, without tags."""
    return frozenset(model.name for family in architectures() for model in family.published())
