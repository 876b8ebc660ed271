"""The metadata that every artifact carries, as JSON."""

from __future__ import annotations

import base64
import json
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

import vit_convert
from vit_convert.architectures import ModelSpec, OutputSpec, architecture
from vit_convert.architectures.stored import built
from vit_convert.errors import ArtifactError
from vit_convert.exporters.artifact import Artifact, Outputs, Run, in_batches
from vit_convert.exporters.options import ExportOptions, InputRange
from vit_convert.exporters.quantisation_report import KeptLayer, Measurement
from vit_convert.runtime.limits import JSON_BYTES

# of the JSON. 0.1 wrote none, which counts as 0 and can still be read.
FORMAT = 1
# what JSON of another form raises
_BROKEN = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)
_PRIVATE = ("calibration",)  # options that are somebody's own: where files lay


@dataclass(frozen=True)
class Metadata:
    """Attributes:
    target: the name of the export target.
    spec: what the model is.
    options: what it was exported with.
    input_range: how pixels enter.
    outputs: names of the outputs; the one that `output` describes first.
    stream_scale: what the artifact's residual stream is multiplied by (see vit_convert.folding).
    float32_outputs, measured: see Artifact.
    in_float: of a quantised artifact, linear layers that compute in float, and why.
    """

    target: str
    spec: ModelSpec
    options: ExportOptions
    input_range: InputRange
    outputs: tuple[str, ...]
    stream_scale: float = 1.0
    float32_outputs: np.ndarray | None = field(default=None, compare=False)
    measured: Measurement | None = None
    in_float: tuple[KeptLayer, ...] = ()

    @property
    def output(self) -> OutputSpec:
        """What the first output is."""
        return self.spec.output(self.options.output, self.options.block)

    def _attention(self, run: Run) -> Run | None:
        """`Artifact.attention` of an artifact with this metadata, by its `run`."""
        names = architecture(self.spec.architecture).attention_endpoints(self.outputs)
        if not names:
            return None

        def attention(images: np.ndarray) -> Outputs:
            outputs = run(images)
            return {endpoint: outputs[name] for endpoint, name in names.items()}

        return attention

    def to_json(self) -> str:
        """JSON, with the versions of what made the artifact beside."""
        return json.dumps(
            {
                "format": FORMAT,
                "target": self.target,
                "spec": self.spec.to_dict(),
                "options": {k: v for k, v in asdict(self.options).items() if k not in _PRIVATE},
                "input_range": self.input_range,
                "outputs": list(self.outputs),
                "stream_scale": self.stream_scale,
                "float32_outputs": _encoded(self.float32_outputs),
                "measured": self.measured and self.measured.to_dict(),
                "in_float": [asdict(layer) for layer in self.in_float],
                "versions": {
                    "vit-convert": vit_convert.__version__,
                    "tensorflow": _version("tensorflow"),
                },
            }
        )

    def artifact(
        self,
        path: Path,
        run: Run,
        blocks: Run | None,
        static: int | None,
        attention: Run | None = None,
    ) -> Artifact:
        """The artifact that this is about, opened.

        Args:
            path: where it is.
            run: one batch of images -> all outputs.
            blocks: one batch of images -> the residual stream as the artifact has it, or None.
            static: the only batch size that they take, None if they take any.
            attention: `Artifact.attention`, where it is not among the outputs of `run`.
        """

        def outputs(images: np.ndarray) -> Outputs:
            found = in_batches(run, images, static)
            return {name: found[name] for name in self.outputs}

        def stream(images: np.ndarray) -> Outputs:
            assert blocks is not None
            return self.unscaled(in_batches(blocks, images, static))

        return Artifact(
            path,
            self.target,
            self.spec,
            self.options,
            self.input_range,
            outputs,
            stream if blocks else None,
            attention or self._attention(outputs),
            self.float32_outputs,
            self.measured,
        )

    def unscaled(self, blocks: Outputs) -> Outputs:
        """The residual stream as the source has it, (n, tokens, channels): .tflite files scale it,
        and keep it in rank 4."""
        scale = np.float32(self.stream_scale)
        return {
            name: tokens.reshape(len(tokens), -1, tokens.shape[-1]) / scale
            for name, tokens in blocks.items()
        }

    @staticmethod
    def from_json(text: str | bytes, where: str) -> Metadata:
        """The inverse of `to_json`; `where` is the artifact's path, for the error.

        Raises:
            ArtifactError: this is no such JSON.
        """
        JSON_BYTES.check(len(text), where, error=ArtifactError)
        try:
            data = json.loads(text)
            measured = data.get("measured")
            if data.get("format", 0) > FORMAT:
                raise ArtifactError(
                    f"was written by a newer vit-convert: its metadata have format "
                    f"{data['format']}",
                    where=where,
                    expected=f"format {FORMAT} or older",
                    hint="pip install --upgrade vit-convert",
                )
            return built(
                Metadata,
                {
                    "target": data["target"],
                    "spec": ModelSpec.from_dict(data["spec"], where),
                    "options": _options(data["options"]),
                    "input_range": data["input_range"],
                    "outputs": data["outputs"],
                    "stream_scale": data.get("stream_scale", 1.0),
                    "float32_outputs": _decoded(data.get("float32_outputs")),
                    "measured": None if measured is None else Measurement.from_dict(measured),
                    "in_float": [built(KeptLayer, kept) for kept in data.get("in_float", ())],
                },
            )
        except _BROKEN as error:
            raise ArtifactError(
                "holds metadata of vit-convert that cannot be read",
                where=where,
                expected="what this version of vit-convert writes",
                hint="export the model again",
            ) from error


def foreign(what: str, where: str, option: str) -> ArtifactError:
    """The error for an artifact of a known kind that vit-convert did not write."""
    return ArtifactError(
        f"is {what}, but none that vit-convert wrote: its metadata is missing",
        where=where,
        expected="an artifact that `vit-convert export` wrote",
        hint=f"vit-convert export MODEL.h5 {option}",
    )


def _options(data: dict[str, Any]) -> ExportOptions:
    known = {f.name for f in fields(ExportOptions)}
    return built(ExportOptions, {key: value for key, value in data.items() if key in known})


def _encoded(array: np.ndarray | None) -> dict[str, Any] | None:
    if array is None:
        return None
    data = base64.b64encode(array.astype("<f4").tobytes()).decode()
    return {"shape": list(array.shape), "base64": data}


def _decoded(data: dict[str, Any] | None) -> np.ndarray | None:
    if data is None:
        return None
    return np.frombuffer(base64.b64decode(data["base64"]), "<f4").reshape(data["shape"])


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
