"""Values and tensor names for people: in tables of names the indices of blocks are collapsed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from vit_convert.checkpoint.inert import printable

_MOST_ROWS = 200  # nobody reads more, and a hostile file can have 100,000


def table(rows: Iterable[tuple[str, str]]) -> str:
    """Two columns, with the indices of blocks folded: blocks.{0..11}.attn.qkv.weight."""
    folded = collapse_indices(rows)
    more = len(folded) - _MOST_ROWS
    folded = folded[:_MOST_ROWS]
    width = max(len(name) for name, _ in folded)
    lines = [f"  {name:{width}}  {text}" for name, text in folded]
    return "\n".join([*lines, f"  ... and {more} more"] if more > 0 else lines)


def collapse_indices(rows: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Join rows that differ in a block's index only, in order of first appearance."""
    groups: dict[tuple[str, str], list[int]] = {}
    for raw, text in rows:
        name = printable(raw)
        match = re.search(r"(?<=[._/])[0-9]{1,5}(?=[./])", name)
        pattern = f"{name[: match.start()]}{{}}{name[match.end() :]}" if match else name
        groups.setdefault((pattern, text), []).append(int(match.group()) if match else -1)
    return [
        (pattern.replace("{}", _indices(indices)), text)
        for (pattern, text), indices in groups.items()
    ]


def _indices(indices: list[int]) -> str:
    """3 -> "3"; 0, 1, 2 -> "{0..2}"; 0, 1, 2, 5 -> "{0..2,5}"."""
    runs: list[list[int]] = []
    for index in sorted(indices):
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    parts = [str(a) if a == b else f"{a}..{b}" for a, b in runs]
    return parts[0] if len(indices) == 1 else f"{{{','.join(parts)}}}"


def readable(value: Any) -> str:
    """A value for people: sizes as 224 x 224."""
    if isinstance(value, (tuple, list)):
        whole = all(isinstance(part, int) for part in value)
        return (" x " if whole else ", ").join(map(str, value)) or "scalar"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "as in the blocks" if value is None else str(value)
