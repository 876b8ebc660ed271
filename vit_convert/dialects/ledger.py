"""Reading with a dialect: every tensor is consumed once, or ignored for a reason."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from vit_convert.architectures import Fact
from vit_convert.checkpoint.tensor import LazyTensor, Tensors
from vit_convert.dialects.patterns import compile_pattern, placeholders
from vit_convert.dialects.rules import Dialect, Ignore, Rule
from vit_convert.dialects.transforms import MisfitError
from vit_convert.errors import MappingError, RecognitionError
from vit_convert.runtime.limits import BLOCKS

_Groups = tuple[tuple[str, str], ...]  # a match's placeholders


@dataclass(frozen=True)
class Ledger:
    """A record of what became of every tensor of a checkpoint.

    Attributes:
        dialect: the scheme that was used.
        prefix: what stood before the names, e.g. "module.".
        body: what `{body}` stood for.
        tensors: canonical name -> lazy tensor.
        sources: canonical name -> the source names that it is made of.
        ignored: source name -> reason.
        unexpected: source name that no rule knows -> what there is to say about it.
        problems: canonical name -> why it cannot be made of the sources that are there.
        fills: placeholder that canonical names lack -> its value for each block.
        facts: what the shapes of the sources say of the configuration, and those of the targets
            do not.
    """

    dialect: Dialect
    prefix: str
    body: str = ""
    tensors: dict[str, LazyTensor] = field(default_factory=dict)
    sources: dict[str, tuple[str, ...]] = field(default_factory=dict)
    ignored: dict[str, str] = field(default_factory=dict)
    unexpected: dict[str, str] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    fills: dict[str, tuple[str, ...]] = field(default_factory=dict)
    facts: dict[str, Fact] = field(default_factory=dict)

    def ignored_by_reason(self) -> list[tuple[str, str]]:
        """(names, why they are ignored), many names cut short."""
        reasons: dict[str, list[str]] = {}
        for name, reason in self.ignored.items():
            reasons.setdefault(reason, []).append(name)
        return [
            (", ".join(names[:3]) + (f", ... ({len(names)} in all)" if names[3:] else ""), reason)
            for reason, names in reasons.items()
        ]

    @property
    def known(self) -> int:
        """Source tensors that a rule knows and can use."""
        return len({name for names in self.sources.values() for name in names}) + len(self.ignored)


def read_with(dialect: Dialect, tensors: Tensors, prefix: str, body: str = "") -> Ledger:
    """Rename a checkpoint's tensors into the canonical vocabulary. Nothing is read but the few
    numbers that are ignored and yet tell something.

    Args:
        dialect: the scheme.
        tensors: the checkpoint's.
        prefix: what stands before all names.
        body: one of the dialect's bodies.

    Raises:
        MappingError: two rules claim the same tensor (the dialect is wrong).
        RecognitionError: there are more blocks than any model has.
    """
    bound = dialect.with_body(body)
    outer, beside = dialect.around(prefix)
    found: dict[tuple[Rule, _Groups], dict[int, str]] = {}
    ignored: dict[str, str] = {}
    unexpected: dict[str, str] = {}
    fills: dict[str, dict[int, str]] = {}
    blocks: dict[Rule, set[str]] = {}
    telling: dict[str, Callable[[LazyTensor], dict[str, Fact]]] = {}
    for full_name in tensors:
        name = full_name.removeprefix(prefix)
        claims = list(claims_of(bound, name if full_name.startswith(prefix) else full_name))
        if not full_name.startswith(prefix):
            claims = [claim for claim in claims if isinstance(claim[0], Ignore)]
            claims = claims or list(_left_out(beside, full_name.removeprefix(outer)))
        if len(claims) > 1:
            raise MappingError(
                f"rules overlap: {' and '.join(str(claim[2]) for claim in claims)}",
                where=f"{full_name} in dialect {dialect.name}",
            )
        if not claims:
            unexpected[full_name] = _refusal(bound, name)
            continue
        rule, position, _, match = claims[0]
        if isinstance(rule, Ignore):
            ignored[full_name] = rule.reason
            if rule.tells:
                telling[full_name] = rule.tells
            continue
        groups = _note_fills(rule, match, fills)
        if "i" in match.groupdict():
            indices = blocks.setdefault(rule, set())
            indices.add(match["i"])
            BLOCKS.check(len(indices), error=RecognitionError)  # before all names are gone through
        place = found.setdefault((rule, groups), {})
        if position in place:
            unexpected[full_name] = f"is there twice: {place[position]}"
            continue
        place[position] = full_name
    ledger = Ledger(
        dialect,
        prefix,
        body,
        ignored=ignored,
        unexpected=unexpected,
        fills={
            name: tuple(values.get(i, "0") for i in range(max(values) + 1))
            for name, values in fills.items()
        },
    )
    for name, tells in telling.items():
        try:
            ledger.facts.update(tells(tensors[name]))
        except MisfitError as error:
            ledger.problems[name] = str(error)
    for (rule, groups), names in found.items():
        _make(ledger, rule, dict(groups), names, tensors)
    return ledger


def _refusal(dialect: Dialect, name: str) -> str:
    for refused in dialect.refused:
        if compile_pattern(refused.pattern).fullmatch(name):
            return refused.reason
    return "no rule knows it"


def claims_of(
    dialect: Dialect, name: str
) -> Iterator[tuple[Rule | Ignore, int, str, re.Match[str]]]:
    """Who knows a name: rule, position among its sources, pattern, match."""
    for rule in dialect.rules:
        for position, pattern in enumerate(rule.sources):
            if match := compile_pattern(pattern).fullmatch(name):
                yield rule, position, pattern, match
    yield from _left_out(dialect.ignored, name)


def _left_out(
    ignored: tuple[Ignore, ...], name: str
) -> Iterator[tuple[Ignore, int, str, re.Match[str]]]:
    for ignore in ignored:
        if match := compile_pattern(ignore.pattern).fullmatch(name):
            yield ignore, 0, ignore.pattern, match


def _note_fills(rule: Rule, match: re.Match[str], fills: dict[str, dict[int, str]]) -> _Groups:
    """The placeholders that the targets have; those that they lack are noted by block."""
    wanted = placeholders(rule.targets[0])
    groups = match.groupdict()
    for name in groups.keys() - wanted:
        fills.setdefault(name, {}).setdefault(int(groups["i"]), groups[name])
    # sorted, because a rule's sources may have them in different orders
    return tuple(sorted((name, value) for name, value in groups.items() if name in wanted))


def _make(
    ledger: Ledger, rule: Rule, groups: dict[str, str], names: dict[int, str], tensors: Tensors
) -> None:
    """The targets of one rule, or the problem with them."""
    missing = [
        s.format(**groups | {"chunk": "N"}) for i, s in enumerate(rule.sources) if i not in names
    ]
    ordered = tuple(names[i] for i in sorted(names))
    blocks = [groups]
    if rule.stacked:
        shape = tensors[ordered[0]].shape
        count = shape[0] if shape else 0
        if count > BLOCKS.allowed():
            ledger.problems[ordered[0]] = f"would be {count} blocks"
            return
        blocks = [groups | {"i": str(i)} for i in range(count)]
    for i, block in enumerate(blocks):
        targets = [target.format(**block) for target in rule.targets]
        if missing:
            ledger.problems[targets[0]] = f"its parts are missing: {', '.join(missing)}"
            continue
        try:
            parts = [tensors[name] for name in ordered]
            if rule.stacked:
                parts = [_sliced(part, i, len(blocks)) for part in parts]
            made = _combined(targets, rule, parts)
            if rule.transform.heads:
                heads = rule.transform.heads([part.shape for part in parts])
                ledger.facts["num_heads"] = Fact(heads, "read", f"from the shape of {ordered[0]}")
        except MisfitError as error:
            ledger.problems[targets[0]] = str(error)
            continue
        for target, tensor in zip(targets, made, strict=True):
            if target in ledger.tensors:
                ledger.problems[target] = (
                    f"is there twice: {', '.join((*ledger.sources[target], *ordered))}"
                )
            ledger.tensors[target] = tensor
            ledger.sources[target] = ordered


def _sliced(tensor: LazyTensor, index: int, count: int) -> LazyTensor:
    if not tensor.shape or tensor.shape[0] != count:
        raise MisfitError(f"{tensor.name} has shape {tensor.shape}, expected {count} blocks")
    return LazyTensor(tensor.name, tensor.shape[1:], tensor.dtype, lambda: tensor.read()[index])


def _combined(targets: list[str], rule: Rule, parts: list[LazyTensor]) -> list[LazyTensor]:
    dtypes = sorted({part.dtype for part in parts})
    if len(dtypes) > 1:
        raise MisfitError(f"its parts are of different types: {', '.join(dtypes)}")
    shapes = rule.transform.shapes([part.shape for part in parts])

    def reading(index: int) -> LazyTensor:
        return LazyTensor(
            targets[index],
            tuple(shapes[index]),
            dtypes[0],
            lambda: rule.transform.forward([part.read() for part in parts])[index],
        )

    return [reading(index) for index in range(len(targets))]
