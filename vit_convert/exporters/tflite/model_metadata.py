"""TFLite's standard metadata, which phones' libraries read: Task Library, ML Kit, MediaPipe.

It says how pixels become the input and what the classes are called. It is a flatbuffer of its own,
in an entry `TFLITE_METADATA` of the model's metadata table; the names of the classes are a text
file in a zip archive behind the model. The schema is metadata_schema.fbs of tflite-support. That
package is not maintained any more, and not for Python 3.12, wherefore the few tables that are
needed are written here.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vit_convert.architectures import ModelSpec, architecture
from vit_convert.exporters.metadata import Metadata
from vit_convert.exporters.options import QUANTISED, ExportOptions
from vit_convert.exporters.tflite.flatbuffer import ENTRY as OWN_ENTRY
from vit_convert.exporters.tflite.flatbuffer import (
    TfliteModel,
    add_entry,
    replace_entry,
    text_of,
    write,
)
from vit_convert.progress import Progress, silent

ENTRY = "TFLITE_METADATA"
LABELS = "labels.txt"
_IDENTIFIER = b"M001"
_ROOM = 512  # bytes that are left for what is measured when the file is written
_PARSER_VERSION = "1.0.0"  # the oldest that knows all fields used here
_RGB, _GRAYSCALE = 1, 2  # of ColorSpaceType
_FEATURES, _IMAGE = 1, 2  # of ContentProperties
_NORMALIZATION = 1  # of ProcessUnitOptions
_AXIS_LABELS = 2  # of AssociatedFileType


@dataclass(frozen=True)
class _Table:
    """A table of the schema: slot of a field -> its value. A union takes two slots, of which the
    first is its type."""

    fields: dict[int, _Table | _Byte | int | str | Sequence[Any] | None]


@dataclass(frozen=True)
class _Byte:
    """An enumeration's value."""

    value: int


def write_described(
    path: Path,
    model: TfliteModel,
    metadata: Metadata,
    *,
    beyond_limit: bool = False,
    progress: Progress = silent,
) -> None:
    """Write a model with metadata, the standard's and our own.

    Args:
        path, model, beyond_limit, progress: see `vit_convert.exporters.tflite.flatbuffer.write`.
        metadata: what the file says about itself, in place of what it said before.

    Raises:
        OSError: it cannot be written.
    """
    tree = model.tree
    (signature,), (main,) = tree.signatureDefs, tree.subgraphs
    names = {entry.tensorIndex: text_of(entry.name) for entry in signature.outputs}
    standard = _standard(metadata, [names[int(index)] for index in main.outputs])
    add_entry(tree, ENTRY, standard)
    content = metadata.to_json().encode()
    if metadata.options.precision in QUANTISED:
        content = content.ljust(len(content) + _ROOM)
    add_entry(tree, OWN_ENTRY, content)
    write(path, model, beyond_limit, progress)
    _attach_labels(path, metadata)


def add_measured(path: Path, metadata: Metadata) -> None:
    """Let a quantised file that was written say how well it agrees with its float32.

    Args:
        path: the file.
        metadata: as it was written with, and with what was measured.
    """
    replace_entry(path, metadata.to_json().encode())


def _standard(metadata: Metadata, outputs: Sequence[str]) -> bytes:
    """The content of the standard's entry.

    Args:
        metadata: what the file says about itself.
        outputs: names of all outputs, in the order in which the graph has them.
    """
    import flatbuffers

    spec = metadata.spec
    file = f" from {spec.source.file}" if spec.source.file else ""
    model = _Table(
        {
            0: spec.source.variant or architecture(spec.architecture).title,
            1: f"{architecture(spec.architecture).title}, converted{file} by vit-convert.",
            3: [
                _Table(
                    {
                        2: [_input(metadata)],
                        3: [_output(metadata, name) for name in outputs],
                    }
                )
            ],
            7: _PARSER_VERSION,
        }
    )
    builder = flatbuffers.Builder(1024)
    builder.Finish(_written(builder, model), file_identifier=_IDENTIFIER)
    return bytes(builder.Output())


def _attach_labels(path: Path, metadata: Metadata) -> None:
    """Append the names of the classes to a .tflite file, uncompressed as its readers want it."""
    if _has_labels(metadata):
        names = [" ".join(label.splitlines()) for label in metadata.spec.labels]
        with zipfile.ZipFile(path, "a", zipfile.ZIP_STORED) as archive:
            # an entry without a date of its own, so that the same model gives the same file
            archive.writestr(zipfile.ZipInfo(LABELS), "\n".join(names) + "\n")


def _has_labels(metadata: Metadata) -> bool:
    return bool(metadata.spec.labels) and metadata.output.has_classes


