"""No file of ours has a form that is known to be refused or computed wrongly somewhere: each rule
of `vit_convert.exporters.tflite.lint`, on every family, option and precision.

What the rules themselves let pass: outputs of the graph may have any rank, as (batch, classes) has
two; constants are those of elementwise operations and CONCATENATION, so that weights of
FULLY_CONNECTED may have rank 2; and DEQUANTIZE of float16 weights is no operation on constants.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from exporting import FAMILIES
from families import OPTIONS, covering
from PIL import Image

from vit_convert.conversion.h5_file import write_h5
from vit_convert.exporters import ExportOptions, export
from vit_convert.exporters.options import Precision
from vit_convert.exporters.tflite.graph_reader import TfliteGraph
from vit_convert.exporters.tflite.lint import RULES, findings

MODELS = {**FAMILIES, **OPTIONS}
PRECISIONS = get_args(Precision)
CALIBRATED = ("int8", "int16x8")
# int8 quantises FULLY_CONNECTED alone, which no two options change together
TRIED_IN_INT8 = covering(MODELS)
CASES: list[tuple[str, dict[str, Any]]] = [
    *(
        (name, {"precision": precision})
        for name in MODELS
        for precision in PRECISIONS
        if name != "one channel" or precision not in CALIBRATED  # calibration pictures are RGB
        if precision != "int8" or name in TRIED_IN_INT8
    ),
    *((name, {"attention": True}) for name in MODELS if name not in ("headless", "siglip")),
    ("vit", {"output": "softmax"}),
    ("vit", {"output": "features"}),
    ("cait", {"output": "features"}),
    ("vit", {"output": "embedding"}),
    ("vit", {"output": "tokens"}),
    ("cait", {"output": "tokens", "block": 0}),
    ("vit", {"embed_preprocessing": True, "input_type": "float32"}),
    ("vit", {"embed_preprocessing": True, "input_type": "uint8"}),
    ("cait", {"batch_size": 3}),
    ("vit", {"batch_size": "dynamic"}),
]
# What was asked for
ASKED_FOR: dict[tuple[str, Any], set[str]] = {
    ("input_type", "uint8"): {"cast-from-bytes"},
    ("batch_size", 3): {"batch"},
    ("batch_size", "dynamic"): {"dynamic-shape"},
}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """(model, **options) -> path of the .tflite file"""

    @cache
    def source(name: str) -> Path:
        family = MODELS[name]()
        path = tmp_path_factory.mktemp("rules") / f"{name.replace(' ', '_')}.h5"
        write_h5(path, family.spec, family.tensors())
        return path

    @cache
    def pictures() -> Path:
        folder = tmp_path_factory.mktemp("pictures")
        rng = np.random.default_rng(0)
        for i in range(16):
            Image.fromarray(rng.integers(0, 256, (30, 60, 3), np.uint8)).save(folder / f"{i}.png")
        return folder

    def make(name: str, **options: Any) -> Path:
        path = source(name)
        if options.get("precision") in CALIBRATED:
            options = {**options, "calibration": pictures()}
        folder = tmp_path_factory.mktemp("tflite")
        return export(path, ["tflite"], folder, ExportOptions(**options))[0]

    return make


@pytest.mark.parametrize(
    ("model", "options"), CASES, ids=[f"{m}-{'-'.join(map(str, o.values()))}" for m, o in CASES]
)
def test_our_files_have_no_known_defect(
    written: Callable[..., Path], model: str, options: dict[str, Any]
) -> None:
    graph = TfliteGraph(written(model, **options))
    allowed = set().union(*(ASKED_FOR.get(item, ()) for item in options.items()))
    found = [
        f"{f.rule.name}: {f.count} times, first {f.operation and f.operation.tensor!r} {f.detail}"
        for f in findings(graph)
        if f.rule.name not in allowed
    ]
    assert found == []


def test_every_rule_has_a_name_of_its_own_and_says_what_to_do() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule.happens
        assert rule.runtimes
        assert rule.advice
        # others' reports stand in a thread, or the table says that no version is stated
        if "reported" in rule.evidence and not rule.threads:
            assert "versions not stated" in rule.runtimes, rule.name
