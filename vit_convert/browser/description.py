"""Describes a model to the page, so that the page need not read the file's format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vit_convert.architectures import ModelSpec, architecture
from vit_convert.errors import ArtifactError, UsageError
from vit_convert.exporters import Artifact, open_artifact
from vit_convert.exporters.metadata import Metadata
from vit_convert.exporters.tflite import TFLITE
from vit_convert.exporters.tflite.flatbuffer import read_entry
from vit_convert.exporters.tflite.graph_reader import TfliteGraph
from vit_convert.images.preprocessing import INTERPOLATIONS
from vit_convert.inference.maps import DEPTH_COLOURS, MAPS, depth_unit, palette
from vit_convert.labels.names import given_labels

_TYPES = ("float32", "uint8")  # of the input, that the page fills


def describe(path: Path, labels: Sequence[str] = ()) -> dict[str, Any]:
    """A model in JSON's types.

    Args:
        path: a .tflite file that `vit-convert export` wrote.
        labels: class names; those that the file carries by default.

    Returns:
        name: the file's, without its suffix.
        architecture, precision: for people.
        input: name, height, width; dtype "float32" or "uint8"; range "normalised" or "0..255".
        preprocessing: mean, std, interpolation, crop_pct, crop_mode.
        output: name, kind ("logits", "probabilities", "tokens", "depth" or "segments"), classes.
        labels: a name for each class; none for tokens and depth.
        tokens: where they lie, "grid" and "seen"; None for others.
        map: of depth and segments; see `_map`. None for others.
        attention: the maps that can be shown; see `_attention`.
        operations: how many the graph has, beside those that only prepare constants.

    Raises:
        UsageError: this is no .tflite file, or one that the page cannot show the answers of.
        ArtifactError: it is damaged, or vit-convert did not write it.
    """
    artifact = open_artifact(path) if not path.exists() or TFLITE.matches(path) else None
    if artifact is None:
        raise UsageError(
            "is no .tflite file",
            where=str(path),
            expected="a .tflite file: browsers run no other kind",
            hint="vit-convert export MODEL.h5 --tflite",
        )
    artifact.check_takes_pictures()
    spec, options, config = artifact.spec, artifact.options, artifact.spec.config
    _check(artifact, str(path))
    entry = read_entry(path)
    assert entry is not None  # else it would not have been opened
    outputs = Metadata.from_json(entry, str(path)).outputs
    graph = TfliteGraph(path)
    kind = artifact.output.kind
    has_classes = artifact.output.has_classes or kind == "segments"
    classes = artifact.output.shape[-1] if has_classes else 0
    names = (
        given_labels(labels) or (spec.labels if classes else ()) or tuple(map(str, range(classes)))
    )
    if len(names) != classes:
        raise UsageError(
            f"{len(names)} labels for a model of {classes} classes",
            where="--labels",
            expected="one for each class",
        )
    height, width = config.image_size
    return {
        "name": path.stem,
        "architecture": architecture(spec.architecture).title,
        "precision": options.precision,
        "input": {
            "name": "images",
            "height": height,
            "width": width,
            "dtype": _input_type(graph, str(path)),
            "range": artifact.input_range,
        },
        "preprocessing": asdict(spec.preprocessing),
        "output": {"name": outputs[0], "kind": kind, "classes": classes},
        "labels": list(names),
        "attention": _attention(spec, outputs),
        "tokens": _place(spec) if kind == "tokens" else None,
        "map": _map(artifact) if kind in MAPS else None,
        "operations": sum(not operation.prepares for operation in graph.operations),
    }


def _check(artifact: Artifact, where: str) -> None:
    """Raises UsageError if the page could not show what the model says."""
    spec, options = artifact.spec, artifact.options
    if not artifact.output.has_classes and artifact.output.kind not in ("tokens", *MAPS):
        raise UsageError(
            f"gives {artifact.output.kind}, not classes: the page would have nothing to show",
            where=where,
            expected="a model that gives logits, softmax, tokens, depth or segments",
            hint="vit-convert export MODEL.h5 --tflite --output logits",
        )
    if options.batch_size not in (None, 1):
        raise UsageError(
            f"was exported with a batch of {options.batch_size}; the page runs one picture at a "
            "time, and a GPU needs to know the size",
            where=where,
            expected="a batch of 1, which is the default",
            hint="vit-convert export MODEL.h5 --tflite",
        )
    if spec.config.in_channels != 3:
        raise UsageError(
            f"takes images of {spec.config.in_channels} channels",
            where=where,
            expected="a model of RGB images: the page takes pictures",
        )
    if spec.preprocessing.interpolation not in INTERPOLATIONS:
        raise UsageError(
            f"unknown interpolation {spec.preprocessing.interpolation!r}",
            where=where,
            expected=" or ".join(INTERPOLATIONS),
        )


def _input_type(graph: TfliteGraph, where: str) -> str:
    types = {v: k.lower() for k, v in vars(graph.schema.TensorType).items() if k.isupper()}
    found = types[graph.main.tensors[int(graph.main.inputs[0])].type]
    if found not in _TYPES:
        raise ArtifactError(f"takes images as {found}", where=where, expected=" or ".join(_TYPES))
    return found


def _place(spec: ModelSpec) -> dict[str, Any]:
    """The "grid" of patches, and how much of a picture's height and width they cover ("seen")."""
    config = spec.config
    seen = [s / n for s, n in zip(config.seen_size, config.image_size, strict=True)]
    return {"grid": list(config.grid), "seen": seen}


def _map(artifact: Artifact) -> dict[str, Any]:
    """What values of pixels are drawn with, as `vit_convert.predict_maps` draws them.

    The "grid" of values covers "seen" of the picture's height and width. "colours" are those of
    depth from far to near, or one for each class. "unit" is `PictureMap.unit`.
    """
    spec, output = artifact.spec, artifact.output
    place = {**_place(spec), "grid": list(output.shape[:2])}
    if output.kind == "depth":
        return {**place, "colours": DEPTH_COLOURS, "unit": depth_unit(spec)}
    whole = {"seen": [1, 1]}  # scores are resized to the picture
    return {**place, **whole, "colours": palette(output.shape[-1]).tolist(), "unit": ""}


def _attention(spec: ModelSpec, outputs: Sequence[str]) -> list[dict[str, Any]]:
    """The outputs that say which patches the answer came from, first that of the block which
    `vit_convert.inference.attention.look` takes for the saliency.

    Each output is (1, heads, queries, tokens), and the patches of the "grid" are the last tokens.
    As in `vit_convert.inference.attention`, the "query" that is shown is 0, the class token, or
    None, the mean over the patches, where the model does not pool by a class token. The patches
    cover "seen" of the picture's height and width.
    """
    config, family = spec.config, architecture(spec.architecture)
    names = family.attention_endpoints(outputs)
    kind, shown = family.shown_attention(names)
    if len(family.attention_names) == 1:  # the last block's
        shown = shown[::-1]
    return [
        {
            "output": names[point],
            "title": f"{kind} {point.rpartition('.')[2]}",
            "heads": config.num_heads,
            "query": 0 if config.pool == "token" else None,
            **_place(spec),
        }
        for point in shown
    ]
