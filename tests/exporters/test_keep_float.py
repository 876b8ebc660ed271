"""Which layers of int8 files stay in float, and what the precisions of one export share."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ai_edge_litert.schema_py_generated import TensorType
from families import small_vit, with_outliers
from pictures import paint

from vit_convert.conversion.h5_file import write_h5
from vit_convert.errors import UsageError
from vit_convert.exporters import ExportOptions, Metadata, describe_artifact, export_all
from vit_convert.exporters.options import QUANTISED, KeepFloat
from vit_convert.exporters.quantisation_report import Cost, KeptLayer
from vit_convert.exporters.tflite import float32_reference, layer_search
from vit_convert.exporters.tflite.flatbuffer import tree_of

SPARED = "blocks.1.mlp.fc2"  # what quantising costs too much in `outlying`


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return paint(tmp_path_factory.mktemp("pictures"), 24)


@pytest.fixture(scope="module")
def outlying(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ViT with an outlying weight, behind a value that GELU makes zero."""
    path = tmp_path_factory.mktemp("model") / "vit.h5"
    family = small_vit(seed=1, depth=2)
    write_h5(path, family.spec, with_outliers(family, weight=1000.0, bias=-9.0))
    return path


def options(precision: str, pictures: Path | None, keep_float: KeepFloat = "auto") -> ExportOptions:
    return ExportOptions(precision=precision, calibration=pictures, keep_float=keep_float)  # type: ignore[arg-type]  # a literal


def in_float(path: Path) -> set[str]:
    """Linear layers whose weights are float."""
    tensors = tree_of(path.read_bytes()).subgraphs[0].tensors
    return {
        tensor.name.decode().removesuffix(".weight")
        for tensor in tensors
        if tensor.name.endswith(b".weight")
        and len(tensor.shape) == 2
        and tensor.type == TensorType.FLOAT32
    }


