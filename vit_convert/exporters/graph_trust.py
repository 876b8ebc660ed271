"""Whether the graph of a SavedModel only computes.

TensorFlow runs what a SavedModel says: when it is opened, and when it is called. A graph can write
files, read them and run others' code, and anybody can put our metadata beside one. So before
TensorFlow opens it, the operations in it are looked at. Those that we export compute, besides
reading and saving their variables. This is no sandbox: TensorFlow itself may have errors.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from vit_convert.errors import ArtifactError
from vit_convert.runtime.input_file import read_input
from vit_convert.runtime.limits import GRAPH_BYTES

TRUST = "VIT_CONVERT_TRUST"  # set to anything, it opens every SavedModel
# with state, but with no effect outside the graph
_INNER = {
    "AssignVariableOp",
    "DisableCopyOnRead",
    "NoOp",
    "PartitionedCall",
    "Placeholder",
    "ReadVariableOp",
    "ResourceGather",
    "StatefulPartitionedCall",
    "VarHandleOp",
}
# for the variables' files, in functions that TensorFlow itself adds and calls
_SAVING = {"MergeV2Checkpoints", "RestoreV2", "SaveV2"}
_SAVERS = ("__inference__traced_save_", "__inference__traced_restore_")
# in the names of operations that TensorFlow calls stateless all the same
_OUTER = ("ReadFile", "MatchingFiles", "Dataset", "PyFunc", "Debug", "Remap", "Abort", "CopyHost")
_KINDS = {"bare_concrete_function", "function", "user_object", "variable", "constant"}


def check_graph(path: Path, protobuf: str) -> None:
    """Look at all operations of the SavedModel at `path`, whose graph is in the file `protobuf`.

    Raises:
        ArtifactError: it is damaged, or does more than compute and is not trusted.
    """
    if os.environ.get(TRUST):
        return
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    model = SavedModel()
    try:
        model.ParseFromString(read_input(path / protobuf, GRAPH_BYTES))
    except (DecodeError, OSError) as error:
        reason = getattr(error, "strerror", "") or "it is truncated or damaged"
        raise ArtifactError(
            f"is a SavedModel, but its graph cannot be read: {reason}",
            where=str(path),
            expected="an artifact that `vit-convert export` wrote",
            hint="export the model again",
        ) from error
    found = sorted({what for graph in model.meta_graphs for what in _effects(graph)})
    if not model.meta_graphs:
        found = ["no graph"]
    if found:
        raise ArtifactError(
            f"its graph does more than compute: {', '.join(found[:8])}. TensorFlow would run that "
            "when it is opened or called, and so files may be read or written",
            where=str(path),
            expected="a graph that `vit-convert export` wrote",
            hint="--trust, if you know who made it",
        )


def _effects(graph: Any) -> Iterable[str]:
    """What a graph of a SavedModel holds beyond computing."""
    from tensorflow.python.framework import op_def_registry

    def effect(name: str, saver: bool) -> bool:
        if name in _SAVING:
            return not saver
        definition = op_def_registry.get(name)
        if definition is None or any(word in name for word in _OUTER):
            return True
        return bool(definition.is_stateful) and name not in _INNER

    functions = graph.graph_def.library.function
    savers = {f.signature.name for f in functions if f.signature.name.startswith(_SAVERS)}
    own = {f.signature.name for f in functions}
    for node in graph.graph_def.node:
        if node.op not in own and effect(node.op, saver=False):
            yield node.op
    for function in functions:
        for node in function.node_def:
            if node.op not in own and effect(node.op, function.signature.name in savers):
                yield node.op
            if savers & {node.op, *_called(node)}:
                yield f"a call of {sorted(savers)[0]}"
    if savers & set(graph.object_graph_def.concrete_functions):
        yield "functions that save, as functions of the model"
    if not graph.HasField("object_graph_def"):
        yield "a graph of TensorFlow 1, which runs when it is opened"
    for item in graph.object_graph_def.nodes:
        kind = item.WhichOneof("kind")
        if kind not in _KINDS:
            yield f"an object of the kind {kind}"


def _called(node: Any) -> set[str]:
    """The names of the functions that an operation calls."""
    values = node.attr.values()
    return {value.func.name for value in values} | {f.name for v in values for f in v.list.func}
