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

import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from vit_convert.architectures import Fact, architectures
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
from vit_convert.runtime.input_file import read_input
from vit_convert.runtime.limits import RULES, RULES_BYTES

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_LARGEST = 1e9
_MOST_DOTS = 200
_KEYS = ("name", "title", "architecture", "marker", "rename", "rule", "ignore", "values")
_NAME = "letters, digits, - and _, and none of the built-in names"


def _one_of(*choices: str) -> Callable[[Any], bool]:
    return lambda value: value in choices


def _number(value: Any) -> bool:
    return _is_number(value) and value > 0


def _channels(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(map(_is_number, value))


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and -_LARGEST < value < _LARGEST  # as NaN is not


# what [values] may say, how it is checked, and what is expected
_VALUES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "num_heads": (lambda v: type(v) is int and 0 < v < 1 << 16, "a positive whole number"),
    "gelu": (_one_of("erf", "tanh", "quick", "relu"), "erf, tanh, quick or relu"),
    "norm": (_one_of("layer", "rms"), "layer or rms"),
    "norm_eps": (_number, "a positive number"),
    "norm_position": (_one_of("pre", "post", "res-post"), "pre, post or res-post"),
    "rotary": (_one_of(*KINDS), ", ".join(KINDS)),
    "rotary_base": (_number, "a positive number"),
    "pool": (_one_of("token", "avg", "max", "avgmax", "map"), "token, avg, max, avgmax or map"),
    "pool_heads": (lambda v: type(v) is int and v > 0, "a positive whole number"),
    "pool_prefix": (lambda v: type(v) is bool, "true or false"),
    "mean": (_channels, "three numbers"),
    "std": (_channels, "three numbers"),
    "interpolation": (_one_of("bicubic", "bilinear"), "bicubic or bilinear"),
    "crop_pct": (_number, "a positive number"),
    "crop_mode": (_one_of("center", "squash"), "center or squash"),
    "pos_embed": (_one_of("antialias", "bicubic"), "antialias or bicubic"),
}

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
    try:
        text = read_input(path, RULES_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise UsageError(
            f"cannot be read: {error.strerror or error}", where=str(path), expected="a rule file"
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError("is not UTF-8 text", where=str(path), expected="a rule file") from error
    return parse_rules(text, str(path), canonical)


def parse_rules(text: str, where: str, canonical: Callable[[str], Collection[str]]) -> Dialect:
    """As `read_rules`, from the text of a rule file."""
    for number, line in enumerate(text.splitlines(), 1):
        # a key of n parts costs the parser n squared
        if line.count(".") > _MOST_DOTS:
            raise UsageError(
                f"line {number} has more than {_MOST_DOTS} dots",
                where=where,
                expected="a rule file; see docs/dialects.md",
            )
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError also for numbers of many digits
        raise UsageError(
            f"is no TOML: {error}", where=where, expected="a rule file; see docs/dialects.md"
        ) from error
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
            check, expected = _VALUES[key]
            if not isinstance(value, (str, int, float, list)) or not check(value):
                raise self.wrong(f"{key} is {glance(value)}", expected)
            stated = tuple(map(float, value)) if isinstance(value, list) else value
            facts[key] = Fact(stated, "given", "your rule file")
        return facts


def _marker(rules: tuple[Rule, ...]) -> str:
    """A name that a checkpoint of these rules has: block 0's of the first rule for blocks."""
    patterns = [source for rule in rules for source in rule.sources]
    first = next((p for p in patterns if "i" in placeholders(p)), patterns[0])
    for name in PLACEHOLDERS:
        first = first.replace(f"{{{name}}}", "weight" if name == "leaf" else "0")
    return first
