"""Writing with a dialect: the rules backwards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from vit_convert.architectures import TransformerConfig
from vit_convert.checkpoint.tensor import LazyTensor
from vit_convert.dialects.patterns import compile_pattern
from vit_convert.dialects.rules import Dialect, Rule
from vit_convert.dialects.transforms import MisfitError
from vit_convert.errors import MappingError

_Groups = tuple[tuple[str, str], ...]  # a match's placeholders


def write_with(
    dialect: Dialect,
    tensors: Mapping[str, LazyTensor],
    prefix: str,
    *,
    body: str | None = None,
    fills: Mapping[str, tuple[str, ...]] | None = None,
    config: TransformerConfig | None = None,
) -> list[LazyTensor]:
    """The inverse of `read_with`: canonical tensors under the dialect's names.

    Args:
        dialect: the scheme.
        tensors: canonical name -> tensor.
        prefix: what to put before all names.
        body: one of the dialect's bodies; its first by default.
        fills: see Ledger; zeros by default.
        config: the model's, for schemes that store q, k and v by head or call parts of several
            kinds of models otherwise.

    Raises:
        MappingError: the dialect has no name for some tensor, no place for its values, or a tensor
            in every model that this one lacks; or its models have no such rotary embedding.
    """
    rotary = getattr(config, "rotary", "none")
    if rotary not in dialect.rotary:
        raise MappingError(
            f"{dialect.title} has other rotary position embedding than this model",
            where=f"--dialect {dialect.name}",
            expected=f"{' or '.join(dialect.rotary)}; the model's is {rotary}",
            hint="another --dialect",
        )
    bound = dialect.with_body(dialect.bodies[0] if body is None else body)
    written: list[LazyTensor] = []
    left = dict(tensors)
    heads = config.num_heads if config else 1
    for rule in bound.rules:
        if config and rule.when and getattr(config, rule.when[0]) != rule.when[1]:
            continue
        if rule.transform.with_rotary and rotary != "none":
            rule = replace(rule, transform=rule.transform.with_rotary)
        for groups, parts in _instances(rule, left):
            filled = {"chunk": "0"} | _fills_of(groups, fills or {})
            names = [prefix + source.format(**filled, **groups) for source in rule.sources]
            for block in parts:
                for part in block:
                    del left[part.name]
            written += _taken_apart(rule, parts, names, heads, dialect)
    if left:
        raise MappingError(
            f"{dialect.title} has no name for {', '.join(list(left)[:5])}",
            where=f"--dialect {dialect.name}",
            hint="another --dialect",
        )
    _check_marked(bound, {tensor.name.removeprefix(prefix) for tensor in written})
    return written


def _check_marked(dialect: Dialect, names: set[str]) -> None:
    """Raises MappingError if what every model of the dialect has is not among its names."""
    patterns = [pattern for rule in dialect.rules for pattern in rule.sources]
    marker = dialect.marker
    if marker not in names and any(compile_pattern(p).fullmatch(marker) for p in patterns):
        raise MappingError(
            f"{dialect.title} always has {marker}, and this model has nothing for it",
            where=f"--dialect {dialect.name}",
            hint="another --dialect",
        )


def _fills_of(groups: Mapping[str, str], fills: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    block = int(groups.get("i", "0"))
    return {name: values[block] for name, values in fills.items() if block < len(values)}


def _instances(
    rule: Rule, tensors: Mapping[str, LazyTensor]
) -> Iterable[tuple[dict[str, str], list[list[LazyTensor]]]]:
    """Find each place where all targets of a rule exist.

    Yields the values of the placeholders, and the targets of each block: of one block, unless the
    rule is stacked.
    """
    first = compile_pattern(rule.targets[0])
    found: dict[_Groups, dict[int, list[LazyTensor]]] = {}
    for name in tensors:
        if not (match := first.fullmatch(name)):
            continue
        groups = match.groupdict()
        targets = [target.format(**groups) for target in rule.targets]
        if all(target in tensors for target in targets):
            block = int(groups.pop("i")) if rule.stacked else 0
            found.setdefault(tuple(groups.items()), {})[block] = [tensors[t] for t in targets]
    return [(dict(k), [blocks[i] for i in sorted(blocks)]) for k, blocks in found.items()]


def _taken_apart(
    rule: Rule, blocks: list[list[LazyTensor]], names: list[str], heads: int, dialect: Dialect
) -> list[LazyTensor]:
    made = []
    for block in blocks:
        try:
            made.append(rule.transform.backward([part.read() for part in block], heads))
        except MisfitError as error:
            raise MappingError(
                f"{dialect.title} cannot hold {block[0].name}: it {error}",
                where=f"--dialect {dialect.name}",
                hint="another --dialect",
            ) from error
    dtype = blocks[0][0].dtype
    return [
        replace(
            LazyTensor.of(
                name, np.stack([arrays[i] for arrays in made]) if rule.stacked else made[0][i]
            ),
            dtype=dtype,
        )
        for i, name in enumerate(names)
    ]
