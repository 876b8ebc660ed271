"""The definition of an export target.

Nothing here imports TensorFlow: a target imports it when it writes or opens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from vit_convert.architectures import ModelSpec
from vit_convert.exporters.artifact import Artifact, Inference
from vit_convert.exporters.metadata import Metadata
from vit_convert.exporters.options import ExportOptions
from vit_convert.exporters.quantisation_report import QuantisationReport
from vit_convert.progress import Progress

if TYPE_CHECKING:
    from vit_convert.models import ConvertedModel


class SourceModel(Protocol):
    """The converted model that artifacts are made of, open."""

    @property
    def spec(self) -> ModelSpec:
        """The specification of the model."""

    @property
    def weights(self) -> Mapping[str, np.ndarray]:
        """Canonical name -> array in PyTorch's layout, read each time it is asked for."""

    @property
    def keras(self) -> ConvertedModel:
        """The Keras model, built when it is asked for."""


def no_caveats(spec: ModelSpec, options: ExportOptions) -> tuple[str, ...]:
    """The caveats of a target that has none."""
    return ()


Write = Callable[[SourceModel, Path, ExportOptions, Progress], QuantisationReport | None]


@dataclass(frozen=True)
class Target:
    """A kind of artifact.

    Attributes:
        name: "keras", "saved_model", "hub" or "tflite".
        title: for people.
        filename: (stem of the model's name, options) -> name of the artifact.
        write: (model, new path, options, what is told of each step that begins) -> how far a
            quantised artifact is from its float32; raises VitConvertError for options it cannot do.
            None where `torch2keras` writes this kind.
        matches: whether a path holds this kind, judged from its content.
        open: path -> Artifact; raises ArtifactError if it is broken.
        describe: path -> what the artifact says about itself, without opening it; as `open`.
        prepare: (path, threads) -> Inference, in a process that runs nothing else; raises as `open`
            does.
        folder_with: a file that is in every such folder; "" where it is a file itself.
        caveats: (model, options) -> sentences on where such an artifact will not run, and what to
            do for that.
    """

    name: str
    title: str
    filename: Callable[[str, ExportOptions], str]
    write: Write | None
    matches: Callable[[Path], bool]
    open: Callable[[Path], Artifact]
    describe: Callable[[Path], Metadata]
    prepare: Callable[[Path, int], Inference]
    folder_with: str = ""
    caveats: Callable[[ModelSpec, ExportOptions], tuple[str, ...]] = no_caveats
