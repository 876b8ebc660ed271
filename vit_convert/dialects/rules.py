"""Renaming as data: rules that read in one direction and write in the other.

A pattern is a tensor's whole name in which `{i}` stands for a block's index, `{j}` for a second one
inside the block and `{leaf}` for weight or bias: `blocks.{i}.attn.qkv.{leaf}`. Nothing else is
special.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np

from vit_convert.architectures import Shape
from vit_convert.checkpoint.tensor import LazyTensor, Tensors
from vit_convert.errors import MappingError

_PLACEHOLDERS = {"i": r"\d+", "j": r"\d+", "leaf": "weight|bias"}


@dataclass(frozen=True)
class Transform:
    """How the arrays of a rule's sources become the target's array, and back.

    Attributes:
        name: for people.
        forward: source arrays -> target array.
        backward: target array, number of sources -> source arrays.
        shape: source shapes -> target shape.
    """

    name: str
    forward: Callable[[Sequence[np.ndarray]], np.ndarray]
    backward: Callable[[np.ndarray, int], Sequence[np.ndarray]]
    shape: Callable[[Sequence[Shape]], Shape]


SAME = Transform(
    "same",
    forward=lambda arrays: arrays[0],
    backward=lambda array, count: [array],
    shape=lambda shapes: shapes[0],
)


@dataclass(frozen=True)
class Rule:
    """Source tensors that make one canonical tensor.

    Attributes:
        sources: patterns of the names in the file; all with the same placeholders as `target`.
        target: pattern of the canonical name.
        transform: from the sources' arrays to the target's.
    """

    sources: tuple[str, ...]
    target: str
    transform: Transform = SAME


def same(*patterns: str) -> tuple[Rule, ...]:
    """Rules for names that are canonical already."""
    return tuple(Rule((pattern,), pattern) for pattern in patterns)


def renamed(source: str, target: str) -> Rule:
    """A rule that only renames."""
    return Rule((source,), target)


@dataclass(frozen=True)
class Ignore:
    """Source tensors that inference does not need, and why."""

    pattern: str
    reason: str


@dataclass(frozen=True)
class Dialect:
    """A naming scheme for one architecture.

    Attributes:
        name: for `--dialect` and the artifact's metadata.
        architecture: the canonical vocabulary that it maps to.
        title: for people: whose names these are.
        marker: a source name that every such checkpoint has; what stands before it is the prefix.
        rules, ignored: the table.
    """

    name: str
    architecture: str
    title: str
    marker: str
    rules: tuple[Rule, ...]
    ignored: tuple[Ignore, ...] = ()


@dataclass(frozen=True)
class Ledger:
    """Where every tensor of a checkpoint went.

    Attributes:
        dialect: the scheme that was used.
        prefix: what stood before the names, e.g. "module.".
        tensors: canonical name -> lazy tensor.
        sources: canonical name -> the source names that it is made of.
        ignored: source name -> reason.
        unexpected: source names that no rule knows.
        incomplete: canonical name -> source names that its rule misses.
    """

    dialect: Dialect
    prefix: str
    tensors: dict[str, LazyTensor] = field(default_factory=dict)
    sources: dict[str, tuple[str, ...]] = field(default_factory=dict)
    ignored: dict[str, str] = field(default_factory=dict)
    unexpected: tuple[str, ...] = ()
    incomplete: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def known(self) -> int:
        """Source tensors that a rule knows."""
        return sum(map(len, self.sources.values())) + len(self.ignored)


@cache
def compile_pattern(pattern: str) -> re.Pattern[str]:
    """The anchored regular expression of a pattern."""
    parts = re.split(r"\{(\w+)\}", pattern)
    text = "".join(
        f"(?P<{part}>{_PLACEHOLDERS[part]})" if i % 2 else re.escape(part)
        for i, part in enumerate(parts)
    )
    return re.compile(text)


def read_with(dialect: Dialect, tensors: Tensors, prefix: str) -> Ledger:
    """Rename a checkpoint's tensors into the canonical vocabulary.

    Every tensor is consumed once, ignored for a reason, or listed as unexpected. Nothing is read.

    Raises:
        MappingError: two rules claim the same tensor (the dialect is wrong).
    """
    found: dict[str, tuple[Rule, dict[int, str]]] = {}
    ignored: dict[str, str] = {}
    unexpected = []
    for full_name in tensors:
        if not full_name.startswith(prefix):
            unexpected.append(full_name)
            continue
        name = full_name[len(prefix) :]
        claims = list(_claims(dialect, name))
        if len(claims) > 1:
            raise MappingError(
                f"rules overlap: {' and '.join(claim[0] for claim in claims)}",
                where=f"{full_name} in dialect {dialect.name}",
            )
        if not claims:
            unexpected.append(full_name)
            continue
        target, rule, position = claims[0]
        if isinstance(rule, Ignore):
            ignored[full_name] = rule.reason
        else:
            found.setdefault(target, (rule, {}))[1][position] = full_name
    ledger = Ledger(dialect, prefix, ignored=ignored, unexpected=tuple(unexpected))
    for target, (rule, names) in found.items():
        missing = [s for i, s in enumerate(rule.sources) if i not in names]
        if missing:
            ledger.incomplete[target] = tuple(missing)
            continue
        ordered = tuple(names[i] for i in range(len(rule.sources)))
        ledger.sources[target] = ordered
        ledger.tensors[target] = _combined(target, rule, [tensors[name] for name in ordered])
    return ledger


def _claims(dialect: Dialect, name: str) -> Iterable[tuple[str, Rule | Ignore, int]]:
    """(target or reason, rule, position among its sources) of each rule that knows a name."""
    for rule in dialect.rules:
        for position, pattern in enumerate(rule.sources):
            if match := compile_pattern(pattern).fullmatch(name):
                yield rule.target.format(**match.groupdict()), rule, position
    for ignore in dialect.ignored:
        if compile_pattern(ignore.pattern).fullmatch(name):
            yield ignore.reason, ignore, 0


def _combined(target: str, rule: Rule, parts: list[LazyTensor]) -> LazyTensor:
    return LazyTensor(
        target,
        rule.transform.shape([part.shape for part in parts]),
        parts[0].dtype,
        lambda: rule.transform.forward([part.read() for part in parts]),
    )


def write_with(
    dialect: Dialect, tensors: Mapping[str, LazyTensor], prefix: str
) -> list[LazyTensor]:
    """The inverse of `read_with`: canonical tensors under the dialect's names.

    Raises:
        MappingError: the dialect has no name for some tensor.
    """
    written: list[LazyTensor] = []
    nameless = []
    for name, tensor in tensors.items():
        for rule in dialect.rules:
            if match := compile_pattern(rule.target).fullmatch(name):
                arrays = rule.transform.backward(tensor.read(), len(rule.sources))
                names = [prefix + source.format(**match.groupdict()) for source in rule.sources]
                written += [
                    replace(LazyTensor.of(source, array), dtype=tensor.dtype)
                    for source, array in zip(names, arrays, strict=True)
                ]
                break
        else:
            nameless.append(name)
    if nameless:
        raise MappingError(
            f"{dialect.title} has no name for {', '.join(nameless[:5])}",
            where=f"--dialect {dialect.name}",
            hint="another --dialect",
        )
    return written
