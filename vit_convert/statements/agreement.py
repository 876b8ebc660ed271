"""Statements about one field, compared: two that differ are an error that shows both."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from vit_convert.architectures import Fact
from vit_convert.architectures.candidates import way_out
from vit_convert.architectures.ranges import as_text
from vit_convert.errors import RecognitionError

_SIZE = "image_size"  # what the user wants; statements say what the position embedding is for
_CHANGED = "changed"  # a list, in which each statement has its part
_VARIANT = "variant"
_TOLERANCE = 1e-6  # float32's, in which some libraries write what they have


def agreed(
    tables: Iterable[Mapping[str, Fact]], given: Collection[str], where: str
) -> dict[str, Fact]:
    """All that is stated, where no two statements differ.

    Args:
        tables: from several sources: field -> its value.
        given: the fields that the user states, of which nothing else is heard.
        where: the checkpoint.

    Raises:
        RecognitionError: two differ.
    """
    facts: dict[str, Fact] = {}
    wrong: dict[str, str] = {}
    for table in tables:
        for name, fact in table.items():
            if name in given and name != _SIZE:
                continue
            first = facts.setdefault(name, fact)
            if name == _CHANGED:
                both = tuple(sorted({*first.value, *fact.value}))
                facts[name] = Fact(both, first.provenance, first.why)
            elif name == _VARIANT and first.value in (fact.value, fact.value.partition(".")[0]):
                facts[name] = fact  # which may have the tag of its weights
            elif name == _VARIANT and fact.value == first.value.partition(".")[0]:
                pass
            elif not same(first.value, fact.value):
                wrong[name] = (
                    f"{name} is {as_text(first.value)} ({first.why}), "
                    f"but {as_text(fact.value)} ({fact.why})"
                )
    if _SIZE in given and wrong.pop(_SIZE, ""):
        del facts[_SIZE]
    if wrong:
        raise RecognitionError(
            f"statements about the model contradict each other: {'; '.join(wrong.values())}",
            where=where,
            expected="one value",
            hint=way_out(wrong),
        )
    return facts


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same but for rounding."""
    if isinstance(one, (tuple, list)) and isinstance(other, (tuple, list)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) or isinstance(other, float):
        numbers = isinstance(one, (int, float)) and isinstance(other, (int, float))
        return numbers and math.isclose(one, other, rel_tol=_TOLERANCE, abs_tol=1e-15)
    return bool(one == other)
