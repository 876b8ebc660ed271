"""What the options --dialect, --rules and --tower leave of the naming schemes."""

from __future__ import annotations

from pathlib import Path

from vit_convert.architectures import architecture
from vit_convert.architectures.base import Tower
from vit_convert.dialects.rules import Dialect
from vit_convert.dialects.selection import dialects, every_dialect, rules_of
from vit_convert.errors import UsageError


def named(name: str) -> tuple[Dialect, ...]:
    """The dialects of that name, of any architecture.

    Raises:
        UsageError: there is none.
    """
    found = tuple(d for d in every_dialect() if d.name == name)
    if not found:
        known = ", ".join(sorted({d.name for d in every_dialect()}))
        raise UsageError(f"no dialect is called {name!r}", where="--dialect", expected=known)
    return found


def chosen(
    rules: Path | None, name: str | None, tower: Tower | None = None
) -> list[Dialect] | None:
    """The dialects that a rule file, a dialect's name or a tower leave; None for all of models of
    pictures.

    Raises:
        UsageError: the rule file is wrong, there is no such dialect, both are given, or they are
            not of that tower.
    """
    if rules and name:
        raise UsageError("both are given", where="--rules, --dialect", expected="one of them")
    if not rules and not name:
        return list(dialects("text")) if tower == "text" else None
    found = [rules_of(rules)] if rules else list(named(name or ""))
    if tower is not None and all(architecture(d.architecture).tower != tower for d in found):
        raise UsageError(
            f"{found[0].name} is no naming scheme of {tower} towers",
            where=f"--tower {tower}",
            expected=", ".join(d.name for d in dialects(tower)),
        )
    return found
