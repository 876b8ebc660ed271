"""What `torch2keras` and `export` do for each input, and what they say of it."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vit_convert.cli import console, options
from vit_convert.errors import UsageError, VitConvertError
from vit_convert.progress import Progress
from vit_convert.results import Result

if TYPE_CHECKING:
    from vit_convert.architectures.base import Tower
    from vit_convert.conversion.summary import ConversionSummary
    from vit_convert.exporters import Exported, ExportOptions
    from vit_convert.statements.option_file import Options

# the beginnings of what `looks_like` says of them
_CHECKPOINTS = (
    "a PyTorch checkpoint",
    "a .safetensors checkpoint",
    "an .npz file",
    "a Python pickle",
    "the index of a checkpoint",
)


def say(found: ConversionSummary, name: str = "") -> None:
    """Print warnings and notes, with a name in front where there are several inputs."""
    for line in found.warnings:
        console.warn(f"{name}{line}")
    for line in found.notes:
        console.note(f"{name}{line}")


def convert_file(
    checkpoint: Path, target: Path, stated: Options, force: bool, progress: Progress
) -> ConversionSummary:
    """Convert a checkpoint.

    Raises:
        VitConvertError: as `vit_convert.torch2keras`.
    """
    from vit_convert.conversion.files import torch2keras

    with console.own_warnings():
        conversion = torch2keras(
            checkpoint, target, force=force, progress=progress, **stated.arguments()
        )
    return replace(conversion.summary, source=checkpoint)  # as it was given: perhaps a folder


@dataclass(frozen=True)
class ExportedModel(Result):
    """A model that was exported.

    Attributes:
        source: the model, or the checkpoint.
        artifacts: what was written.
        converted: how the checkpoint was converted, where it was one.
    """

    source: Path
    artifacts: tuple[Exported, ...]
    converted: ConversionSummary | None

    @property
    def passed(self) -> bool:
        """Whether all quantised ones are close enough to their float32."""
        return all(artifact.passed for artifact in self.artifacts)

    def to_dict(self) -> dict[str, Any]:
        """In values that JSON knows."""
        found = [artifact.to_dict() for artifact in self.artifacts]
        said: dict[str, Any] = {"source": str(self.source), "artifacts": found}
        if self.converted is not None:
            said["conversion"] = self.converted.to_dict() | {"path": None, "bytes": None}
        return said | {"passed": self.passed}


def export_file(
    source: Path,
    jobs: Sequence[tuple[str, ExportOptions]],
    folder: Path,
    force: bool,
    tower: Tower | None,
    progress: Progress,
) -> ExportedModel:
    """Export a model; a checkpoint is converted first, in a scratch folder. `tower` says which part
    of it.

    Raises:
        VitConvertError: as `vit_convert.torch2keras` and `vit_convert.export_all`; or a model is
            converted already, and `tower` is given.
    """
    from vit_convert.exporters import export_all
    from vit_convert.statements.option_file import Options

    model, converted = source, None
    with ExitStack() as stack:
        if is_checkpoint(source):
            # What is written must not be called a failure because this cannot be removed.
            scratch = stack.enter_context(
                tempfile.TemporaryDirectory(prefix="vit-convert-", ignore_cleanup_errors=True)
            )
            model = Path(scratch, f"{options.stem(source)}.h5")
            try:
                stated = Options().but({"tower": tower})
                converted = convert_file(source, model, stated, False, progress)
            except VitConvertError as error:
                if "--" in error.hint:  # an option that only torch2keras has
                    error.hint = f"vit-convert torch2keras {source}, then export; {error.hint}"
                raise
        elif tower is not None:
            raise UsageError(
                "is converted already, and is what it is",
                where=f"{source}: --tower {tower}",
                expected="a checkpoint",
                hint=f"vit-convert torch2keras CHECKPOINT --tower {tower}",
            )
        artifacts = export_all(model, jobs, folder, force=force, progress=progress)
    return ExportedModel(source, tuple(artifacts), converted)


def is_checkpoint(path: Path) -> bool:
    """Whether something is what `torch2keras` takes, and no artifact."""
    from vit_convert.checkpoint.lookalikes import looks_like
    from vit_convert.exporters import TARGETS

    if path.is_dir():
        return not any(target.matches(path) for target in TARGETS.values())
    try:
        what = looks_like(path)
    except OSError:
        return False
    return what.startswith(_CHECKPOINTS)


def targets_in(folder: Path, sources: Sequence[Path], suffix: str = "") -> Mapping[Path, Path]:
    """The output of each input in a folder, named as the input without its own suffixes.

    Raises:
        UsageError: two inputs would have one output.
    """
    from vit_convert.errors import UsageError

    taken: dict[str, Path] = {}
    for source in sources:
        stem = options.stem(source)
        if stem in taken:
            raise UsageError(
                f"{taken[stem]} and {source} would both be written as {stem}{suffix}",
                where=str(folder),
                expected="inputs with different names",
                hint="one after the other, each with its own -o",
            )
        taken[stem] = source
    return {source: folder / f"{stem}{suffix}" for stem, source in taken.items()}
