"""The NumPy runtime runs whole files as LiteRT does, in little memory."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exporting import FAMILIES, as_input, relative
from families import OPTIONS

from vit_convert.conversion.h5_file import write_h5
from vit_convert.errors import UsageError
from vit_convert.exporters import Artifact, ExportOptions, export, open_artifact
from vit_convert.exporters.tflite.runtime import (
    FLOAT16,
    FLOAT32,
    FileGraph,
    Node,
    Tensor,
    run,
    trace,
)

PICTURES = Path(__file__).parents[2] / "weights/images"
MODELS = OPTIONS | FAMILIES
VARIATIONS: dict[str, Mapping[str, Any]] = {
    "float16 weights": {"precision": "float16"},
    "attention maps": {"attention": True},
    "pixels": {"embed_preprocessing": True},
    "any batch": {"batch_size": "dynamic"},
    "three images": {"batch_size": 3},
    "softmax": {"output": "softmax"},
}


@dataclass
class Chain:
    """A graph in memory: x + c0 + c1 + ...; it remembers what it has given out."""

    constants: list[np.ndarray]
    read: list[int] = field(default_factory=list)
    alive: list[weakref.ref] = field(default_factory=list)

    def __post_init__(self) -> None:
        shape, count = self.constants[0].shape, len(self.constants)
        self.inputs, self.outputs = [0], [2 * count]
        self.tensors = [Tensor(f"t{i}", shape, 0) for i in range(2 * count + 1)]
        self.nodes = [
            Node("ADD", (0 if i == 0 else count + i, 1 + i), (count + 1 + i,)) for i in range(count)
        ]

    def constant(self, index: int) -> np.ndarray | None:
        if not 1 <= index <= len(self.constants):
            return None
        array = self.constants[index - 1].copy()
        self.read.append(index)
        self.alive.append(weakref.ref(array))
        return array


def chain(length: int) -> Chain:
    rng = np.random.default_rng(1)
    return Chain([rng.standard_normal((3, 5)).astype(np.float32) for _ in range(length)])


def outputs_of(artifact: Artifact, images: np.ndarray) -> dict[str, np.ndarray]:
    """The runtime's outputs in float32, by the names of the file's signature."""
    graph = FileGraph(artifact.path)
    tensor = graph.tensors[graph.inputs[0]]
    dtype = np.uint8 if tensor.type == 3 else np.float32
    found = run(graph, {graph.inputs[0]: images.astype(dtype)})
    return {name: found[graph.tensors[i].name] for i, name in graph.output_names.items()}


@pytest.mark.parametrize("name", MODELS)
def test_every_family_is_as_in_litert(name: str, tmp_path: Path) -> None:
    family = MODELS[name]()
    write_h5(tmp_path / "m.h5", family.spec, family.tensors())
    (path,) = export(tmp_path / "m.h5", ["tflite"], tmp_path, ExportOptions())
    artifact, images = open_artifact(path), family.images(1)
    expected, got = artifact.run(images), outputs_of(artifact, images)
    assert got.keys() == expected.keys()
    for key, array in expected.items():
        assert relative(array, got[key]) <= 3e-6, key


@pytest.mark.parametrize("variation", VARIATIONS)
@pytest.mark.parametrize("name", ["vit", "cait"])
def test_every_kind_of_file_is_as_in_litert(
    name: str, variation: str, opened: Callable[..., Artifact], sample: Callable[..., Any]
) -> None:
    artifact = opened("tflite", name, **VARIATIONS[variation])
    count = {"three images": 3, "any batch": 2}.get(variation, 1)
    images = as_input(artifact, sample(name).images[:count])
    if variation == "pixels":
        images = np.rint(images).clip(0, 255)
    expected, got = artifact.run(images), outputs_of(artifact, images)
    assert got.keys() == expected.keys()
    for key, array in expected.items():
        assert relative(array, got[key]) <= 3e-6, key


@pytest.mark.parametrize("name", ["vit", "cait"])
def test_a_file_of_int8_activations_is_near_litert_s(
    name: str, opened: Callable[..., Artifact], sample: Callable[..., Any]
) -> None:
    """Its integers are rounded at the same places."""
    artifact = opened("tflite", name, precision="int8", calibration=PICTURES)
    images = [image[None] for image in sample(name).images]
    expected = np.concatenate([artifact.run(image)["logits"] for image in images])
    got = np.concatenate([outputs_of(artifact, image)["logits"] for image in images])
    floats = np.concatenate([opened("tflite", name).run(image)["logits"] for image in images])
    assert relative(expected, got) <= 0.5 * relative(floats, expected)


def test_the_sum_of_a_chain() -> None:
    graph, x = chain(7), np.ones((3, 5), np.float32)
    (got,) = run(graph, {"t0": x}).values()
    np.testing.assert_allclose(got, x + sum(graph.constants), rtol=1e-5)


def test_constants_are_read_when_they_are_needed_and_dropped() -> None:
    graph = chain(7)
    for done, _ in enumerate(trace(graph, {0: np.ones((3, 5), np.float32)}), 1):
        assert graph.read == list(range(1, done + 1))
        assert sum(ref() is not None for ref in graph.alive) <= 1
    assert done == 7


def test_activations_are_dropped_after_their_last_use() -> None:
    alive: list[weakref.ref] = []
    for _, array in trace(chain(9), {0: np.ones((3, 5), np.float32)}):
        alive.append(weakref.ref(array))
        del array
        assert sum(ref() is not None for ref in alive) <= 2


def test_float16_weights_are_prepared_one_at_a_time(opened: Callable[..., Artifact]) -> None:
    """DEQUANTIZE of weights stands at the beginning of the file: it is not run there."""
    graph = FileGraph(opened("tflite", "vit", precision="float16").path)
    assert sum(node.name == "DEQUANTIZE" for node in graph.nodes) >= 10
    x = np.ones(graph.tensors[graph.inputs[0]].shape, np.float32)
    names = [name for name, _ in trace(graph, {graph.inputs[0]: x})]
    prepared = {
        graph.tensors[node.outputs[0]].name for node in graph.nodes if node.name == "DEQUANTIZE"
    }
    assert not prepared & set(names)


def test_what_is_inside_can_be_watched_and_kept() -> None:
    seen: dict[str, np.ndarray] = {}
    x = np.ones((3, 5), np.float32)
    found = run(chain(4), {0: x}, watch=lambda name, array: seen.update({name: array}), keep=["t6"])
    assert list(seen) == ["t5", "t6", "t7", "t8"]
    assert list(found) == ["t8", "t6"]
    np.testing.assert_array_equal(found["t6"], seen["t6"])


@pytest.mark.parametrize("given", [{}, {"t1": 0}, {"x": 0}, {0: 0, 1: 0}])
def test_wrong_inputs_are_named(given: dict[Any, int]) -> None:
    with pytest.raises(UsageError, match="t0"):
        run(chain(2), {key: np.ones((3, 5), np.float32) for key in given})


def test_a_tensor_that_is_not_there_cannot_be_kept() -> None:
    with pytest.raises(UsageError, match="'t99'"):
        run(chain(2), {0: np.ones((3, 5), np.float32)}, keep=["t99"])


@pytest.mark.parametrize("arithmetic", [FLOAT32, FLOAT16], ids=["float32", "float16"])
def test_the_input_is_not_changed(arithmetic: Any) -> None:
    x = np.random.default_rng(0).standard_normal((3, 5)).astype(np.float32)
    before = x.copy()
    run(chain(3), {0: x}, arithmetic)
    np.testing.assert_array_equal(x, before)
