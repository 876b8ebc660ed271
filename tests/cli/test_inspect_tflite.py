"""vit-convert inspect, of .tflite files of any maker."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Command
from tiny_tflite import Tiny


@pytest.fixture(scope="module")
def keras_made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An attention layer that TensorFlow's own converter wrote."""
    from vit_convert.runtime.quiet_tensorflow import import_tensorflow, quiet

    tf = import_tensorflow()

    def attention(x: Any) -> Any:
        weights = tf.constant(np.random.default_rng(0).normal(size=(40, 60)), tf.float32)
        hidden = tf.einsum("bnc,cd->bnd", x, weights)
        hidden = tf.reshape(hidden, (1, 7, 3, 4, 5))
        q, k, v = tf.unstack(tf.transpose(hidden, (2, 0, 3, 1, 4)))
        scores = tf.nn.softmax(tf.matmul(q, k, transpose_b=True))
        return {"mixed": tf.matmul(scores, v)}

    path = tmp_path_factory.mktemp("keras") / "attention.tflite"
    with quiet():
        spec = tf.TensorSpec((1, 7, 40), name="tokens")
        module = tf.Module()
        module.attention = tf.function(attention)
        function = module.attention.get_concrete_function(spec)
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function], module)
        path.write_bytes(converter.convert())
    return path


def test_a_file_of_another_converter_is_described(command: Command, keras_made: Path) -> None:
    done = command("inspect", keras_made)
    assert done.code == 0, done.err
    for said in (
        "not of vit-convert",
        "converter: MLIR Converted. 2.",
        "float32 1 x 7 x 40",
        "signature: serving_default",
        "highest rank 5",
        "precision: float32 weights, float activations",
        "metadata: min_runtime_version",
        "LiteRT#8913",
    ):
        assert said in done.out, said


def test_all_of_it_is_in_the_json(command: Command, keras_made: Path) -> None:
    found = json.loads(command("inspect", keras_made, "--json").out)
    assert found["kind"] == "tflite"
    assert found["bytes"] == keras_made.stat().st_size
    graph = found["graph"]
    assert sum(graph["operations"].values()) > 5
    assert graph["operations"]["BATCH_MATMUL"] == 2
    assert graph["weights"]["float32"]["bytes"] >= 40 * 60 * 4
    (defect,) = (d for d in graph["defects"] if d["rule"] == "transposed-product")
    assert defect["kind"] == "BATCH_MATMUL"
    assert defect["count"] == 1
    assert defect["severity"] == "wrong"
    assert "google-ai-edge/LiteRT#8913" in defect["threads"]
    assert defect["advice"]


# of the calibration, which looks at all tensors
@pytest.mark.filterwarnings("ignore:Warning. Enabling `experimental_preserve_all_tensors`")
@pytest.mark.parametrize(
    ("recipe", "precision"),
    [
        ("dynamic_wi8_afp32", "int8 weights, float activations (dynamic)"),
        ("static_wi8_ai8", "int8 weights, int8 activations"),
    ],
)
def test_quantised_files_say_so(
    recipe: str, precision: str, command: Command, keras_made: Path, tmp_path: Path
) -> None:
    from ai_edge_quantizer import quantizer
    from ai_edge_quantizer import recipe as recipes

    work = quantizer.Quantizer(str(keras_made), getattr(recipes, recipe)())
    ranges = None
    if work.need_calibration:
        tokens = np.random.default_rng(0).normal(size=(1, 7, 40)).astype(np.float32)
        ranges = work.calibrate({"serving_default": [{"tokens": tokens}]})
    work.quantize(ranges).export_model(str(tmp_path / "quantised.tflite"))
    graph = json.loads(command("inspect", "quantised.tflite", "--json").out)["graph"]
    assert graph["precision"] == precision
    assert graph["weights"]["int8"]["per_channel"] == 1


def test_of_our_own_files_the_summary_comes_first(command: Command, project: Path) -> None:
    path = project / "vit_float32.tflite"
    done = command("inspect", path)
    assert done.code == 0, done.err
    assert done.out.index("model: Vision Transformer") < done.out.index("operations: ")
    found = json.loads(command("inspect", path, "--json").out)
    assert found["architecture"] == "vit"
    assert "FULLY_CONNECTED" in found["graph"]["operations"]
    assert {"TFLITE_METADATA", "vit_convert"} <= found["graph"]["metadata"].keys()


def test_names_are_shown_without_their_control_characters(command: Command, tmp_path: Path) -> None:
    tiny = Tiny()
    result = tiny.op("CUSTOM \x1b[31mred", tiny.x(1, 4), shape=(1, 4))
    tiny.graph.tensors[0].name = "\x1b]0;title\x07[bold]"
    tiny.model.description = "by\nnobody"
    tiny.write(tmp_path / "odd.tflite", result)
    for arguments in ((), ("--json",)):
        done = command("inspect", "odd.tflite", *arguments)
        assert done.code == 0, done.err
        assert "\x1b" not in done.out
        assert "\x07" not in done.out
        assert "[bold]" in done.out
    assert "1 CUSTOM \\x1b[31mred" in command("inspect", "odd.tflite").out


def test_a_damaged_file_is_refused_in_words(command: Command, tmp_path: Path) -> None:
    tiny = Tiny()
    whole = tiny.content(tiny.x(1, 4))
    (tmp_path / "half.tflite").write_bytes(whole[: len(whole) // 2])
    done = command("inspect", "half.tflite")
    assert done.code == 2
    assert done.out == ""
    assert "half.tflite: is a .tflite file, but truncated or damaged" in done.err


def test_a_graph_without_defects_says_so(command: Command, tmp_path: Path) -> None:
    tiny = Tiny()
    result = tiny.op("GELU", tiny.x(1, 1, 5, 6), shape=(1, 1, 5, 6))
    tiny.write(tmp_path / "good.tflite", result)
    assert "known defects: none" in command("inspect", "good.tflite").out
