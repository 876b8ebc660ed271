"""The table of known defects says "measured" of LiteRT's GPU accelerator: measured again, on the
version that is installed. A test that fails may be good news, for which the table wants a version.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from test_lint import CASES, RULE, add, concatenation, split_and, strided
from tiny_tflite import Tiny

from vit_convert.exporters.tflite.graph_reader import TfliteGraph
from vit_convert.exporters.tflite.lint import findings
from vit_convert.parity.gpu.delegate import parse_refusal
from vit_convert.parity.gpu.process import environments

Make = Callable[[Tiny], "int | tuple[int, ...]"]
ROOT = Path(__file__).parent.parent.parent


def rows(t: Tiny, *shape: int) -> int:
    table = np.arange(30).reshape(shape)
    return t.op("MUL", t.x(*shape), t.c(*shape, values=table), shape=shape, kind="MulOptions")


def counted(t: Tiny, *shape: int) -> int:
    entering = t.x(1, 1, 5, 6, dtype="int32")
    numbers = t.c(*shape, dtype="int32", values=np.arange(6).reshape(shape))
    return t.op("ADD", entering, numbers, shape=(1, 1, 5, 6), dtype="int32", kind="AddOptions")


def split(t: Tiny, name: str) -> int:
    result = split_and(t, name)
    from ai_edge_litert import schema_py_generated as schema

    first = t.graph.operators[0]
    first.builtinOptionsType = schema.BuiltinOptions.SplitOptions
    first.builtinOptions = schema.SplitOptionsT()
    first.builtinOptions.numSplits = 2
    first.inputs = [first.inputs[0], first.inputs[1]]
    return result


def expanded(t: Tiny) -> int:
    return t.op("EXPAND_DIMS", t.x(1, 5, 6), t.c(dtype="int32", values=1), shape=(1, 1, 5, 6))


def gathered(t: Tiny) -> int:
    places = t.c(2, 2, dtype="int32", values=[[0, 1], [0, 3]])
    return t.op("GATHER_ND", t.x(1, 5, 6), places, shape=(2, 6))


def transposed(t: Tiny) -> int:
    order = t.c(5, dtype="int32", values=[0, 2, 1, 3, 4])
    return t.op("TRANSPOSE", t.x(1, 2, 3, 4, 5), order, shape=(1, 3, 2, 4, 5))


def constant_left(t: Tiny) -> int:
    kind = "BatchMatMulOptions"
    return t.op("BATCH_MATMUL", t.c(1, 5, 5), t.x(1, 5, 6), shape=(1, 5, 6), kind=kind)


# rule -> a file of this kind, which the GPU computes wrongly
WRONG: dict[str, Make] = {
    "split-added": lambda t: split(t, "ADD"),
    "rank-2-constant": lambda t: rows(t, 5, 6),
    "integer-constant": lambda t: counted(t, 6),
    "output-into-whole-slice": CASES["output-into-whole-slice"][0],
}
# rule -> what the table advises instead
RIGHT: dict[str, Make] = {
    "split-added": lambda t: split(t, "MUL"),
    "rank-2-constant": lambda t: rows(t, 1, 5, 6),
    "integer-constant": lambda t: counted(t, 1, 1, 1, 6),
    "output-into-whole-slice": CASES["output-into-whole-slice"][1],
    "mixed-ranks": CASES["mixed-ranks"][1],
    "elementwise-output-read-on": CASES["elementwise-output-read-on"][1],
    "concatenated-constant": lambda t: concatenation(
        t, 2, t.c(1, 1, 1, 6), t.x(1, 1, 5, 6), shape=(1, 1, 6, 6)
    ),
    "low-rank-constant": lambda t: add(t, t.x(1, 1, 5, 6), t.c(1, 1, 5, 6), 1, 1, 5, 6),
    "shrinking-slice": lambda t: strided(t, (1, 1, 5, 6), 0),
}
# rule -> a file of this kind, and the operation that the GPU refuses
REFUSED: dict[str, tuple[Make, str]] = {
    "shape-operations": (expanded, "EXPAND_DIMS"),
    "gather-nd": (gathered, "GATHER_ND"),
    "rank-5": (transposed, "TRANSPOSE"),
    "constant-left": (constant_left, "BATCH_MATMUL"),
    "shrinking-slice": (CASES["shrinking-slice"][0], "STRIDED_SLICE"),
    "relu-0-to-1": (CASES["relu-0-to-1"][0], "RELU_0_TO_1"),
    "only-constants": (CASES["only-constants"][0], "EXP"),
}


@pytest.fixture
def on_gpu(tmp_path: Path) -> Callable[[Make], tuple[float, str]]:
    """A function that makes a file -> max |difference| / max |value| to the CPU, and the log."""

    def run(make: Make) -> tuple[float, str]:
        tiny = Tiny()
        outputs = make(tiny)
        path = tiny.write(
            tmp_path / "m.tflite", *(outputs if isinstance(outputs, tuple) else (outputs,))
        )
        target = tmp_path / "outputs.npz"
        worker = Path(__file__).with_name("gpu_worker.py")
        done = subprocess.run(
            [sys.executable, str(worker), str(path), str(target)],
            env={**environments()[-1], "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=120,
        )
        if not target.exists():
            return float("nan"), done.stdout + done.stderr
        found = np.load(target)
        pairs = [(found[f"c{i}"], found[f"g{i}"]) for i in range(len(found.files) // 2)]
        return max(float(np.abs(c - g).max() / np.abs(c).max()) for c, g in pairs), ""

    return run


def named(make: Make, path: Path) -> set[str]:
    tiny = Tiny()
    outputs = make(tiny)
    tiny.write(path, *(outputs if isinstance(outputs, tuple) else (outputs,)))
    return {finding.rule.name for finding in findings(TfliteGraph(path))}


@pytest.mark.parametrize("name", WRONG)
def test_it_is_wrong(name: str, on_gpu: Callable, tmp_path: Path) -> None:
    assert "measured" in RULE[name].evidence
    assert name in named(WRONG[name], tmp_path / "m.tflite")
    difference, log = on_gpu(WRONG[name])
    assert difference > 0.1, log


@pytest.mark.parametrize("name", RIGHT)
def test_what_the_table_advises_is_right(name: str, on_gpu: Callable, tmp_path: Path) -> None:
    assert name not in named(RIGHT[name], tmp_path / "m.tflite")
    difference, log = on_gpu(RIGHT[name])
    assert difference < 1e-5, log


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused(name: str, on_gpu: Callable, tmp_path: Path) -> None:
    make, operation = REFUSED[name]
    assert "measured" in RULE[name].evidence
    assert name in named(make, tmp_path / "m.tflite")
    _, log = on_gpu(make)
    parsed = parse_refusal(log)
    assert parsed is not None, log
    assert operation in parsed[0][0]
