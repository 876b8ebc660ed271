"""The search for what was assumed wrongly: what is tried, and that no try can hurt."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from families import MODELS, small_cait, small_deit, small_eva, small_vit

from vit_convert.architectures import ModelSpec, Source
from vit_convert.conversion.h5_file import write_h5
from vit_convert.exporters import open_artifact
from vit_convert.parity.alternatives import (
    _VALUES,
    Change,
    alternatives,
    as_option,
    matters,
    rank,
)
from vit_convert.parity.recorded import Recording
from vit_convert.parity.references import RecordedReference
from vit_convert.parity.search import _Trial, search, shared_assumptions

FIELDS = list(_VALUES)


@pytest.mark.parametrize("name", MODELS)
def test_every_alternative_is_a_model_that_runs(name: str) -> None:
    """And none is the model itself, or has other tensors."""
    family = MODELS[name]()
    images = family.images(1)
    expected = family.logits(images)
    trial = _Trial(family.spec, family.arrays(), family.spec.output(), images, expected)
    unchanged = trial.compare(())
    assert unchanged is not None
    assert unchanged.passed
    shapes = {p.name: p.shape for p in family.spec.parameters()}
    found = alternatives(family.spec, FIELDS)
    assert found
    for change in found:
        assert getattr(family.spec.config, change.field) != change.value
        other = family.spec.with_config(**{change.field: change.value})
        assert {p.name: p.shape for p in other.parameters()} == shapes
        trial.compare((change,))  # None or a comparison, but no exception
    assert sum(trial.compare((change,)) is not None for change in found) > len(found) / 2


def test_a_gate_is_assumed_and_has_no_other_activation() -> None:
    spec = small_vit(mlp="swiglu").spec
    assert matters(spec, "gelu")
    assert alternatives(spec, ["gelu"]) == []


def test_heads_come_in_the_order_in_which_they_are_likely() -> None:
    spec = small_vit(embed_dim=192, num_heads=12).spec
    heads = [c.value for c in alternatives(spec, ["num_heads"])]
    assert heads[:4] == [3, 4, 2, 6]  # of 64, 48, 96 and 32 channels
    assert sorted(heads) == [1, 2, 3, 4, 6, 8, 16, 24, 32, 48, 64, 96, 192]


def test_values_of_published_models_of_the_same_widths_come_first() -> None:
    """Of those of width 1280 and depth 32 there are 16 heads, not 20."""
    spec = ModelSpec(
        "vit", replace(small_vit().spec.config, embed_dim=1280, depth=32, num_heads=20)
    )
    assert alternatives(spec, ["num_heads"])[0] == Change("num_heads", 16)


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (small_cait, "num_heads"),  # talking heads have their number in a shape
        (small_vit, "rotary_base"),
        (small_vit, "pool_prefix"),
        (small_deit, "pool"),
    ],
)
def test_what_shapes_tell_or_nothing_reads_is_not_asked(make, field: str) -> None:
    assert not matters(make().spec, field)


def test_what_changes_numbers_is_asked() -> None:
    for field in ("num_heads", "gelu", "norm_eps", "pool", "norm_position"):
        assert matters(small_vit().spec, field)
    assert matters(small_eva().spec, "rotary_base")
    assert matters(small_vit(pool="avg", final_norm=False, fc_norm=True).spec, "pool_prefix")


@pytest.mark.parametrize(
    ("field", "value", "option"),
    [
        ("num_heads", 12, "--num-heads 12"),
        ("norm_eps", 1e-12, "--norm-eps 1e-12"),
        ("pool_prefix", True, "--pool-prefix"),
        ("pool_prefix", False, "--no-pool-prefix"),
        ("rotary_grid", (14, 16), "--rotary-grid 14x16"),
        ("gelu", "tanh", "--gelu tanh"),
    ],
)
def test_a_change_is_written_as_torch2keras_takes_it(field: str, value, option: str) -> None:
    assert as_option(Change(field, value)) == option


def test_what_is_wrong_most_often_is_tried_first() -> None:
    spec = small_vit().spec
    fields = [c.field for c in rank(alternatives(spec, ["norm_eps", "gelu", "num_heads"]))]
    assert list(dict.fromkeys(fields)) == ["num_heads", "gelu", "norm_eps"]


def stored(family, folder: Path, **provenance):
    source = Source(provenance=provenance)
    write_h5(folder / "m.h5", replace(family.spec, source=source), family.tensors())
    return open_artifact(folder / "m.h5")


def reference(truth) -> RecordedReference:
    images = truth.images(3)
    return RecordedReference(Recording(images, truth.logits(images)))


def test_the_time_ends_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vit_convert.parity.search.SECONDS", 0.0)
    artifact = stored(small_vit(), tmp_path, num_heads="assumed")
    found = search(artifact, reference(small_vit(gelu="relu")), None, None)
    assert found is not None
    assert (found.options, found.tried) == ((), 0)
    assert found.left > 50
    assert f"and {found.left} were not" in str(found)


def test_an_artifact_that_does_not_say_how_values_are_known_is_not_searched(tmp_path: Path) -> None:
    artifact = stored(small_vit(), tmp_path)
    assert search(artifact, reference(small_vit(gelu="relu")), None, None) is None


def test_what_is_read_is_not_changed(tmp_path: Path) -> None:
    known = dict.fromkeys((f for f in FIELDS if f != "norm_eps"), "read") | {"norm_eps": "assumed"}
    artifact = stored(small_vit(), tmp_path, **known)
    found = search(artifact, reference(small_vit(gelu="relu")), None, None)
    assert found is not None
    assert (found.options, found.fields) == ((), ("norm_eps",))


def test_of_two_values_that_are_equal_within_noise_the_nearer_is_named(tmp_path: Path) -> None:
    family, truth = small_vit(norm_eps=1e-3), small_vit(norm_eps=1e-6)
    artifact = stored(
        family,
        tmp_path,
        norm_eps="assumed",
        **dict.fromkeys((f for f in FIELDS if f != "norm_eps"), "read"),
    )
    found = search(artifact, reference(truth), None, None)
    assert found is not None
    assert found.options[0] in ("--norm-eps 1e-06", "--norm-eps 1e-08", "--norm-eps 1e-12")
    assert found.relative < 2e-6


def test_assumed_values_that_change_nothing_are_not_shared() -> None:
    known = dict.fromkeys(("num_heads", "rotary_base", "pool_prefix", "image_size"), "assumed")
    spec = replace(small_vit().spec, source=Source(provenance=known))  # type: ignore[arg-type]
    assert shared_assumptions(spec) == ("image_size 24 x 50", "num_heads 4")


def test_images_that_were_recorded_are_given_back() -> None:
    images = np.random.default_rng(0).standard_normal((5, 4, 6, 3), np.float32)
    logits = np.arange(10, dtype=np.float32).reshape(5, 2)
    recorded = RecordedReference(Recording(images, logits))
    np.testing.assert_array_equal(recorded.outputs(images[[3, 1]]), logits[[3, 1]])
    assert recorded.outputs(images[:1] + 1) is None
    assert recorded.outputs(np.zeros((1, 5, 6, 3), np.float32)) is None
