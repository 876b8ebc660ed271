"""A known defect of a runtime, and a place where a file runs into it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from vit_convert.exporters.tflite.graph_reader import Operation, TfliteGraph

# refused: a runtime does not take the file, or splits it; wrong: it runs and gives wrong numbers
# in silence; fragile: it works in most places, but is slow or has failed somewhere
Severity = Literal["wrong", "refused", "fragile"]
# measured: seen by this project on the runtimes named; reported: others' words in the threads
Evidence = Literal["measured", "reported", "measured and reported"]


@dataclass(frozen=True)
class Place:
    """A place where a rule is broken.

    Attributes:
        operation: its index in the order of execution; -1 where the graph itself is meant.
        detail: the shapes or types that break it, where they matter.
    """

    operation: int
    detail: str = ""


Check = Callable[[TfliteGraph], Iterator[Place]]


@dataclass(frozen=True)
class Rule:
    """A form of graph that some runtime refuses or computes wrongly.

    Attributes:
        name: short and lasting.
        title: the form, in a few words.
        severity: what comes of it.
        happens: what a user sees.
        runtimes: where, with versions and devices.
        evidence: who saw it.
        threads: public issues, "google-ai-edge/LiteRT#8619".
        advice: how to write the graph instead.
        check: finds it.
    """

    name: str
    title: str
    severity: Severity
    happens: str
    runtimes: str
    evidence: Evidence
    threads: tuple[str, ...]
    advice: str
    check: Check


@dataclass(frozen=True)
class Finding:
    """A rule that a file breaks.

    Attributes:
        rule: which.
        count: how often.
        operation: the first that breaks it; None where the graph itself does.
        detail: of the first.
        subgraph: the index of its graph.
    """

    rule: Rule
    count: int
    operation: Operation | None
    detail: str
    subgraph: int = 0


def shown(shape: tuple[int, ...]) -> str:
    """A shape for people: (1, 197, 768)."""
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"
