"""Rules invert: of any table, and of every dialect, what is written reads as it was, and what is
read is written as it was; whatever the shapes, indices, types and prefixes.

`HYPOTHESIS_EXAMPLES=5000` tries more of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from vit_convert.checkpoint.tensor import LazyTensor
from vit_convert.dialects import Dialect, dialects, write_with
from vit_convert.dialects.attention_transforms import (
    BIAS_WITHOUT_KEYS,
    GROUPED_QUERIES,
    JAX_OUTPUT,
    MASKED_KEY_BIAS,
    Q_AND_KV,
    jax_head_biases,
    jax_heads,
)
from vit_convert.dialects.ledger import Ledger, read_with
from vit_convert.dialects.patterns import placeholders
from vit_convert.dialects.rules import Rule
from vit_convert.dialects.transforms import (
    CONVOLUTION,
    CUT_OUT_PATCHES,
    HWIO,
    SAME,
    TRANSPOSED,
    UNFOLDED_PATCHES,
    Transform,
    joined,
    with_axes,
)
from vit_convert.dialects.validation import problems_of

EXAMPLES = int(os.environ.get("HYPOTHESIS_EXAMPLES", 0))


def many(count: int) -> settings:
    return settings(
        max_examples=EXAMPLES or count,
        deadline=None,  # pytest-timeout sees to it that nothing hangs
        suppress_health_check=[HealthCheck.too_slow],
        print_blob=True,
    )


Shapes = list[tuple[int, ...]]


class Sizes:
    """Random sizes, the same number of heads, and of heads that share keys, throughout."""

    def __init__(self, rng: np.random.Generator, heads: int) -> None:
        self.rng, self.heads = rng, heads
        self.groups = int(rng.choice([n for n in range(1, heads + 1) if heads % n == 0]))

    def one(self) -> int:
        return int(self.rng.integers(1, 6))

    def some(self, most: int = 3) -> tuple[int, ...]:
        return tuple(self.one() for _ in range(self.rng.integers(0, most + 1)))

    def kernel(self) -> tuple[int, ...]:
        side = self.one()
        return self.one(), 3, side, side


def _joined(count: int) -> Callable[[Sizes], Shapes]:
    return lambda s: [(count * s.one(), *s.some(2))]


def _thirds(s: Sizes) -> Shapes:
    part, rest = s.one(), s.some(2)
    return [(part, *rest), (2 * part, *rest)]


def _grouped(s: Sizes) -> Shapes:
    width = s.one()
    return [(3 * s.heads * width, s.one()), (3 * s.heads * width,), (width,)]


# shapes of the targets of every transform
SHAPES: dict[str, Callable[[Sizes], Shapes]] = {
    SAME.name: lambda s: [s.some(4)],
    CONVOLUTION.name: lambda s: [tuple(s.one() for _ in range(4))],
    TRANSPOSED.name: lambda s: [(s.one(), s.one())],
    HWIO.name: lambda s: [tuple(s.one() for _ in range(4))],
    UNFOLDED_PATCHES.name: lambda s: [s.kernel()],
    CUT_OUT_PATCHES.name: lambda s: [s.kernel()],
    Q_AND_KV.name: _thirds,
    JAX_OUTPUT.name: lambda s: [(s.one(), s.heads * s.one())],
    BIAS_WITHOUT_KEYS.name: lambda s: [(3 * s.one(),)],
    MASKED_KEY_BIAS.name: lambda s: [(3 * s.one(),)],
    GROUPED_QUERIES.name: _grouped,
    **{joined(n).name: _joined(n) for n in (2, 3)},
    **{with_axes(n).name: lambda s, n=n: [(*[1] * n, *s.some(2))] for n in (1, 2)},
    **{jax_heads(n).name: lambda s, n=n: [(n * s.heads * s.one(), s.one())] for n in (1, 2, 3)},
    **{jax_head_biases(n).name: lambda s, n=n: [(n * s.heads * s.one(),)] for n in (1, 2, 3)},
}
TRANSFORMS: tuple[Transform, ...] = (
    *(SAME, CONVOLUTION, TRANSPOSED, HWIO, UNFOLDED_PATCHES, CUT_OUT_PATCHES, Q_AND_KV, JAX_OUTPUT),
    *(BIAS_WITHOUT_KEYS, MASKED_KEY_BIAS, GROUPED_QUERIES, joined(2), joined(3), with_axes(2)),
    *(jax_heads(1), jax_heads(3), jax_head_biases(1), jax_head_biases(3)),
)


def arrays_for(transform: Transform, sizes: Sizes, shapes: Shapes) -> list[np.ndarray]:
    """Targets that some sources give: keys have no bias, and groups of heads share theirs."""
    arrays = [sizes.rng.standard_normal(shape) for shape in shapes]
    if transform.name in (BIAS_WITHOUT_KEYS.name, MASKED_KEY_BIAS.name):
        third = len(arrays[0]) // 3
        arrays[0][third : 2 * third] = 0
    if transform.name == GROUPED_QUERIES.name:
        for array in arrays[:2]:
            by_head = array.reshape(3, sizes.heads // sizes.groups, sizes.groups, -1)
            by_head[1:] = by_head[1:, :, :1]
    return arrays


def tensors_for(rules: list[Rule], sizes: Sizes, depth: int, dtype: str) -> dict[str, LazyTensor]:
    """Canonical tensors for every rule, in any order."""
    made: list[LazyTensor] = []
    for rule in rules:
        for places in _places(rule, depth):
            shapes = SHAPES[rule.transform.name](sizes)
            for groups in places:  # those of a stacked rule have the same shapes
                arrays = arrays_for(rule.transform, sizes, shapes)
                made += [
                    LazyTensor.of(target.format(**groups), array.astype(dtype))
                    for target, array in zip(rule.targets, arrays, strict=True)
                ]
    order = sizes.rng.permutation(len(made))
    return {made[i].name: made[i] for i in order}


def _places(rule: Rule, depth: int) -> Iterator[list[dict[str, str]]]:
    """Values of the placeholders of a rule's targets; those of a stacked rule together."""
    wanted = placeholders(rule.targets[0])
    found: list[dict[str, str]] = [{}]
    for name, values in (("leaf", ("weight", "bias")), ("j", ("0", "1")), ("chunk", ("0", "1"))):
        if name in wanted:
            found = [groups | {name: value} for groups in found for value in values]
    blocks = [str(i) for i in range(depth)] if "i" in wanted else []
    for groups in found:
        of_blocks = [groups | {"i": i} for i in blocks] or [groups]
        if rule.stacked:
            yield of_blocks
        else:
            yield from ([one] for one in of_blocks)


