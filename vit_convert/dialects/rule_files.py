"""A user's own naming scheme, from a small TOML file.

name = "mine"
title = "my trainer's ViT"

[rename]
"encoder.{i}.norm_a.{leaf}" = "blocks.{i}.norm1.{leaf}"

[[rule]]
from = ["encoder.{i}.q.{leaf}", "encoder.{i}.k.{leaf}", "encoder.{i}.v.{leaf}"]
to = "blocks.{i}.attn.qkv.{leaf}"
transform = "joined 3"

[ignore]
"decoder.{rest}" = "for pre-training only"

[values]
num_heads = 12
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from vit_convert.architectures import Fact, architectures
from vit_convert.architectures.base import CHOICES
from vit_convert.architectures.ranges import OutOfRangeError, checked
from vit_convert.architectures.vit.rotary import KINDS
from vit_convert.checkpoint.inert import glance
from vit_convert.dialects.attention_transforms import (
    BIAS_WITHOUT_KEYS,
    JAX_OUTPUT,
    Q_AND_KV,
    jax_head_biases,
    jax_heads,
)
from vit_convert.dialects.patterns import PLACEHOLDERS, placeholders
from vit_convert.dialects.rules import Dialect, Ignore, Rule
from vit_convert.dialects.toml_file import parse, read_text
from vit_convert.dialects.transforms import (
    CONVOLUTION,
    CUT_OUT_PATCHES,
    HWIO,
    SAME,
    TRANSPOSED,
    UNFOLDED_PATCHES,
    joined,
    with_axes,
)
from vit_convert.dialects.validation import problems_of
from vit_convert.errors import UsageError
from vit_convert.runtime.limits import RULES

_KEYS = ("name", "title", "architecture", "marker", "rename", "rule", "ignore", "values")
_NAME = "letters, digits, - and _, and none of the built-in names"


# what [values] may say
_VALUES = (
    "num_heads",
    "gelu",
    "norm",
    "norm_eps",
    "norm_position",
    "rotary",
    "rotary_base",
    "pool",
    "pool_heads",
    "pool_prefix",
    "mean",
    "std",
    "interpolation",
    "crop_pct",
    "crop_mode",
    "pos_embed",
)
_WHAT = "a rule file; see docs/dialects.md"

# the transforms that a rule can name
NAMED = {
    transform.name: transform
    for transform in (
        SAME,
        CONVOLUTION,
        joined(2),
        joined(3),
        Q_AND_KV,
        BIAS_WITHOUT_KEYS,
        TRANSPOSED,
        HWIO,
        with_axes(1),
        with_axes(2),
        UNFOLDED_PATCHES,
        CUT_OUT_PATCHES,
        jax_heads(3),
        jax_head_biases(3),
        JAX_OUTPUT,
    )
}


def read_rules(path: str | Path, canonical: Callable[[str], Collection[str]]) -> Dialect:
    """The dialect of a rule file.

    Args:
        path: the file.
        canonical: name of an architecture -> patterns of all names that rules may aim at; raises
            UsageError for an unknown one.

    Raises:
        UsageError: it cannot be read, or is wrong; the message names the line.
    """
    path = Path(path)
    return parse_rules(read_text(path, _WHAT), str(path), canonical)


def parse_rules(text: str, where: str, canonical: Callable[[str], Collection[str]]) -> Dialect:
    """As `read_rules`, from the text of a rule file."""
    data = parse(text, where, _WHAT)
    parser = _Parser(text, where)
    dialect = parser.dialect(data)
    count = sum(len(rule.sources) for rule in dialect.rules) + len(dialect.ignored)
    RULES.check(count, where, error=UsageError)
    problems = problems_of(dialect, canonical(dialect.architecture))
    if problems:
        lines = "\n".join(f"  {parser.line(name)}{name}: {what}" for name, what in problems)
        raise UsageError(
            f"its rules are wrong:\n{lines}",
            where=where,
            expected="rules that claim each name once, and parameters of the model on the right",
            hint="vit-convert inspect CHECKPOINT --rules-template lists both",
        )
    return dialect


class _Parser:
    """Turns parsed TOML into a dialect, and says which line is wrong."""

    def __init__(self, text: str, where: str) -> None:
        self.text, self.where = text, where

    def line(self, name: str) -> str:
        """ "line 12: ", where a name first stands in the file, or ""."""
        for number, line in enumerate(self.text.splitlines(), 1):
            if f'"{name}"' in line or f"'{name}'" in line:
                return f"line {number}: "
        return ""

    def wrong(self, what: str, expected: str, name: str = "") -> UsageError:
        return UsageError(f"{self.line(name)}{what}", where=self.where, expected=expected)

    def dialect(self, data: dict[str, Any]) -> Dialect:
        if unknown := set(data) - set(_KEYS):
            raise self.wrong(f"{glance(sorted(unknown)[0])} means nothing here", ", ".join(_KEYS))
        name = data.get("name", "")
        if not isinstance(name, str) or not name.replace("-", "").replace("_", "").isalnum():
            raise self.wrong(f"its name is {glance(name)}", _NAME)
        rules = (*self._renames(data.get("rename", {})), *self._rules(data.get("rule", [])))
        if not rules:
            raise self.wrong("has no rules", "[rename], or [[rule]]")
        ignored = tuple(
            Ignore(pattern, self._text(reason, "the reason why it is ignored", pattern))
            for pattern, reason in self._table(data.get("ignore", {}), "ignore").items()
        )
        return Dialect(
            name=name,
            architecture=self._text(
                data.get("architecture", "vit"), " or ".join(a.name for a in architectures())
            ),
            title=self._text(data.get("title", name), "a text"),
            marker=self._text(data.get("marker", _marker(rules)), "a name in the checkpoint"),
            rules=rules,
            ignored=ignored,
            facts=self._values(self._table(data.get("values", {}), "values")),
            text=self.text,
            rotary=KINDS,
        )

    def _renames(self, table: Any) -> tuple[Rule, ...]:
        rules = []
        for source, target in self._table(table, "rename").items():
            if not isinstance(target, str) or not target:
                raise self.wrong(
                    f"{source!r} has no name of the model's beside it",
                    "a canonical name, or the pattern under [ignore]",
                    source,
                )
            rules.append(Rule((source,), (target,)))
        return tuple(rules)

    def _rules(self, entries: Any) -> tuple[Rule, ...]:
        if not isinstance(entries, list):
            raise self.wrong("'rule' is no list", "[[rule]]")
        return tuple(self._rule(entry) for entry in entries)

    def _rule(self, entry: Any) -> Rule:
        if not isinstance(entry, dict) or set(entry) - {"from", "to", "transform", "stacked"}:
            raise self.wrong(f"a rule is {glance(entry)}", "from, to, transform, stacked")
        sources, targets = (self._names(entry.get(key), key) for key in ("from", "to"))
        transform = entry.get("transform", "same")
        if not isinstance(transform, str) or transform not in NAMED:
            raise self.wrong(
                f"no transform is called {glance(transform)}", ", ".join(NAMED), sources[0]
            )
        return Rule(sources, targets, NAMED[transform], bool(entry.get("stacked", False)))

    def _names(self, value: Any, key: str) -> tuple[str, ...]:
        names = [value] if isinstance(value, str) else value
        if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
            raise self.wrong(f"a rule's {key!r} is {glance(value)}", "a pattern, or a list of them")
        return tuple(names)

    def _table(self, value: Any, key: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.wrong(f"{key!r} is no table", f"[{key}]")
        return value

    def _text(self, value: Any, expected: str, name: str = "") -> str:
        if not isinstance(value, str) or not value:
            raise self.wrong(f"{glance(value)} is no text", expected, name)
        return value

    def _values(self, table: dict[str, Any]) -> dict[str, Fact]:
        facts = {}
        for key, value in table.items():
            if key not in _VALUES:
                raise self.wrong(
                    f"{glance(key)} is no value that can be stated", ", ".join(_VALUES)
                )
            try:
                stated = checked(key, value, CHOICES.get(key, ()))
            except OutOfRangeError as error:
                what = f"{key} is {glance(value)}{error.meaning and f': {error.meaning}'}"
                raise self.wrong(what, error.expected) from None
            facts[key] = Fact(stated, "given", "your rule file")
        return facts


def _marker(rules: tuple[Rule, ...]) -> str:
    """A name that a checkpoint of these rules has: block 0's of the first rule for blocks."""
    patterns = [source for rule in rules for source in rule.sources]
    first = next((p for p in patterns if "i" in placeholders(p)), patterns[0])
    for name in PLACEHOLDERS:
        first = first.replace(f"{{{name}}}", "weight" if name == "leaf" else "0")
    return first
