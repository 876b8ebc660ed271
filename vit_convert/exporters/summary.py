"""The metadata of an artifact as plain values, for `inspect` and for reports."""

from __future__ import annotations

import math
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vit_convert.architectures import ModelSpec, Preprocessing, architecture
from vit_convert.results import plain

if TYPE_CHECKING:
    from vit_convert.exporters import Metadata

_FOR_TRAINING = {"drop_rate", "attn_drop_rate", "drop_path_rate"}
_RANGES = {
    "normalised": "normalised with mean and std",
    "0..1": "0..1",
    "0..255": "0..255",
}


def summary(path: Path, metadata: Metadata) -> dict[str, Any]:
    """Values that JSON knows.

    Args:
        path: the artifact.
        metadata: what it says.
    """
    from vit_convert.exporters import artifact_size

    spec = metadata.spec
    return {
        "file": str(path),
        "kind": metadata.target,
        "bytes": artifact_size(path),
        "architecture": spec.architecture,
        "title": architecture(spec.architecture).title,
        "variant": spec.source.variant,
        "parameters": sum(math.prod(p.shape) for p in spec.parameters()),
        "source": {
            "file": spec.source.file,
            "dialect": spec.source.dialect,
            "changed": list(spec.source.changed),
        },
        "input": input_of(metadata),
        "output": plain(metadata.output),
        "outputs": list(metadata.outputs),
        "precision": metadata.options.precision,
        "measured": metadata.measured and metadata.measured.to_dict(),
        "in_float": [kept.to_dict() for kept in metadata.in_float],
        "labels": list(spec.labels),
        "values": values(spec),
    }


def values(spec: ModelSpec) -> dict[str, dict[str, Any]]:
    """Field of the configuration or of Preprocessing -> {"value": its value, "known": how it is
    known, "" where the artifact does not say}."""
    owners = (spec.config, *((spec.preprocessing,) if spec.input().kind == "images" else ()))
    found = {
        item.name: getattr(owner, item.name)
        for owner in owners
        for item in fields(owner)
        if item.name not in _FOR_TRAINING
    }
    known = spec.source.provenance
    return {name: {"value": value, "known": known.get(name, "")} for name, value in found.items()}


def input_of(metadata: Metadata) -> str:
    """The input for people: "1 x 224 x 224 x 3 RGB, normalised with mean and std", or "1 x 77
    tokens of a text, int32"."""
    config, size = metadata.spec.config, metadata.options.batch_size
    batch = size or (1 if metadata.target == "tflite" else "any number")
    batch = "any number" if batch == "dynamic" else batch
    entry = metadata.spec.input()
    if entry.kind == "tokens":
        return f"{batch} x {entry.shape[0]} tokens of a text, {entry.dtype}"
    colours = "RGB" if config.in_channels == len(Preprocessing().mean) else "channels"
    height, width = config.image_size
    shape = f"{batch} x {height} x {width} x {config.in_channels} {colours}"
    return f"{shape}, {_RANGES[metadata.input_range]}"
