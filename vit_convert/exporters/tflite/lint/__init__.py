"""Known defects of runtimes that a .tflite file runs into: a table of rules, and what breaks them.

A rule is data (what happens, where, who said so, what to do) and a pure function of the graph. The
table says what was measured by this project, which has no phone, and what others report.
"""

from __future__ import annotations

from vit_convert.exporters.tflite.file_reader import TfliteFile
from vit_convert.exporters.tflite.graph_reader import TfliteGraph
from vit_convert.exporters.tflite.lint.fragile import FRAGILE
from vit_convert.exporters.tflite.lint.operations import OPERATIONS
from vit_convert.exporters.tflite.lint.outputs import OUTPUTS
from vit_convert.exporters.tflite.lint.rule import Finding, Place, Rule
from vit_convert.exporters.tflite.lint.shapes import SHAPES
from vit_convert.exporters.tflite.lint.wrong import WRONG

__all__ = ["RULES", "Finding", "Place", "Rule", "findings", "findings_of_file"]

RULES: tuple[Rule, ...] = (*WRONG, *OUTPUTS, *SHAPES, *OPERATIONS, *FRAGILE)


def findings(graph: TfliteGraph, subgraph: int = 0) -> list[Finding]:
    """The rules that a graph breaks, in the order of the table, each with its first place."""
    found = []
    for rule in RULES:
        places = list(rule.check(graph))
        if places:
            first = min(places, key=lambda place: place.operation)
            operation = graph.operations[first.operation] if first.operation >= 0 else None
            found.append(Finding(rule, len(places), operation, first.detail, subgraph))
    return found


def findings_of_file(file: TfliteFile) -> list[Finding]:
    """As `findings`, of all graphs of a file, the main one first."""
    return [
        finding
        for index in range(len(file.subgraphs))
        for finding in findings(TfliteGraph(file, index), index)
    ]
