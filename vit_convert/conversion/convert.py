"""From a checkpoint to a model: recognise, rename, check, and adapt what the user wants changed.

NumPy only. Nothing is read but what is changed or checked; the weights stay lazy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vit_convert.architectures import (
    Fact,
    ModelSpec,
    Overrides,
    Recognition,
    Source,
    architecture,
)
from vit_convert.architectures.base import Resampling, Tower
from vit_convert.architectures.definition import Architecture
from vit_convert.checkpoint import Checkpoint, open_checkpoint
from vit_convert.checkpoint.tensor import LazyTensor
from vit_convert.conversion.assumptions import Assumptions, model_of, warn
from vit_convert.conversion.changes import fresh_head, resize, stated
from vit_convert.conversion.checks import check_complete, check_finite, check_parts, misfit
from vit_convert.conversion.refusals import naming_the_cause, refusal_beside
from vit_convert.conversion.summary import ConversionSummary
from vit_convert.dialects import Dialect, Ledger, read_as_canonical, scheme_of
from vit_convert.errors import MappingError, RecognitionError, UsageError, option_of
from vit_convert.progress import Progress, counted, silent
from vit_convert.results import Result
from vit_convert.statements import read_statements


@dataclass(frozen=True)
class Conversion(Result):
    """A recognised checkpoint, ready to be written.

    Attributes:
        spec: what the model is.
        weights: canonical name -> lazy tensor, exactly those of spec.parameters().
        recognition: how each value is known.
        ledger: where each tensor of the file went.
        checkpoint: the file.
        path: the .h5 that was written of it, where one was.
    """

    spec: ModelSpec
    weights: dict[str, LazyTensor]
    recognition: Recognition
    ledger: Ledger
    checkpoint: Checkpoint
    path: Path | None = None

    @property
    def summary(self) -> ConversionSummary:
        """What it came to, without the tensors."""
        key, assumed = self.checkpoint.key, Assumptions.of(self.recognition)
        ignored = self.ledger.ignored_by_reason()
        return ConversionSummary(
            source=self.checkpoint.path,
            path=self.path,
            size=self.path.stat().st_size if self.path else None,
            architecture=architecture(self.spec.architecture).title,
            model=model_of(self.recognition),
            warnings=tuple(assumed.warnings()),
            notes=(
                *([f"took the state dict under {key!r}"] if key else []),
                *filter(None, [assumed.conclusion()]),
                *(f"ignored {name}: {reason}" for name, reason in ignored),
            ),
        )

    def to_dict(self) -> dict[str, Any]:
        """The summary in values that JSON knows."""
        return self.summary.to_dict()

    @property
    def facts(self) -> dict[str, Fact]:
        """Field of the configuration or the preprocessing -> its value and how that is known."""
        return self.recognition.facts


@naming_the_cause
def recognise(
    checkpoint: Checkpoint,
    overrides: Overrides | None = None,
    among: Sequence[Dialect] | None = None,
    tower: Tower = "image",
) -> Conversion:
    """Tell what model a checkpoint holds, without reading its arrays.

    Args:
        checkpoint: the open file.
        overrides: what the user states.
        among: the naming schemes to choose from; by default all of the tower.
        tower: of a model of pictures and texts (CLIP), which part.

    Returns:
        what the model is, how each value of that is known, and its weights: canonical name -> lazy
        tensor in PyTorch's layout.

    Raises:
        RecognitionError: it is no model that is known here.
        MappingError: tensors are missing, unexpected, misshapen or of a wrong type.
        UsageError: options contradict the checkpoint.
    """
    overrides = overrides or Overrides()
    where = str(checkpoint.path)
    ledger = read_as_canonical(
        checkpoint.tensors, where, stem=checkpoint.path.stem, among=among, tower=tower
    )
    check_parts(ledger, where)
    if ledger.dialect.sidecar and (refusal := refusal_beside(checkpoint.path.parent)):
        raise refusal
    statements = read_statements(checkpoint, ledger, overrides)
    overrides = replace(overrides, stated=statements.facts, scheme=ledger.dialect.name)
    shapes = {name: tensor.shape for name, tensor in ledger.tensors.items()}
    family = architecture(ledger.dialect.architecture)
    try:
        recognition = family.recognise(shapes, overrides, checkpoint.path.stem)
    except RecognitionError as error:
        if not ledger.unexpected:
            error.where = error.where or where
            raise
        # what no rule knows is the likelier cause
        raise misfit(ledger, [(error.where, error.what)], where) from error
    _refuse_useless(overrides, family, recognition)
    source = Source(
        file=checkpoint.path.name,
        dialect=ledger.dialect.name,
        prefix=ledger.prefix,
        variant=recognition.variant,
        dtypes={n: t.dtype for n, t in ledger.tensors.items() if t.dtype != "float32"},
        provenance={
            name: fact.provenance
            for name, fact in recognition.facts.items()
            if name not in recognition.unused | {"variant"}
        },
        body=ledger.body,
        fills=ledger.fills,
        rules=ledger.dialect.text,
    )
    spec = ModelSpec(
        architecture=family.name,
        config=recognition.config,
        preprocessing=recognition.preprocessing,
        labels=statements.sidecars.labels_for(recognition.config.num_classes),
        source=source,
        head=ledger.dialect.head,
    )
    parameters = spec.parameters()
    check_complete(parameters, ledger, where)
    weights = {p.name: ledger.tensors[p.name] for p in parameters}
    return Conversion(spec, weights, recognition, ledger, checkpoint)


def _refuse_useless(overrides: Overrides, family: Architecture, recognition: Recognition) -> None:
    """Raises UsageError for an option that changes nothing in the model."""
    known = family.options(family.config_class)
    for name in overrides.given():
        if name not in known:
            what = f"says nothing of a {family.title}, which the checkpoint holds"
        elif name in recognition.unused:
            what = "changes nothing in this model"
        else:
            continue
        raise UsageError(what, where=option_of(name), hint="leave it out")


def convert(
    checkpoint: Checkpoint,
    overrides: Overrides | None = None,
    *,
    labels: Sequence[str] | None = None,
    pos_embed: Resampling | None = None,
    among: Sequence[Dialect] | None = None,
    tower: Tower = "image",
    progress: Progress = silent,
) -> Conversion:
    """Recognise a checkpoint, check all its values, and apply the user's changes.

    Args:
        checkpoint: the open file.
        overrides: what the user states.
        labels: class names; by default those that lie beside the checkpoint, or ImageNet's for
            1000 classes.
        pos_embed: how the position embedding is resampled if overrides.image_size asks for it; by
            default as the authors of the naming scheme do, or with antialiasing.
        among: as `recognise`.
        tower: as `recognise`.
        progress: told what is being done.

    Returns:
        as `recognise`, with the changes.

    Raises:
        RecognitionError, UsageError: as `recognise`.
        MappingError: as `recognise`, and for values that are NaN or infinite.

    Warns:
        AssumptionWarning: for each value that nothing confirms; see `Conversion.facts`.
    """
    from vit_convert.labels.names import given_labels, labels_for

    overrides = overrides or Overrides()
    found = recognise(checkpoint, overrides, among, tower)
    tensors = counted(progress, "checking the values of tensors", [*found.weights.values()])
    check_finite(tensors, str(checkpoint.path))
    usual = found.recognition.facts.get("pos_embed")
    method = pos_embed or (usual.value if usual else "antialias")
    spec, weights = replace(found.spec, pos_embed=method), dict(found.weights)
    if overrides.image_size and overrides.image_size != spec.config.image_size:
        progress("resampling the position embedding")
        spec = stated(resize(spec, weights, overrides.image_size), "image_size")
    if overrides.num_classes is not None:
        spec = stated(fresh_head(spec, weights, overrides.num_classes), "num_classes")
    fresh = "head.weight" in spec.source.changed
    given = given_labels(labels or ())
    known = given or (() if fresh else spec.labels)
    names = () if fresh and not given else labels_for(spec.config.num_classes, known)
    spec = replace(spec, labels=names)
    weights = {p.name: weights[p.name] for p in spec.parameters()}
    facts = dict(found.facts)
    for name in ("image_size", "num_classes"):
        if spec.source.provenance.get(name) == "given":
            facts[name] = Fact(getattr(spec.config, name), "given", "your option")
    recognition = replace(found.recognition, facts=facts)
    warn(recognition)
    return replace(found, spec=spec, weights=weights, recognition=recognition)


def open_source(path: str | Path, key: str | None, spec: ModelSpec) -> tuple[Checkpoint, Ledger]:
    """A checkpoint, and where its tensors go.

    Args:
        path: the checkpoint.
        key: which nested state dict.
        spec: of an artifact that is said to come from it; MappingError if it is another model.
    """
    checkpoint = open_checkpoint(path, key)
    source = spec.source
    ledger = read_as_canonical(
        checkpoint.tensors,
        str(path),
        stem=checkpoint.path.stem,
        among=[scheme_of(source, None, spec.architecture)] if source.rules else None,
        tower=architecture(spec.architecture).tower,
    )
    if spec.architecture != ledger.dialect.architecture:
        raise MappingError(
            f"the checkpoint is a {architecture(ledger.dialect.architecture).title}",
            where=str(path),
            expected=f"the source of the artifact, a {architecture(spec.architecture).title}",
        )
    return checkpoint, ledger
