"""Checks that the table of a dialect makes sense, ours or a user's."""

from __future__ import annotations

from collections.abc import Collection
from itertools import chain

from vit_convert.dialects.ledger import claims_of
from vit_convert.dialects.patterns import (
    PLACEHOLDERS,
    compile_pattern,
    examples,
    placeholders,
    repeated,
)
from vit_convert.dialects.rules import Dialect, Ignore, Rule


def problems_of(dialect: Dialect, canonical: Collection[str]) -> list[tuple[str, str]]:
    """Find the faults of a dialect, as (pattern concerned, what is wrong).

    Args:
        dialect: the table.
        canonical: patterns of all names that a rule may aim at.
    """
    problems = []
    targets: dict[tuple[str, object], str] = {}
    for rule in dialect.rules:
        problems += _problems_of_rule(rule, canonical)
        for target in rule.targets:
            other = targets.get((target, ())) or targets.get((target, rule.when))
            if other:
                problems.append((rule.sources[0], f"{target} is filled by {other} too"))
            targets[target, rule.when] = rule.sources[0]
    for ignore in (*dialect.ignored, *dialect.refused):
        if unknown := _unknown_in(ignore.pattern):
            problems.append((ignore.pattern, _unknown(unknown)))
        elif repeated(ignore.pattern):
            problems.append((ignore.pattern, "it has a placeholder twice"))
    if not problems:
        problems += _overlaps(dialect)
    return problems


def _problems_of_rule(rule: Rule, canonical: Collection[str]) -> list[tuple[str, str]]:
    name, transform = rule.sources[0], rule.transform
    for pattern in chain(rule.sources, rule.targets):
        if unknown := _unknown_in(pattern):
            return [(name, _unknown(unknown))]
        if repeated(pattern):
            return [(name, f"{pattern} has a placeholder twice")]
    problems = []
    if (len(rule.sources), len(rule.targets)) != (transform.sources, transform.targets):
        problems.append(
            (
                name,
                f"{transform.name!r} makes {transform.targets} of {transform.sources} tensors, and "
                f"the rule has {len(rule.targets)} of {len(rule.sources)}",
            )
        )
    for target in rule.targets:
        if target not in canonical and not any(
            compile_pattern(known).fullmatch(example)
            for known in canonical
            for example in examples(target)[:1]
        ):
            problems.append((name, f"{target} is no parameter of the model"))
    has = set.intersection(*(placeholders(source) for source in rule.sources)) - {"body"}
    wants = set.union(*(placeholders(target) for target in rule.targets))
    given = has | {"i"} if rule.stacked else has
    if missing := wants - given:
        problems.append((name, f"its target has {_words(missing)}, and its source does not"))
    if lost := has - wants - ({"chunk"} if "i" in has else set()):
        problems.append((name, f"its source has {_words(lost)}, and its target does not"))
    return problems


def _overlaps(dialect: Dialect) -> list[tuple[str, str]]:
    """Names that two entries of the table claim, tried on examples of every pattern."""
    problems = []
    for body in dialect.bodies:
        bound = dialect.with_body(body)
        patterns = [source for rule in bound.rules for source in rule.sources]
        for pattern in (*patterns, *(ignore.pattern for ignore in bound.ignored)):
            for name in examples(pattern):
                claims = list(claims_of(bound, name))
                by_rules = [claim for claim in claims if not isinstance(claim[0], Ignore)]
                if len(claims) > 1 and (by_rules or len({c[2] for c in claims}) > 1):
                    others = " and ".join(claim[2] for claim in claims)
                    problems.append((pattern, f"two entries claim {name}: {others}"))
                    break
    return problems


def _unknown_in(pattern: str) -> set[str]:
    """Placeholders that do not exist, in a pattern or once its `{body}` is replaced."""
    filled = (pattern.replace("{body}", body) for body in ("", "x"))
    return set.union(*map(placeholders, filled)) - {*PLACEHOLDERS}


def _unknown(names: Collection[str]) -> str:
    known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
    return f"the placeholder {_words(names)} does not exist; there are {known}"


def _words(names: Collection[str]) -> str:
    return ", ".join(f"{{{name}}}" for name in sorted(names))
