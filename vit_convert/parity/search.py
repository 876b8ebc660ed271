"""Looks for the value of a configuration that was assumed wrongly.

A checkpoint does not say how many heads it has, which GELU, which epsilon, how it pools. Where the
outputs differ from a reference that knows (the user's own model, or what it gave), each of those
values is changed, then two at a time, and the float32 graph of the same weights is run in NumPy
until it gives what the reference gave. This needs neither PyTorch nor TensorFlow.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, cast

import numpy as np

from vit_convert.architectures import ModelSpec, Output, OutputSpec, architecture
from vit_convert.conversion.h5_file import ReadTensors, open_keras
from vit_convert.conversion.name_table import readable
from vit_convert.errors import VitConvertError
from vit_convert.exporters import Artifact, ExportOptions
from vit_convert.exporters.registry import SourceModel
from vit_convert.exporters.tflite.writer import TfliteWriter
from vit_convert.parity.alternatives import Change, alternatives, as_option, matters, rank
from vit_convert.parity.compare import TOLERANCES, compare
from vit_convert.parity.references import Reference
from vit_convert.parity.search_result import SearchResult
from vit_convert.progress import Progress, silent

SECONDS = 60.0  # after which nothing more is tried
_FEW = 2  # images that changes are tried on
_MANY = 16  # images that the one that was found is checked on
_CACHED = 2**30  # bytes of weights that are kept in memory
_NOTHING = "no value of the configuration is assumed that other values could be tried for"
_FOR_CONVERSION = ("image_size", "num_classes")  # given, but no guess of what the model is

Changes = tuple[Change, ...]


def shared_assumptions(spec: ModelSpec) -> tuple[str, ...]:
    """Values of a configuration that nothing confirms, for people: "num_heads 12"."""
    known = spec.source.provenance
    assumed = [f.name for f in fields(spec.config) if known.get(f.name) == "assumed"]
    names = [name for name in assumed if matters(spec, name)]
    return tuple(f"{name} {readable(getattr(spec.config, name))}" for name in names)


def search(
    artifact: Artifact,
    reference: Reference,
    source: str | Path | None,
    key: str | None,
    progress: Progress = silent,
) -> SearchResult | None:
    """Find the values with which an artifact's weights give what the reference gives.

    Args:
        artifact: what differs.
        reference: what it differs from.
        source: the checkpoint, where there is one; without, the artifact must be an .h5.
        key: which state dict of it.
        progress: told what is tried.

    Returns:
        the result; None where the artifact does not say how its values are known.
    """
    spec = artifact.spec
    known = {k: v for k, v in spec.source.provenance.items() if k not in _FOR_CONVERSION}
    guessed = [f.name for f in fields(spec.config) if known.get(f.name, "assumed") == "assumed"]
    stated = [name for name, provenance in known.items() if provenance in ("given", "published")]
    if not known:
        return None
    with _weights(artifact, source, key) as weights:
        if weights is None:
            return SearchResult(
                problem="which assumed value is wrong was not looked for: this artifact has no "
                "weights of its own to try others with; verify the .h5 that it was exported from"
            )
        trial = _Trial(spec, weights, artifact.output, *_images(reference, _FEW))
        work = _Search(trial, time.monotonic() + SECONDS, progress)
        found = work.run(rank(alternatives(spec, guessed)), rank(alternatives(spec, stated)))
        if found is None or not found[0].passed:
            return work.result((), work.best, _FEW)
        changes = found[1]
        checked = _Trial(spec, weights, artifact.output, *_images(reference, _MANY))
        again = checked.compare(changes)
        relative = math.inf if again is None else again.relative
        if again is None or not again.passed:
            return work.result((), relative, len(checked.images))
        return work.result(changes, relative, len(checked.images), unchanged=not changes)


@dataclass(frozen=True)
class _Model:
    """Weights with another configuration; see `vit_convert.exporters.registry.SourceModel`."""

    spec: ModelSpec
    weights: Mapping[str, np.ndarray]


class _Trial:
    """Weights that are run with other configurations."""

    def __init__(
        self,
        spec: ModelSpec,
        weights: Mapping[str, np.ndarray],
        output: OutputSpec,
        images: np.ndarray,
        expected: np.ndarray,
    ) -> None:
        self.spec, self.weights, self.images, self.expected = spec, weights, images, expected
        # what the reference gives, before it is made the artifact's
        wanted: Output = "tokens" if output.kind == "tokens" else "logits"
        if output.endpoint == "features":
            wanted = "features"
        self.options = ExportOptions(output=wanted, block=output.after_block)

    def compare(self, changes: Changes) -> Any:
        """The comparison with the reference, or None where there is no such model."""
        spec = self.spec.with_config(**{change.field: change.value for change in changes})
        try:
            architecture(spec.architecture).check(spec.config)
            model = cast(SourceModel, _Model(spec, self.weights))
            got = TfliteWriter(model, self.options).float32_outputs(self.images)
        except VitConvertError:
            return None
        return compare(self.expected, got, TOLERANCES["float32"])


class _Search:
    """Tries changes until one makes the outputs equal, or the time is over."""

    def __init__(self, trial: _Trial, deadline: float, progress: Progress) -> None:
        self.trial, self.deadline, self.progress = trial, deadline, progress
        self.started = time.monotonic()
        self.tried = self.left = 0
        self.best = math.inf
        self.fields: list[str] = []
        self.distance: dict[Change, float] = {}

    def run(self, guessed: list[Change], stated: list[Change]) -> tuple[Any, Changes] | None:
        """The first changes that agree: none; one of the values that were guessed; one that was
        stated; two of those that were guessed."""
        unchanged = self.trial.compare(())
        if unchanged is not None and unchanged.passed:
            return unchanged, ()
        self.fields = list(dict.fromkeys(change.field for change in (*guessed, *stated)))
        for group in (guessed, stated):
            if found := self._single(group):
                return found
        pairs = [
            pair for pair in itertools.combinations(guessed, 2) if pair[0].field != pair[1].field
        ]
        # two values that are both wrong: changing either alone brings the outputs nearer, mostly
        pairs.sort(key=lambda pair: min(map(self._reached, pair)))
        for done, pair in enumerate(pairs):
            if time.monotonic() > self.deadline:
                self.left += len(pairs) - done
                break
            comparison = self._try(pair, "two assumed values at a time", done, len(pairs))
            if comparison is not None and comparison.passed:
                return comparison, pair
        return None

    def _single(self, changes: list[Change]) -> tuple[Any, Changes] | None:
        """The best change of the first field of which one agrees."""
        for _, group in itertools.groupby(changes, lambda change: change.field):
            agreeing = []
            for change in group:
                if time.monotonic() > self.deadline:
                    self.left += 1
                    continue
                comparison = self._try((change,), f"other values of {change.field}")
                if comparison is None:
                    continue
                self.distance[change] = comparison.relative
                if comparison.passed:
                    agreeing.append((comparison.relative, comparison, (change,)))
            if agreeing:
                _, comparison, found = min(agreeing, key=lambda each: each[0])
                return comparison, found
        return None

    def _reached(self, change: Change) -> float:
        return self.distance.get(change, math.inf)

    def _try(self, changes: Changes, what: str, done: int = 0, total: int = 0) -> Any:
        self.progress(f"trying {what}", done, total)
        self.tried += 1
        comparison = self.trial.compare(changes)
        if comparison is not None:
            self.best = min(self.best, comparison.relative)
        return comparison

    def result(
        self, changes: Changes, relative: float, images: int, unchanged: bool = False
    ) -> SearchResult:
        """What it came to."""
        return SearchResult(
            options=tuple(as_option(change) for change in changes),
            relative=relative,
            images=images,
            unchanged=unchanged,
            fields=tuple(self.fields),
            tried=self.tried,
            left=self.left,
            seconds=time.monotonic() - self.started,
            problem="" if self.fields or unchanged else _NOTHING,
            output=self.trial.options.output,
        )


def _images(reference: Reference, most: int) -> tuple[np.ndarray, np.ndarray]:
    """The first images of a reference, and what it gives for them."""
    sample = next(reference.batches())
    return sample.images[:most], sample.outputs[:most]


@contextmanager
def _weights(
    artifact: Artifact, source: str | Path | None, key: str | None
) -> Iterator[Mapping[str, np.ndarray] | None]:
    """The weights of an artifact under canonical names; None where it does not have them."""
    if artifact.kind == "keras":
        with open_keras(artifact.path) as (_, tensors):
            yield _kept(ReadTensors(tensors), artifact.spec)
    elif source is not None and not artifact.spec.source.changed:
        from vit_convert.conversion.convert import open_source

        _, ledger = open_source(source, key, artifact.spec)
        yield _kept(ReadTensors(ledger.tensors), artifact.spec)
    else:
        yield None


def _kept(weights: Mapping[str, np.ndarray], spec: ModelSpec) -> Mapping[str, np.ndarray]:
    """In memory, where they fit."""
    size = 4 * sum(math.prod(parameter.shape) for parameter in spec.parameters())
    return dict(weights) if size < _CACHED else weights