def same_arrays(got: dict[str, LazyTensor], expected: dict[str, LazyTensor]) -> None:
    assert got.keys() == expected.keys()
    for name, tensor in expected.items():
        array, wanted = got[name].read(), tensor.read()
        assert (got[name].shape, got[name].dtype) == (tensor.shape, tensor.dtype), name
        assert array.shape == got[name].shape, name
        assert array.tobytes() == wanted.tobytes(), name


def there_and_back(
    table: Dialect,
    canonical: dict[str, LazyTensor],
    config: Any,
    prefix: str,
    body: str,
    fills: dict[str, tuple[str, ...]],
) -> Ledger:
    """Write, read, and write again."""
    written = write_with(table, canonical, prefix, body=body, fills=fills, config=config)
    sources = {tensor.name: tensor for tensor in written}
    assert len(sources) == len(written)
    ledger = read_with(table, sources, prefix, body)
    assert (ledger.unexpected, ledger.problems, ledger.ignored) == ({}, {}, {})
    assert {name for names in ledger.sources.values() for name in names} == {*sources}
    same_arrays(ledger.tensors, canonical)
    again = write_with(
        table, ledger.tensors, prefix, body=ledger.body, fills=ledger.fills, config=config
    )
    same_arrays({tensor.name: tensor for tensor in again}, sources)
    return ledger


TABLES = dialects()


def test_every_transform_of_a_dialect_is_tried_here() -> None:
    used = {rule.transform.name for table in TABLES for rule in table.rules}
    assert used <= SHAPES.keys()
    assert {transform.name for transform in TRANSFORMS} <= SHAPES.keys()


