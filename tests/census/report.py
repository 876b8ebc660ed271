"""The census as a page of the documentation."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from datetime import date

import torch
from families import import_vision

from census.judging import LIMIT, Verdict

timm, transformers = import_vision("timm"), import_vision("transformers")

_HEAD = """# A census of models

What recognition says of every model below, made by `scripts/census --write` on {date} with timm
{timm}, transformers {transformers} and PyTorch {torch}. timm's names are at their published size,
each once under its own file name and once as `model.safetensors`; nothing else says anything.
transformers' classes have two layers.

- *right*: what was recognised gives the model's own numbers, within {limit:g} of the largest.
- *assumed*: it gives others, or prepares pictures otherwise; each value that differs was called
  assumed, in a warning that names the option.
- *refused*: an error says why.
- *silent*: it gives others, and nobody was told.
- *unjudged*: it was recognised, but its class takes other inputs than pictures.
"""


def page(found: Sequence[tuple[str, Verdict]]) -> str:
    """Markdown: a table of counts, then the names that are not right."""
    head = _HEAD.format(
        date=date.today(),
        timm=timm.__version__,
        transformers=transformers.__version__,
        torch=torch.__version__.split("+")[0],
        limit=LIMIT,
    )
    return head + "\n" + "\n".join(_counts(found)) + "\n" + "\n".join(_exceptions(found)) + "\n"


def _counts(found: Sequence[tuple[str, Verdict]]) -> list[str]:
    kinds = ("right", "assumed", "refused", "silent", "unjudged")
    rows = [f"| models | {' | '.join(kinds)} | slowest |", "| --- " * (len(kinds) + 2) + "|"]
    for group in dict.fromkeys(group for group, _ in found):
        verdicts = [v for g, v in found if g == group]
        counts = Counter(v.kind for v in verdicts)
        slowest = max(v.seconds for v in verdicts)
        numbers = " | ".join(str(counts[kind]) for kind in kinds)
        rows.append(f"| {group} | {numbers} | {1000 * slowest:.0f} ms |")
    total = Counter(v.kind for _, v in found)
    rows.append(f"| all | {' | '.join(str(total[kind]) for kind in kinds)} | |")
    return rows


def _exceptions(found: Sequence[tuple[str, Verdict]]) -> list[str]:
    lines = []
    for kind in ("silent", "unjudged", "assumed", "refused"):
        rows: dict[tuple[str, str], int] = Counter(
            (v.name, _short(v.why)) for _, v in found if v.kind == kind
        )
        if rows:
            lines += ["", f"## {kind.title()}", "", "| model | why |", "| --- | --- |"]
            lines += [f"| {name} | {why} |" for name, why in rows]
    return lines


def _short(why: str) -> str:
    """The first line, without the temporary folder."""
    line = re.sub(r"^\S*/(?=[^/ ]+: )", "", why.splitlines()[0] if why else "")
    return line.replace("|", "\\|")[:300]
