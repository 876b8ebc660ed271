"""Timing of artifacts. No assertion depends on how long anything takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from families import small_vit

import vit_convert
from vit_convert.conversion.h5_file import write_h5
from vit_convert.errors import ArtifactError, UsageError
from vit_convert.exporters import TARGETS, ExportOptions, export_all
from vit_convert.exporters.tflite import opening
from vit_convert.inference import benchmark as benchmarking


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("artifacts")
    family = small_vit(depth=1)
    write_h5(path / "vit.h5", family.spec, family.tensors())
    two = ExportOptions(precision="float16", batch_size=2, embed_preprocessing=True)
    jobs = [(name, ExportOptions()) for name in ("saved_model", "hub", "tflite")]
    export_all(path / "vit.h5", [*jobs, ("tflite", two)], path)
    return path


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A .tflite file that vit-convert did not write, with one operation that XNNPACK lacks."""
    path = tmp_path_factory.mktemp("foreign") / "foreign.tflite"

    def graph(x: tf.Tensor) -> tf.Tensor:
        return tf.nn.relu(tf.cumsum(tf.abs(x) * 2.0))

    function = tf.function(graph).get_concrete_function(tf.TensorSpec((5, 3)))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function])
    path.write_bytes(converter.convert())
    return path


def test_every_kind_of_artifact_is_timed(folder: Path) -> None:
    names = ("vit.h5", "vit_saved_model", "vit_hub", "vit_float32.tflite")
    told: list[tuple[object, ...]] = []
    results = vit_convert.benchmark(
        [folder / name for name in names],
        threads=1,
        runs=6,
        progress=lambda *what: told.append(what),
    )
    assert [r.path.name for r in results] == list(names)
    assert [r.kind for r in results] == ["keras", "saved_model", "hub", "tflite"]
    assert told[:2] == [("opening artifacts", 0, 4), ("opening artifacts", 1, 4)]
    assert told[-9:] == [("inferences", done, 24) for done in (0, 4, 8, 12, 16, 18, 20, 22, 24)]
    for result in results:
        assert len(result.seconds) == 6
        assert 0 < result.minimum <= result.median <= result.p90
        assert (result.batch, result.threads) == (1, 1)
    assert results[0].ratio == 1
    assert results[3].size == (folder / "vit_float32.tflite").stat().st_size
    assert [r.operations is None for r in results] == [True, True, True, False]
    assert results[3].delegated == results[3].operations


def test_the_batch_is_the_files_own(folder: Path) -> None:
    (result,) = vit_convert.benchmark([folder / "vit_float16.tflite"], runs=1)
    assert result.batch == 2


def test_peak_memory_is_the_artifacts_own(folder: Path) -> None:
    held = np.ones(2**27)  # a gigabyte in this process, from which the other one is started
    (result,) = vit_convert.benchmark([folder / "vit_float32.tflite"], runs=1)
    assert 20e6 < result.peak_memory < 0.5 * held.nbytes


def test_operations_that_no_delegate_takes_are_not_counted_as_delegated(foreign: Path) -> None:
    (result,) = vit_convert.benchmark([foreign], runs=1)
    assert (result.delegated, result.operations) == (3, 4)  # ABS and MUL before, RELU after CUMSUM


def test_one_inference_may_use_as_many_threads_as_asked(
    foreign: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int | None] = []
    real = opening._interpreter

    def spy(path: Path, threads: int | None = None, **options: Any) -> Any:
        asked.append(threads)
        return real(path, threads, **options)

    monkeypatch.setattr(opening, "_interpreter", spy)
    TARGETS["tflite"].prepare(foreign, 3).run()
    assert asked == [3]


class Drifting:
    """Stands for the processes, on a machine that gets slower with every inference."""

    turns: list[tuple[str, int]]

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Drifting:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def get(self, verb: str, argument: Any = None) -> Any:
        facts = {"kind": "tflite", "size": 1, "batch": 1, "operations": 9, "delegated": 9}
        if verb != "time":
            return {"prepare": facts, "peak_memory": 5}[verb]
        self.turns.append((self.path.name, argument))
        drift = 4.0 ** ((len(self.turns) - 1) // 3)  # the same for a round of three
        return [drift * {"a": 2, "b": 3, "c": 1}[self.path.name]] * argument


def test_ratios_hold_on_a_machine_whose_speed_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    Drifting.turns = []
    monkeypatch.setattr(benchmarking, "_Timed", Drifting)
    results = benchmarking.benchmark(["a", "b", "c"], runs=22)
    assert [r.ratio for r in results] == [1, 1.5, 0.5]
    assert [len(r.seconds) for r in results] == [22, 22, 22]
    rounds = [Drifting.turns[i : i + 3] for i in range(0, len(Drifting.turns), 3)]
    assert all({name for name, _ in each} == {"a", "b", "c"} for each in rounds)
    assert len({tuple(name for name, _ in each) for each in rounds}) > 1  # the order changes


def test_figures_are_those_of_the_seconds() -> None:
    seconds = tuple(float(n) for n in (5, 1, 9, 2, 3, 4, 6, 7, 8, 10, 11))
    result = benchmarking.Benchmark(Path("a"), "tflite", 2, seconds, 1.0, 1, 1, 1, None, None)
    assert (result.minimum, result.median, result.p90) == (1, 6, 10)


def test_what_cannot_be_opened_is_refused(folder: Path, tmp_path: Path) -> None:
    good = folder / "vit_float32.tflite"
    with pytest.raises(ArtifactError, match="no such file"):
        vit_convert.benchmark([good, tmp_path / "missing.tflite"])
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(good.read_bytes()[:5000])
    with pytest.raises(ArtifactError, match=r"broken\.tflite"):
        vit_convert.benchmark([good, broken])
    tf.saved_model.save(tf.Module(), str(tmp_path / "foreign"))
    with pytest.raises(ArtifactError, match="none that vit-convert wrote"):
        vit_convert.benchmark([tmp_path / "foreign"])


def test_nothing_to_time_is_refused() -> None:
    with pytest.raises(UsageError):
        vit_convert.benchmark([])


def test_a_process_that_ends_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "vit_float32.tflite"
    monkeypatch.setattr("vit_convert.runtime.worker_process._BOOT", "import os; os._exit(7)")
    with pytest.raises(ArtifactError, match="its process ended") as caught:
        vit_convert.benchmark([path])
    assert caught.value.where == str(path)
