"""A description of any .tflite file (its graph, its weights, its known defects), as plain
values that JSON knows."""

from __future__ import annotations

from collections import Counter
from typing import Any

from vit_convert.checkpoint.inert import printable
from vit_convert.exporters.tflite.file_reader import Subgraph, TfliteFile
from vit_convert.exporters.tflite.lint import Finding, findings_of_file

_LEAST_SHARE = 0.1  # of the bytes that a type must have to be spoken of
_WHOLE_NUMBERS = {"int8", "uint8", "int16", "int4", "int2"}


def described(file: TfliteFile) -> dict[str, Any]:
    """Everything that `inspect` tells, beside our own metadata; texts are fit to be shown.

    Args:
        file: what was read.
    """
    main = file.subgraphs[0]
    operations = Counter(node.name for graph in file.subgraphs for node in graph.nodes)
    return {
        "description": printable(file.description),
        "minimum_runtime": printable(file.minimum_runtime),
        "inputs": [_tensor(main, index) for index in main.inputs],
        "outputs": [_tensor(main, index) for index in main.outputs],
        "signatures": {
            printable(signature.key): {
                side: {printable(name): _tensor(graph, i) for name, i in tensors.items()}
                for side, tensors in (("inputs", signature.inputs), ("outputs", signature.outputs))
            }
            for signature in file.signatures
            for graph in (file.subgraphs[signature.subgraph],)
        },
        "subgraphs": len(file.subgraphs),
        "operations": {printable(name): count for name, count in operations.most_common()},
        "custom_operations": sum(
            count for name, count in operations.items() if name.startswith("CUSTOM")
        ),
        "highest_rank": max(
            (len(tensor.shape) for graph in file.subgraphs for tensor in graph.tensors), default=0
        ),
        "precision": precision(file),
        "weights": weights(file),
        "metadata": {printable(name): said for name, said in file.entries().items()},
        "defects": [_defect(finding) for finding in findings_of_file(file)],
    }


def weights(file: TfliteFile) -> dict[str, dict[str, Any]]:
    """Type -> what the file has of constants of that type: bytes, how many tensors, and how many of
    them have a scale for each channel."""
    found: dict[str, dict[str, Any]] = {}
    seen: set[int] = set()
    for graph in file.subgraphs:
        for tensor in graph.tensors:
            if tensor.size:
                entry = found.setdefault(tensor.type, {"bytes": 0, "tensors": 0, "per_channel": 0})
                entry["bytes"] += 0 if tensor.buffer in seen else tensor.size
                entry["tensors"] += 1
                entry["per_channel"] += tensor.scales > 1
                seen.add(tensor.buffer)
    return dict(sorted(found.items(), key=lambda item: -item[1]["bytes"]))


def precision(file: TfliteFile) -> str:
    """The storage of weights and activations: "int8 weights, float activations (dynamic)", or "int8
    weights, int8 activations" of a file quantised as a whole."""
    tensors = [tensor for graph in file.subgraphs for tensor in graph.tensors]
    activations = {t.type for t in tensors if not t.size and t.scales and t.type in _WHOLE_NUMBERS}
    sizes: Counter[str] = Counter()
    for tensor in tensors:
        if tensor.size and (tensor.type.startswith(("float", "bfloat")) or tensor.scales):
            sizes[tensor.type] += tensor.size
    if not sizes:
        return "no weights"
    least = _LEAST_SHARE * sum(sizes.values())
    kinds = [kind for kind, size in sizes.most_common() if size >= least]
    if activations:
        return f"{' and '.join(kinds)} weights, {' and '.join(sorted(activations))} activations"
    dynamic = " (dynamic)" if _WHOLE_NUMBERS & {*kinds} else ""
    return f"{' and '.join(kinds)} weights, float activations{dynamic}"


def _tensor(graph: Subgraph, index: int) -> dict[str, Any]:
    tensor = graph.tensors[index]
    return {"name": printable(tensor.name), "type": tensor.type, "shape": list(tensor.shape)}


def _defect(finding: Finding) -> dict[str, Any]:
    operation = finding.operation
    return {
        "rule": finding.rule.name,
        "title": finding.rule.title,
        "severity": finding.rule.severity,
        "count": finding.count,
        "operation": None if operation is None else operation.index,
        "kind": "" if operation is None else printable(operation.name),
        "tensor": "" if operation is None else printable(operation.tensor),
        "block": "" if operation is None else operation.block,
        "subgraph": finding.subgraph,
        "detail": printable(finding.detail),
        "happens": finding.rule.happens,
        "runtimes": finding.rule.runtimes,
        "evidence": finding.rule.evidence,
        "threads": list(finding.rule.threads),
        "advice": finding.rule.advice,
    }