@pytest.mark.parametrize("table", TABLES, ids=lambda d: f"{d.name}-{d.architecture}")
@many(6)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_every_dialect_inverts(table: Dialect, data: st.DataObject, seed: int) -> None:
    rng = np.random.default_rng(seed)
    fields = {rule.when[0]: [] for rule in table.rules if rule.when}
    for rule in table.rules:
        if rule.when:
            fields[rule.when[0]].append(rule.when[1])
    values = {name: data.draw(st.sampled_from(those)) for name, those in fields.items()}
    rotary = data.draw(st.sampled_from(table.rotary))
    heads = data.draw(st.integers(1, 6))
    config = SimpleNamespace(num_heads=heads, **{"rotary": rotary} | values)
    rules = [r for r in table.rules if not r.when or values[r.when[0]] == r.when[1]]
    depth = data.draw(st.integers(1, 12))
    body, prefix = data.draw(st.sampled_from(table.bodies)), data.draw(st.sampled_from(PREFIXES))
    dtype = data.draw(st.sampled_from(["float16", "float32", "float64"]))
    lost = {name for r in rules for s in r.sources for name in placeholders(s)} - {
        name for r in rules for t in r.targets for name in placeholders(t)
    }
    chunks = ("0", *(str(rng.integers(0, 100)) for _ in range(depth - 1)))  # the marker has 0
    canonical = tensors_for(rules, Sizes(rng, heads), depth, dtype)
    ledger = there_and_back(
        table, canonical, config, prefix, body, {"chunk": chunks} if "chunk" in lost else {}
    )
    if "chunk" in lost:
        assert ledger.fills == {"chunk": chunks}
    if any(rule.transform.heads for rule in rules):
        assert ledger.facts["num_heads"].value == heads


PREFIXES = ("", "module.", "module.backbone.", "a+b*(c)[0].", "größe.")
# characters that a regular expression or a path could take for something else
_WORDS = st.text("ab01.+*?[]()^$|\\_-/ ü", min_size=1, max_size=5)


@st.composite
def tables(draw: st.DrawFn) -> Dialect:
    """Any table: literal texts, placeholders anywhere in them, any transforms."""
    rules = []
    for number in range(draw(st.integers(1, 8))):
        transform = draw(st.sampled_from(TRANSFORMS))
        has_leaf, has_block, has_j = (draw(st.booleans()) for _ in range(3))
        stacked = has_block and draw(st.booleans())
        has_chunk = has_block and not stacked and draw(st.booleans())
        kept = [
            f"{{{name}}}"
            for name, there in (("leaf", has_leaf), ("i", has_block), ("j", has_j))
            if there
        ]

        def pattern(name: str, parts: list[str]) -> str:
            # a dot between parts, because two indices side by side could be cut in many ways
            return ".".join([name, *(text for part in parts for text in (draw(_WORDS), part))])

        sources = [p for p in kept if not (stacked and p == "{i}")]
        sources += ["{chunk}"] if has_chunk else []
        rules.append(
            Rule(
                tuple(
                    pattern(f"s{number}-{k}", draw(st.permutations(sources)))
                    for k in range(transform.sources)
                ),
                tuple(
                    pattern(f"t{number}-{k}", draw(st.permutations(kept)))
                    for k in range(transform.targets)
                ),
                transform,
                stacked,
            )
        )
    return Dialect("any", "vit", "any table", "marker", tuple(rules))


@many(150)
@given(
    table=tables(),
    depth=st.integers(1, 12),
    heads=st.integers(1, 6),
    prefix=st.sampled_from(PREFIXES),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_table_inverts(
    table: Dialect, depth: int, heads: int, prefix: str, seed: int
) -> None:
    targets = [target for rule in table.rules for target in rule.targets]
    assume(not problems_of(table, targets))
    rng = np.random.default_rng(seed)
    canonical = tensors_for(list(table.rules), Sizes(rng, heads), depth, "float32")
    config = SimpleNamespace(num_heads=heads)
    chunks = {"chunk": tuple(str(rng.integers(0, 100)) for _ in range(depth))}
    there_and_back(table, canonical, config, prefix, "", chunks)
