"""Tables of tensor names in which the indices of blocks are folded."""

from __future__ import annotations

import re
from collections.abc import Iterable


def table(rows: Iterable[tuple[str, str]]) -> str:
    """Two columns, with the indices of blocks folded: blocks.{0..11}.attn.qkv.weight."""
    folded = fold_names(rows)
    width = max(len(name) for name, _ in folded)
    return "\n".join(f"  {name:{width}}  {text}" for name, text in folded)


def fold_names(rows: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Join rows that differ in a block's index only, in order of first appearance."""
    groups: dict[tuple[str, str], list[int]] = {}
    for name, text in rows:
        match = re.search(r"(?<=[._/])\d+(?=[./])", name)
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
