"""Export targets. To add one: a file like saved_model.py, and a line in the table below."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vit_convert.checkpoint.lookalikes import looks_like
from vit_convert.errors import (
    ArtifactError,
    PictureWarning,
    QuantisationWarning,
    UsageError,
    described,
    similar_to,
)
from vit_convert.exporters.artifact import Artifact
from vit_convert.exporters.keras_h5 import KERAS_H5, open_model
from vit_convert.exporters.metadata import Metadata
from vit_convert.exporters.options import ExportOptions, InputRange
from vit_convert.exporters.quantisation_options import check_quantisation, relevant
from vit_convert.exporters.quantisation_report import QuantisationReport
from vit_convert.exporters.registry import Target, Write
from vit_convert.exporters.saved_model import SAVED_MODEL
from vit_convert.exporters.tf_hub import HUB
from vit_convert.exporters.tflite import TFLITE
from vit_convert.progress import Progress, of_part, silent
from vit_convert.results import Result
from vit_convert.runtime.atomic_write import atomic_writes

__all__ = [
    "TARGETS",
    "Artifact",
    "ExportOptions",
    "Exported",
    "InputRange",
    "Metadata",
    "QuantisationReport",
    "Target",
    "artifact_size",
    "describe_artifact",
    "export",
    "export_all",
    "open_artifact",
    "target_of",
]


def by_name(targets: Iterable[Target]) -> dict[str, Target]:
    """A registry of targets.

    Raises:
        ValueError: two have the same name.
    """
    table: dict[str, Target] = {}
    for target in targets:
        if target.name in table:
            raise ValueError(f"two export targets are called {target.name!r}")
        table[target.name] = target
    return table


TARGETS = by_name((KERAS_H5, SAVED_MODEL, HUB, TFLITE))


@dataclass(frozen=True)
class Exported(Result):
    """An artifact that was written.

    Attributes:
        path: where.
        size: of the file, or of all files of the folder, in bytes.
        report: how a quantised one compares with its float32; None for others.
        caveats: where it will not run, and what to do for that.
    """

    path: Path
    size: int
    report: QuantisationReport | None = None
    caveats: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether a quantised artifact is close enough to its float32; true for all others."""
        return self.report is None or self.report.passed

    def to_dict(self) -> dict[str, Any]:
        """In values that JSON knows; of the report, what was measured, where there is one."""
        found: dict[str, Any] = {"path": str(self.path), "bytes": self.size}
        if self.report is None:
            return found
        return found | {
            "measurement": self.report.measurement.to_dict(),
            "passed": self.passed,
            "in_float": [kept.to_dict() for kept in self.report.in_float],
        }


def export(
    model: str | Path,
    targets: Sequence[str],
    folder: str | Path = ".",
    options: ExportOptions = ExportOptions(),  # noqa: B008 - immutable
    force: bool = False,
    progress: Progress = silent,
) -> list[Path]:
    """Write artifacts of a converted model, with the same options for each: all, or nothing.

    Args:
        model: the .h5 that `torch2keras` wrote.
        targets: "saved_model", "hub", "tflite".
        folder: where to write; it must exist.
        options: of each artifact.
        force: replace what is there.
        progress: told of each step; each artifact is a part.

    Returns:
        the paths, in the order of the targets. `export_all` also returns how a quantised file
        compares with its float32.

    Raises:
        UsageError, OutputError, ArtifactError: as `export_all`.

    Warns:
        QuantisationWarning: a quantised file falls short of its float32.
        PictureWarning: calibration pictures cannot be read.
    """
    if isinstance(targets, str):
        raise UsageError(
            f"cannot be {described(targets)}", where="targets", expected=f"a list: [{targets!r}]"
        )
    written = export_all(model, [(name, options) for name in targets], folder, force, progress)
    for artifact in written:
        report = artifact.report
        if report is not None and not report.passed:
            message = f"{artifact.path.name} falls short: {report.measurement.sentence}"
            warnings.warn(QuantisationWarning(message), stacklevel=2)
        if report is not None and report.unreadable:
            message = f"{artifact.path.name}: calibration pictures cannot be read: "
            warnings.warn(PictureWarning(message + "; ".join(report.unreadable)), stacklevel=2)
    return [artifact.path for artifact in written]


