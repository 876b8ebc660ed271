"""What an export target and an opened artifact are.

Nothing here imports TensorFlow: a target imports it when it writes or opens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from vit_convert.architectures import ModelSpec
from vit_convert.exporters.quantisation_report import QuantisationReport

if TYPE_CHECKING:
    from vit_convert.exporters.metadata import Metadata
    from vit_convert.models import ConvertedModel

# int8-dynamic: weights of one byte each, activations as float; int8: activations of one byte too,
# in ranges that pictures have shown
Precision = Literal["float32", "float16", "int8-dynamic", "int8"]
QUANTISED: tuple[Precision, ...] = ("int8-dynamic", "int8")
# How pixels enter an artifact: normalised with mean and std; RGB in 0..255; RGB in 0..1
InputRange = Literal["normalised", "0..255", "0..1"]
Outputs = dict[str, np.ndarray]


@dataclass(frozen=True)
class ExportOptions:
    """What `export` can be asked for.

    Attributes:
        precision: of a TFLite file.
        batch_size: of the input; None for what suits the target: 1 for TFLite, dynamic elsewhere.
        attention: give the attention maps too, under the names that published models use.
        output: "logits", "softmax" (their probabilities) or "features" (what the head would see).
        embed_preprocessing: take RGB in 0..255 and normalise in the graph.
        calibration: a folder of pictures that int8 precisions are made and compared on. The
            artifact does not tell it.
    """

    precision: Precision = "float32"
    batch_size: int | Literal["dynamic"] | None = None
    attention: bool = False
    output: Literal["logits", "softmax", "features"] = "logits"
    embed_preprocessing: bool = False
    calibration: Path | None = None


class SourceModel(Protocol):
    """The converted model that artifacts are made of, open."""

    @property
    def spec(self) -> ModelSpec:
        """What it is."""

    @property
    def weights(self) -> Mapping[str, np.ndarray]:
        """Canonical name -> array in PyTorch's layout, read each time it is asked for."""

    @property
    def keras(self) -> ConvertedModel:
        """The Keras model, built when it is asked for."""


@dataclass(frozen=True)
class Artifact:
    """A model file or folder, opened.

    Attributes:
        path: where it is.
        kind: the name of its target.
        spec: what it is, from its metadata.
        options: what it was exported with.
        input_range: how pixels enter.
        run: images (n, height, width, channels) float32 in `input_range`, any n -> output name ->
            array (n, ...). The first output is the logits (or softmax, or features).
        blocks: the same images -> "embeddings", "blocks.0", ... -> tokens (n, tokens, dim), for
            telling where a difference begins; None where the artifact cannot tell.
        attention: the same images -> "attention.0", ... (n, heads, tokens, tokens), and for CaiT
            "class_attention.0", ... (n, heads, 1, 1 + patches); None where the artifact does not
            give its attention maps.
        float32_outputs: where it is quantised, the first output of the float32 file that it was
            made of, for `vit_convert.exporters.calibration.witness_images`; else None.
    """

    path: Path
    kind: str
    spec: ModelSpec
    options: ExportOptions
    input_range: InputRange
    run: Callable[[np.ndarray], Outputs]
    blocks: Callable[[np.ndarray], Outputs] | None = None
    attention: Callable[[np.ndarray], Outputs] | None = None
    float32_outputs: np.ndarray | None = None


@dataclass(frozen=True)
class Inference:
    """One inference of an artifact, ready to be timed.

    Attributes:
        run: makes one, of random images, and waits until it is done.
        batch: how many images: 1, unless the artifact was exported with another batch size.
        operations: how many operations its graph has; None where they are not to be counted.
        delegated: how many of them run on XNNPACK's kernels; None as well.
    """

    run: Callable[[], object]
    batch: int
    operations: int | None = None
    delegated: int | None = None


Progress = Callable[[str], None]
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
    """

    name: str
    title: str
    filename: Callable[[str, ExportOptions], str]
    write: Write | None
    matches: Callable[[Path], bool]
    open: Callable[[Path], Artifact]
    describe: Callable[[Path], Metadata]
    prepare: Callable[[Path, int], Inference]