@pytest.fixture(scope="module")
def alone(
    outlying: Path, pictures: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    """The file of each precision, exported by a command of its own."""
    found = {}
    for precision in QUANTISED:
        folder = tmp_path_factory.mktemp("alone")
        (made,) = export_all(outlying, [("tflite", options(precision, pictures))], folder)
        found[precision] = made.path.read_bytes()
    return found


def counting(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> list[str]:
    """A list that grows with each call of a function."""
    calls: list[str] = []
    original = getattr(module, name)

    def counted(*arguments: Any, **named: Any) -> Any:
        calls.append(name)
        return original(*arguments, **named)

    monkeypatch.setattr(module, name, counted)
    return calls


def test_precisions_of_one_export_share_their_work_and_are_the_same_files(
    outlying: Path,
    pictures: Path,
    alone: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the search, whose choice must not depend on what was exported before."""
    calibrated = counting(monkeypatch, float32_reference, "calibrate")
    opened = counting(monkeypatch, float32_reference, "open_file")
    jobs = [("tflite", options(precision, pictures)) for precision in QUANTISED]
    made = export_all(outlying, [*jobs, ("tflite", ExportOptions())], tmp_path)
    assert (len(calibrated), len(opened)) == (1, 1)
    for exported, precision in zip(made, QUANTISED, strict=False):
        assert exported.path.read_bytes() == alone[precision], precision
    assert SPARED in {kept.layer for kept in made[0].report.in_float}  # type: ignore[union-attr]
    assert len([*tmp_path.iterdir()]) == 4


def test_nothing_is_shared_between_other_options_and_other_exports(
    outlying: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = counting(monkeypatch, float32_reference, "open_file")
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        chosen = options("int8-dynamic", pictures, "none")
        export_all(outlying, [("tflite", chosen)], tmp_path / folder)
    assert len(opened) == 2
    with_maps = ExportOptions(
        precision="int8", calibration=pictures, keep_float="none", attention=True
    )
    plain = options("int8-dynamic", pictures, "none")
    (tmp_path / "three").mkdir()
    export_all(outlying, [("tflite", plain), ("tflite", with_maps)], tmp_path / "three")
    assert len(opened) == 4


def test_without_a_search_every_layer_is_quantised(
    outlying: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(layer_search, "_costs")
    jobs = [("tflite", options(precision, pictures, "none")) for precision in QUANTISED]
    for exported in export_all(outlying, jobs, tmp_path):
        assert exported.report is not None
        assert (exported.report.in_float, in_float(exported.path)) == ((), set())
        assert not exported.passed
        found = describe_artifact(exported.path)
        assert (found.options.keep_float, found.in_float) == ("none", ())


@pytest.mark.parametrize("precision", [*QUANTISED, "without pictures"])
def test_layers_that_match_a_pattern_stay_in_float_and_the_file_says_why(
    outlying: Path,
    pictures: Path,
    tmp_path: Path,
    precision: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(layer_search, "_costs")  # no search beside it
    chosen = options(precision, pictures, ("blocks.0.*", "*.fc2"))
    if precision == "without pictures":
        chosen = options("int8-dynamic", None, ("blocks.0.*", "*.fc2"))
    (made,) = export_all(outlying, [("tflite", chosen)], tmp_path)
    first = {f"blocks.0.attn.{part}" for part in ("q", "k", "v", "proj")}
    first |= {"blocks.0.mlp.fc1", "blocks.0.mlp.fc2"}
    assert in_float(made.path) == first | {SPARED}
    assert made.report is not None
    assert {kept.layer: kept.pattern for kept in made.report.in_float} == {
        **dict.fromkeys(first, "blocks.0.*"),
        SPARED: "*.fc2",
    }
    found = describe_artifact(made.path)
    assert found.in_float == made.report.in_float
    assert found.options.keep_float == ("blocks.0.*", "*.fc2")
    assert str(found.in_float[-1]) == f"FULLY_CONNECTED {SPARED} (asked for by *.fc2)"


def test_the_file_says_what_a_search_kept_and_why(
    outlying: Path, pictures: Path, tmp_path: Path
) -> None:
    (made,) = export_all(outlying, [("tflite", options("int8", pictures))], tmp_path)
    found = describe_artifact(made.path)
    assert made.report is not None
    assert found.in_float == made.report.in_float
    assert {kept.layer for kept in found.in_float} == in_float(made.path) >= {SPARED}
    assert all(kept.relative and not kept.pattern for kept in found.in_float)
    assert re.fullmatch(r"relative difference \d\.\de[-+]\d\d alone", found.in_float[0].why)


def test_how_long_the_search_takes_is_told_before_it_begins(
    outlying: Path,
    pictures: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From the seconds that the first file took: a clock that goes on by a second each time that it
    is asked makes 1 s for writing, and 1 s for 12 pictures."""
    ticks = iter(range(10_000))
    monkeypatch.setattr(layer_search.time, "perf_counter", lambda: float(next(ticks)))
    steps: list[str] = []

    def progress(step: str, *_: int) -> None:
        if "costs" in step:
            steps.append(step)
            assert caplog.records  # told before

    caplog.set_level(logging.INFO, "vit_convert.exporters")
    chosen = options("int8-dynamic", pictures)
    export_all(outlying, [("tflite", chosen)], tmp_path, progress=progress)
    assert steps
    (record,) = caplog.records
    # 13 layers: 13 x (1 + 1); and 1, 2 of them at most: 2 x (1 + 1)
    assert "takes up to 30 s (13 layers, each on 12 pictures)" in record.getMessage()
    assert "--keep-float none" in record.getMessage()


def test_where_all_agree_nothing_is_searched(
    pictures: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    family = small_vit(seed=1, depth=2)
    write_h5(tmp_path / "m.h5", family.spec, with_outliers(family, weight=0.0, bias=0.0))
    caplog.set_level(logging.INFO, "vit_convert.exporters")
    jobs = [("tflite", options("int16x8", pictures))]
    (made,) = export_all(tmp_path / "m.h5", jobs, tmp_path)
    assert made.report is not None
    assert made.report.in_float == ()
    assert not caplog.records


@pytest.mark.parametrize(
    ("pattern", "says", "hint"),
    [
        ("blocks.0", "blocks.0.attn.q", "--keep-float 'blocks.0.*'"),
        ("blocks.1.mlp.fc3", "blocks.1.mlp.fc", "--keep-float 'blocks.1.mlp.fc"),
        ("blocks.0.attn.qkv", "blocks.0.attn.q", "--keep-float 'blocks.0.attn."),
        ("BLOCKS.*", "blocks.0.attn.q", ""),
        ("zzz", "and 7 more", ""),
    ],
)
def test_a_pattern_that_matches_nothing_is_refused_with_near_names(
    outlying: Path, tmp_path: Path, pattern: str, says: str, hint: str
) -> None:
    """Before a picture is read."""
    chosen = options("int8", tmp_path / "nowhere", ("blocks.1.*", pattern))
    with pytest.raises(UsageError, match="matches none of the 13 linear layers") as caught:
        export_all(outlying, [("tflite", chosen)], tmp_path)
    assert caught.value.where == f"--keep-float {pattern}"
    assert says in caught.value.expected
    assert hint in caught.value.hint
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("target", ["tflite", "saved_model"])
def test_it_is_refused_without_int8(outlying: Path, tmp_path: Path, target: str) -> None:
    for keep_float in ("none", ("blocks.0.*",)):
        chosen = ExportOptions(precision="float16", keep_float=keep_float)  # type: ignore[arg-type]  # a literal
        with pytest.raises(UsageError, match="none is asked for") as caught:
            export_all(outlying, [(target, chosen)], tmp_path)
        assert caught.value.where == "--keep-float"
    assert not [*tmp_path.iterdir()]


def test_beside_int8_it_says_nothing_of_float_files(outlying: Path, tmp_path: Path) -> None:
    """As with the folder of calibration pictures, one command may have both."""
    kept: KeepFloat = ("head",)
    jobs = [
        ("tflite", ExportOptions(keep_float=kept)),
        ("tflite", ExportOptions(precision="int8-dynamic", keep_float=kept)),
    ]
    (tmp_path / "alone").mkdir()
    wide, narrow = export_all(outlying, jobs, tmp_path)
    (plain,) = export_all(outlying, [("tflite", ExportOptions())], tmp_path / "alone")
    assert wide.path.read_bytes() == plain.path.read_bytes()
    assert in_float(narrow.path) == {"head"}


def test_a_text_is_no_tuple_of_patterns(outlying: Path, tmp_path: Path) -> None:
    chosen = ExportOptions(precision="int8-dynamic", keep_float="head")  # type: ignore[arg-type]  # the mistake
    with pytest.raises(UsageError, match="patterns come in a tuple") as caught:
        export_all(outlying, [("tflite", chosen)], tmp_path)
    assert caught.value.hint == "keep_float=('head',)"


def test_what_is_kept_survives_in_json(outlying: Path, tmp_path: Path) -> None:
    chosen = options("int8-dynamic", None, ("head",))
    (made,) = export_all(outlying, [("tflite", chosen)], tmp_path)
    data = json.loads(describe_artifact(made.path).to_json())
    infinite = KeptLayer.of(Cost("FULLY_CONNECTED", "head", float("inf")))
    assert infinite.why == "not finite alone"
    data["in_float"].append(infinite.to_dict() | {"why": None})
    with pytest.raises(Exception, match="cannot be read"):  # `why` is for people
        Metadata.from_json(json.dumps(data), "here")
    del data["in_float"][-1]["why"]
    assert Metadata.from_json(json.dumps(data), "here").in_float[-1] == infinite
    del data["in_float"]  # as in older files
    assert Metadata.from_json(json.dumps(data), "here").in_float == ()


def test_layers_are_found_by_tokens_too(outlying: Path, pictures: Path, tmp_path: Path) -> None:
    asked = replace(options("int8-dynamic", pictures), output="tokens")
    (made,) = export_all(outlying, [("tflite", asked)], tmp_path)
    assert made.report is not None
    assert [layer.layer for layer in made.report.in_float] == [SPARED]
    assert made.report.passed