def _input(metadata: Metadata) -> _Table:
    entry = metadata.spec.input()
    if entry.kind == "images":
        return _images(metadata)
    text = f"The {entry.shape[0]} tokens of a text, as its checkpoint's tokenizer gives them."
    return _Table({0: entry.name, 1: text, 3: _Table({0: _Byte(_FEATURES), 1: _Table({})})})


def _images(metadata: Metadata) -> _Table:
    """Task libraries normalise pixels in 0..255 themselves, by (pixel - mean) / std; those that are
    floats they refuse where they are not told how."""
    spec = metadata.spec
    height, width = spec.config.image_size
    channels = spec.config.in_channels
    outside = metadata.input_range == "normalised"
    mean, std = _normalisation(spec) if outside else ((), ())
    if not outside and metadata.options.input_type == "float32":
        mean, std = (0.0,), (1.0,)
    what = "normalised by mean and standard deviation" if outside else "0 to 255"
    largest = [(255 - m) / s for m, s in zip(mean, std, strict=True)] or [255.0]
    least = [-m / s for m, s in zip(mean, std, strict=True)] or [0.0]
    colour = {1: _GRAYSCALE, 3: _RGB}.get(channels, 0)
    known = bool(mean) or not outside
    return _Table(
        {
            0: "images",
            1: f"Pictures of {width} x {height} pixels in {channels} channels"
            + (f", {what}." if known else "."),
            3: _Table(
                {
                    0: _Byte(_IMAGE),
                    1: _Table({0: _Byte(colour), 1: _Table({0: width, 1: height})}),
                }
            ),
            4: [_Table({0: _Byte(_NORMALIZATION), 1: _Table({0: mean, 1: std})})] if mean else None,
            5: _Table({0: largest, 1: least}) if known else None,
        }
    )


def _normalisation(spec: ModelSpec) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of the channels for pixels in 0..255; empty where they are not known."""
    preprocessing = spec.preprocessing
    if spec.config.in_channels != len(preprocessing.mean):
        return (), ()
    return tuple(255 * m for m in preprocessing.mean), tuple(255 * s for s in preprocessing.std)


def caveats(spec: ModelSpec, options: ExportOptions) -> tuple[str, ...]:
    """As `Target.caveats`: MediaPipe knows one mean and one deviation for all channels (its task
    ImagePreprocessingGraph, `tasks/cc/components/processors/image_preprocessing_graph.cc`); and
    not every GPU delegate takes whole numbers."""
    if spec.input().kind == "tokens":
        return (
            "LiteRT's GPU accelerator takes all of it; older GPU delegates may leave the lookup "
            "of tokens, and the search for a text's end, to the CPU",
        )
    differ = any(len({*values}) > 1 for values in _normalisation(spec))
    if options.embed_preprocessing or not differ:
        return ()
    return (
        "mean or std differ between the channels, which MediaPipe's vision tasks refuse when they "
        'run ("Per-channel image normalization is not available"); for them, '
        "--embed-preprocessing normalises in the graph",
    )


def _output(metadata: Metadata, name: str) -> _Table:
    if name != metadata.outputs[0]:
        return _Table({0: name, 1: "Attention weights (batch, heads, queries, keys) of a block."})
    output = metadata.output
    labels = _Table({0: LABELS, 1: "The names of the classes.", 2: _Byte(_AXIS_LABELS)})
    return _Table(
        {
            0: name,
            1: output.meaning,
            3: _Table({0: _Byte(_FEATURES), 1: _Table({})}),
            5: _Table({0: [1.0], 1: [0.0]}) if output.kind == "probabilities" else None,
            6: [labels] if _has_labels(metadata) else None,
        }
    )


def _written(builder: Any, table: _Table) -> int:
    """Write a table and all below it; gives its offset. What a table refers to comes first."""
    slots = {slot: value for slot, value in table.fields.items() if value is not None}
    offsets = {
        slot: _reference(builder, value)
        for slot, value in slots.items()
        if not isinstance(value, (int, _Byte))
    }
    builder.StartObject(max(slots, default=-1) + 1)
    for slot, value in slots.items():
        if isinstance(value, _Byte):
            builder.PrependInt8Slot(slot, value.value, 0)
        elif isinstance(value, int):
            builder.PrependUint32Slot(slot, value, 0)
        else:
            builder.PrependUOffsetTRelativeSlot(slot, offsets[slot], 0)
    return int(builder.EndObject())


def _reference(builder: Any, value: Any) -> int:
    """Write a string, a table, or a vector of tables or floats; gives its offset."""
    if isinstance(value, str):
        return int(builder.CreateString(value))
    if isinstance(value, _Table):
        return _written(builder, value)
    tables = [_written(builder, item) for item in value if isinstance(item, _Table)]
    builder.StartVector(4, len(value), 4)
    for item in reversed(tables or value):
        if tables:
            builder.PrependUOffsetTRelative(item)
        else:
            builder.PrependFloat32(item)
    return int(builder.EndVector())
