"""What every artifact says about itself, as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from vit_convert.architectures import ModelSpec, architecture
from vit_convert.errors import ArtifactError
from vit_convert.exporters.registry import ExportOptions, InputRange, Outputs

_PACKAGES = ("vit-convert", "tensorflow")


@dataclass(frozen=True)
class Metadata:
    """Attributes:
    target: the name of the export target.
    spec: what the model is.
    options: what it was exported with.
    input_range: how pixels enter.
    outputs: names of the outputs; logits, softmax or features first.
    """

    target: str
    spec: ModelSpec
    options: ExportOptions
    input_range: InputRange
    outputs: tuple[str, ...]

    def attention(
        self, run: Callable[[np.ndarray], Outputs]
    ) -> Callable[[np.ndarray], Outputs] | None:
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
                "target": self.target,
                "spec": self.spec.to_dict(),
                "options": asdict(self.options),
                "input_range": self.input_range,
                "outputs": list(self.outputs),
                "versions": {name: _version(name) for name in _PACKAGES},
            }
        )

    @staticmethod
    def from_json(text: str | bytes, where: str) -> Metadata:
        """The inverse of `to_json`; `where` is the artifact's path, for the error.

        Raises:
            ArtifactError: this is no such JSON.
        """
        try:
            data = json.loads(text)
            return Metadata(
                target=data["target"],
                spec=ModelSpec.from_dict(data["spec"]),
                options=_options(data["options"]),
                input_range=data["input_range"],
                outputs=tuple(data["outputs"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
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
    return ExportOptions(**{key: value for key, value in data.items() if key in known})


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # run from the source tree
        return ""
