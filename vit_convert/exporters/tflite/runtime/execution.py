"""Runs a graph, one operation after the other."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping

import numpy as np

from vit_convert.errors import UsageError, VitConvertError
from vit_convert.exporters.tflite.runtime.arithmetic import FLOAT32, Arithmetic
from vit_convert.exporters.tflite.runtime.graph import Graph, Node, Tensor
from vit_convert.exporters.tflite.runtime.integers import integers, numbers, on_grid
from vit_convert.exporters.tflite.runtime.kernels import EXACT, KERNELS, Call

Watch = Callable[[str, np.ndarray], None]


def run(
    graph: Graph,
    inputs: Mapping[int | str, np.ndarray],
    arithmetic: Arithmetic = FLOAT32,
    watch: Watch | None = None,
    keep: Collection[str] = (),
) -> dict[str, np.ndarray]:
    """Run a graph.

    A constant is read when an operation needs it and dropped after that; so is what only prepares
    constants, such as DEQUANTIZE of float16 weights. An activation is dropped after the last
    operation that reads it. Integers that stand for numbers are computed as those numbers, and
    rounded to the integers that there are wherever the file has an integer tensor; int8 weights of
    float activations are the numbers that they stand for, where LiteRT on a CPU rounds the
    activations, too.

    Args:
        graph: to be run.
        inputs: index or name of each input -> array in the tensor's type; the batch may differ from
            the file's where its operations allow that.
        arithmetic: FLOAT32 or FLOAT16.
        watch: is given the name and value of every tensor that an operation computes, in the order
            of execution, as float32 for numbers.
        keep: names of tensors inside the graph that are wanted, too.

    Returns:
        name -> array for the outputs and `keep`: float32, or the tensor's own type for integers.

    Raises:
        VitConvertError: there is no kernel for an operation.
        UsageError: an input is missing or not known, or there is no tensor to keep of that name.
    """
    execution = _Execution(graph, inputs, arithmetic, keep)
    for name, array in execution.steps():
        if watch is not None:
            watch(name, array)
    return execution.results()


def trace(
    graph: Graph, inputs: Mapping[int | str, np.ndarray], arithmetic: Arithmetic = FLOAT32
) -> Iterator[tuple[str, np.ndarray]]:
    """The name and value of every tensor that a graph computes, one after the other; two traces can
    so be compared without keeping either. See `run`."""
    return _Execution(graph, inputs, arithmetic, ()).steps()


class _Execution:
    """The values that are alive between two operations."""

    def __init__(
        self,
        graph: Graph,
        inputs: Mapping[int | str, np.ndarray],
        arithmetic: Arithmetic,
        keep: Collection[str],
    ) -> None:
        self.graph = graph
        self.arithmetic = arithmetic
        self.producers = {t: node for node in graph.nodes for t in node.outputs}
        names = {tensor.name: i for i, tensor in enumerate(graph.tensors)}
        unknown = [name for name in keep if name not in names]
        if unknown:
            raise UsageError(f"the graph has no tensor {unknown[0]!r}")
        self.wanted = list(dict.fromkeys([*graph.outputs, *(names[name] for name in keep)]))
        self.last_use = {i: place for place, node in enumerate(graph.nodes) for i in node.inputs}
        self.last_use.update(dict.fromkeys(self.wanted, len(graph.nodes)))
        self.prepared: dict[int, bool] = {}
        self.values: dict[int, np.ndarray] = {}
        given = {names.get(key, -1) if isinstance(key, str) else key for key in inputs}
        if given != set(graph.inputs):
            raise UsageError(
                f"the graph has the inputs {[graph.tensors[i].name for i in graph.inputs]}, "
                f"and was given {list(inputs)}"
            )
        for key, array in inputs.items():
            index = names[key] if isinstance(key, str) else key
            tensor = graph.tensors[index]
            self.values[index] = self.kept(tensor, numbers(tensor, array))

    def steps(self) -> Iterator[tuple[str, np.ndarray]]:
        """Compute all operations but those that only prepare constants."""
        for place, node in enumerate(self.graph.nodes):
            if all(map(self.is_prepared, node.outputs)):
                continue
            for index, array in zip(node.outputs, self.compute(node), strict=True):
                self.values[index] = array
                yield self.graph.tensors[index].name, array
            for index in {*node.inputs, *node.outputs}:
                if self.last_use.get(index, -1) <= place:
                    self.values.pop(index, None)

    def compute(self, node: Node) -> list[np.ndarray]:
        """The outputs of an operation."""
        outputs = tuple(self.graph.tensors[i] for i in node.outputs)
        if node.name not in KERNELS:
            raise VitConvertError(
                f"no kernel is written for the operation {node.name}",
                where=outputs[0].name,
                expected="one of " + ", ".join(sorted(KERNELS)),
            )
        inputs = tuple(self.value(i) for i in node.inputs)
        with np.errstate(all="ignore"):
            found = KERNELS[node.name](Call(inputs, node.options, outputs, self.arithmetic))
            results = found if isinstance(found, list) else [found]
            if node.name in EXACT:
                return results
            return [self.kept(tensor, each) for tensor, each in zip(outputs, results, strict=True)]

    def value(self, index: int) -> np.ndarray | None:
        """A tensor's value: computed before, read now, or prepared now."""
        if index < 0:
            return None
        if index in self.values:
            return self.values[index]
        constant = self.graph.constant(index)
        if constant is not None:
            constant = numbers(self.graph.tensors[index], constant)
            if not np.issubdtype(constant.dtype, np.floating):
                return constant
            return self.arithmetic.round(constant.astype(np.float32, copy=False))
        node = self.producers[index]
        return self.compute(node)[node.outputs.index(index)]

    def is_prepared(self, index: int) -> bool:
        """Whether a tensor is absent, a constant, or made of constants alone."""
        if index not in self.prepared:
            if index in self.graph.inputs:
                self.prepared[index] = False
            elif index in self.producers:
                self.prepared[index] = all(map(self.is_prepared, self.producers[index].inputs))
            else:
                self.prepared[index] = True
        return self.prepared[index]

    def kept(self, tensor: Tensor, array: np.ndarray) -> np.ndarray:
        """An array of numbers as a tensor of the graph keeps it; integers as they are."""
        if not np.issubdtype(array.dtype, np.floating):
            return array
        return self.arithmetic.round(on_grid(tensor, array.astype(np.float32, copy=False)))

    def results(self) -> dict[str, np.ndarray]:
        """The tensors that are wanted."""
        found = {}
        for index in self.wanted:
            value = self.value(index)
            assert value is not None
            tensor = self.graph.tensors[index]
            found[tensor.name] = integers(tensor, value)
        return found