def export_all(
    model: str | Path,
    jobs: Sequence[tuple[str, ExportOptions]],
    folder: str | Path = ".",
    force: bool = False,
    progress: Progress = silent,
) -> list[Exported]:
    """Write artifacts of a converted model: all of them, or nothing.

    Args:
        model: the .h5 that `torch2keras` wrote.
        jobs: (name of the target, its options), one for each artifact.
        folder: where to write; it must exist.
        force: replace what is there.
        progress: told of each step; each artifact is a part.

    Returns:
        the artifacts, in the order of the jobs. A quantised one that falls short of its float32 is
        written all the same; its report says so.

    Raises:
        UsageError: a target is not known or is no export target, two jobs write the same file,
            int8 is asked for without calibration images, or these or layers to keep in float
            without int8, or the options do not fit the model.
        OutputError: an output exists already, or cannot be written.
        ArtifactError: the model cannot be read.
    """
    source = Path(model)
    check_quantisation(jobs)
    plan = [(*_exporter(name), relevant(name, options)) for name, options in jobs]
    paths = [Path(folder) / target.filename(source.stem, options) for target, _, options in plan]
    progress(f"opening {source.name}", 0, 0, 0, len(jobs))
    with ExitStack() as stack:
        opened = stack.enter_context(open_model(source))
        for path in paths:
            if paths.count(path) > 1:
                raise UsageError("would be written twice", where=str(path), hint="ask for it once")
        outputs = [(p, target.folder_with) for p, (target, _, _) in zip(paths, plan, strict=True)]
        scratch = stack.enter_context(atomic_writes(outputs, force))
        exported = []
        for part, ((target, write, options), path) in enumerate(zip(plan, scratch, strict=True)):
            inner = of_part(progress, path.name, part, len(plan))
            inner("writing")
            report = write(opened, path, options, inner)
            exported.append((report, target.caveats(opened.spec, options)))
    return [
        Exported(path, artifact_size(path), *found)
        for path, found in zip(paths, exported, strict=True)
    ]


def _exporter(name: str) -> tuple[Target, Write]:
    target = TARGETS.get(name)
    if target is None or target.write is None:
        raise UsageError(
            f"there is no export target {name!r}",
            expected=", ".join(t.name for t in TARGETS.values() if t.write),
        )
    return target, target.write


def open_artifact(path: str | Path) -> Artifact:
    """Open any artifact; its kind is recognised from its content.

    Args:
        path: of an .h5, a SavedModel or Hub folder, or a .tflite file.

    Returns:
        it, with `run`: images (n, height, width, channels) float32 in its `input_range` -> name of
        the output -> array (n, ...); what it is (`spec`), and what it was exported with.

    Raises:
        ArtifactError: there is nothing, it is none of ours, or it is damaged.
    """
    return target_of(path).open(Path(path))


def describe_artifact(path: str | Path) -> Metadata:
    """Read the metadata of any artifact, without TensorFlow and without reading weights.

    Raises:
        ArtifactError: as `open_artifact`.
    """
    return target_of(path).describe(Path(path))


def target_of(path: str | Path) -> Target:
    """Find the target that an artifact belongs to, from its content.

    Raises:
        ArtifactError: there is nothing, or nothing that is known here.
    """
    artifact = Path(path)
    expected = "one of: " + ", ".join(target.title for target in TARGETS.values())
    if not artifact.exists():
        raise ArtifactError(
            "there is no such file or folder",
            where=str(path),
            expected=expected,
            hint=similar_to(artifact),
        )
    for target in TARGETS.values():
        if target.matches(artifact):
            return target
    what = "" if artifact.is_dir() else looks_like(artifact)
    checkpoint = artifact if "checkpoint" in what else "CHECKPOINT"
    raise ArtifactError(
        f"is no artifact that is known here{f': it is {what}' if what else ''}",
        where=str(path),
        expected=expected,
        hint=f"vit-convert torch2keras {checkpoint}, then vit-convert export",
    )


def artifact_size(path: Path) -> int:
    """Bytes of a file, or of all files under a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
