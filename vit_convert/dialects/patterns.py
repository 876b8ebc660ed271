"""Patterns of tensor names.

A pattern is a tensor's whole name in which `{i}` stands for a block's index, `{chunk}` and `{j}`
for other indices, `{leaf}` for weight or bias, and `{rest}`, in what is ignored, for anything.
Nothing else is special.

An index is written as PyTorch writes it, and is short: one of nine digits would make loops of as
many steps, and three of them side by side a cubic search in a thousand digits.
"""

from __future__ import annotations

import re
from functools import cache

INDEX = r"0|[1-9][0-9]{0,4}"
PLACEHOLDERS = {
    "i": INDEX,
    "j": INDEX,
    "chunk": INDEX,
    "leaf": "weight|bias",
    "rest": r".+",
}
_PLACEHOLDER = re.compile(r"\{(\w*)\}")


@cache
def compile_pattern(pattern: str) -> re.Pattern[str]:
    """The anchored regular expression of a pattern.

    Raises:
        KeyError: it has a placeholder that does not exist.
    """
    parts = _PLACEHOLDER.split(pattern)
    text = "".join(
        f"(?P<{part}>{PLACEHOLDERS[part]})" if i % 2 else re.escape(part)
        for i, part in enumerate(parts)
    )
    return re.compile(text)


def placeholders(pattern: str) -> set[str]:
    """The names of a pattern's placeholders."""
    return set(_PLACEHOLDER.findall(pattern))


def repeated(pattern: str) -> bool:
    """Whether a placeholder is in it twice, which means nothing."""
    return len(_PLACEHOLDER.findall(pattern)) > len(placeholders(pattern))


def examples(pattern: str) -> list[str]:
    """Some names that match a pattern: every leaf, and indices of one and of two digits."""
    filled = [pattern]
    for name, values in (
        ("leaf", ("weight", "bias")),
        ("i", ("0", "12")),
        ("j", ("0", "1")),
        ("chunk", ("0", "3")),
        ("rest", ("weight", "0.x.bias")),
    ):
        if name in placeholders(pattern):
            filled = [text.replace(f"{{{name}}}", value) for text in filled for value in values]
    return filled
