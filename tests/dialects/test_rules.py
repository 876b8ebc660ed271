"""Rules consume each tensor once, in both directions, and never overlap."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from families import FAMILIES, OPTIONS, small_vit, tensors_of
from hypothesis import given
from hypothesis import strategies as st

from vit_convert.architectures import Architecture, ModelSpec, architectures
from vit_convert.checkpoint.tensor import LazyTensor
from vit_convert.dialects import (
    Dialect,
    canonical_patterns,
    dialect,
    dialects,
    read_as_canonical,
    write_with,
)
from vit_convert.dialects.ledger import read_with
from vit_convert.dialects.patterns import compile_pattern, examples
from vit_convert.dialects.rules import joining, renamed, same
from vit_convert.dialects.transforms import joined
from vit_convert.dialects.validation import problems_of
from vit_convert.errors import MappingError, UsageError


def tensors(*names: str) -> dict[str, LazyTensor]:
    return {name: LazyTensor.of(name, np.full((2, 3), i)) for i, name in enumerate(names)}


def test_patterns_are_anchored_and_literal() -> None:
    pattern = compile_pattern("blocks.{i}.norm1.{leaf}")
    assert pattern.fullmatch("blocks.12.norm1.bias")
    for wrong in (
        "blocks.12.norm1.bias.x",
        "x.blocks.12.norm1.bias",
        "blocksX12.norm1.bias",
        "blocks.a.norm1.bias",
        "blocks.12.norm1.gamma",
    ):
        assert not pattern.fullmatch(wrong)


@pytest.mark.parametrize("table", dialects(), ids=lambda d: f"{d.name}-{d.architecture}")
def test_rules_are_right_and_do_not_overlap(table: Dialect) -> None:
    assert problems_of(table, canonical_patterns(table.architecture)) == []


@pytest.mark.parametrize(
    ("target", "is_one"),
    [
        ("norm.{leaf}", True),
        ("norm.bias", True),
        ("blocks.{i}.attn.qkv.weight", True),
        ("blocks.3.norm1.weight", True),
        ("norm.gamma", False),
        ("blocks.{i}.attn.{leaf}", False),
    ],
)
def test_a_rule_may_aim_at_one_of_the_names_of_a_pattern(target: str, is_one: bool) -> None:
    source = f"a.{target}"
    table = replace(dialects()[0], bodies=("",), rules=(renamed(source, target),), ignored=())
    problems = problems_of(
        table, {"norm.{leaf}", "blocks.{i}.norm1.{leaf}", "blocks.{i}.attn.qkv.{leaf}"}
    )
    assert problems == ([] if is_one else [(source, f"{target} is no parameter of the model")])


@pytest.mark.parametrize(
    "family", [a for a in architectures() if a.published()], ids=lambda a: a.name
)
def test_timm_names_every_parameter_of_published_models(family: Architecture) -> None:
    rules = dialect("timm", family.name).rules
    for published in family.variants:
        for parameter in ModelSpec(family.name, published.config).parameters():
            named = [r for r in rules if compile_pattern(r.targets[0]).fullmatch(parameter.name)]
            assert len(named) == 1, parameter.name


def test_examples_of_a_pattern_match_it() -> None:
    found = examples("x.{i}.y_{leaf}")
    assert len(found) == 4
    assert all(compile_pattern("x.{i}.y_{leaf}").fullmatch(name) for name in found)


@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "module.backbone."])
@pytest.mark.parametrize("name", [*FAMILIES, *OPTIONS])
def test_there_and_back_is_the_same(name: str, prefix: str) -> None:
    family = (FAMILIES | OPTIONS)[name]()
    named = family.tensors() if name == "post-norm" else tensors_of(family.model)  # PyTorch's block
    source = {prefix + k: LazyTensor.of(prefix + k, v.read()) for k, v in named.items()}
    ledger = read_as_canonical(source, "here")
    assert (ledger.dialect.architecture, ledger.prefix) == (family.spec.architecture, prefix)
    assert not ledger.unexpected
    assert not ledger.problems
    back = write_with(ledger.dialect, ledger.tensors, ledger.prefix)
    assert {t.name for t in back} == set(source)
    for tensor in back:
        np.testing.assert_array_equal(tensor.read(), source[tensor.name].read())


def test_old_layer_scale_names_are_a_dialect_of_their_own() -> None:
    family = small_vit(layer_scale=True)
    old = {
        k.replace("ls1.gamma", "gamma_1").replace("ls2.gamma", "gamma_2"): LazyTensor.of(k, v)
        for k, v in family.arrays().items()
    }
    ledger = read_as_canonical(old, "here")
    assert ledger.dialect.name == "timm-gamma"
    assert set(ledger.tensors) == set(family.arrays())
    assert {t.name for t in write_with(ledger.dialect, ledger.tensors, "")} == set(old)


THREE = Dialect(
    "three",
    "vit",
    "three in one",
    "a.0.q",
    (joining(("a.{i}.q", "a.{i}.k", "a.{i}.v"), "b.{i}.qkv", joined(3)), renamed("c", "d")),
)


@given(order=st.permutations(["a.0.q", "a.0.k", "a.0.v", "c", "a.1.v", "a.1.q", "a.1.k"]))
def test_several_sources_join_in_the_rules_order(order: list[str]) -> None:
    source = tensors(*order)
    ledger = read_with(THREE, source, "")
    assert set(ledger.tensors) == {"b.0.qkv", "b.1.qkv", "d"}
    joined = ledger.tensors["b.1.qkv"]
    assert joined.shape == (6, 3) == joined.read().shape
    expected = np.concatenate([source[f"a.1.{part}"].read() for part in "qkv"])
    np.testing.assert_array_equal(joined.read(), expected)
    back = {t.name: t.read() for t in write_with(THREE, ledger.tensors, "")}
    assert set(back) == set(source)
    for name, array in back.items():
        np.testing.assert_array_equal(array, source[name].read())


def test_sources_may_have_their_placeholders_in_different_orders() -> None:
    rule = joining(("q.{i}.of.{leaf}", "{leaf}.k.{i}"), "b.{i}.qk.{leaf}", joined(2))
    table = replace(THREE, rules=(rule,))
    source = tensors("bias.k.0", "q.0.of.bias", "q.1.of.weight", "weight.k.1")
    ledger = read_with(table, source, "")
    assert not ledger.problems
    assert ledger.sources == {
        "b.0.qk.bias": ("q.0.of.bias", "bias.k.0"),
        "b.1.qk.weight": ("q.1.of.weight", "weight.k.1"),
    }


def test_a_rule_that_misses_a_part_is_incomplete() -> None:
    ledger = read_with(THREE, tensors("a.0.q", "a.0.v", "c"), "")
    assert ledger.problems == {"b.0.qkv": "its parts are missing: a.0.k"}
    assert "b.0.qkv" not in ledger.tensors


def test_overlapping_rules_are_an_error() -> None:
    overlapping = replace(THREE, rules=(*THREE.rules, *same("a.{i}.q")))
    with pytest.raises(MappingError, match="overlap"):
        read_with(overlapping, tensors("a.0.q", "a.0.k", "a.0.v"), "")


def test_unknown_tensors_are_unexpected_and_ignored_ones_have_a_reason() -> None:
    source = tensors("blocks.0.attn.qkv.weight", "mask_token", "extra.weight")
    ledger = read_with(dialect("timm", "vit"), source, "")
    assert ledger.unexpected == {"extra.weight": "no rule knows it"}
    assert "pre-training" in ledger.ignored["mask_token"]


def test_nothing_is_read_by_renaming() -> None:
    def fail() -> np.ndarray:
        raise AssertionError("read")

    source = {
        name: LazyTensor(name, tensor.shape, tensor.dtype, fail)
        for name, tensor in small_vit().tensors().items()
    }
    assert len(read_as_canonical(source, "here").tensors) == len(source)


def test_a_tensor_without_a_name_is_refused() -> None:
    with pytest.raises(MappingError, match="no name for nothing"):
        write_with(dialect("timm", "vit"), tensors("nothing"), "")


def test_unknown_dialect_lists_the_known_ones() -> None:
    with pytest.raises(UsageError) as error:
        dialect("klingon", "vit")
    assert "timm" in error.value.expected
