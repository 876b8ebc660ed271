"""The files that runtimes are tried with: small models with random parameters, one or more of every
kind of graph that `export --tflite` writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from families import FAMILIES, OPTIONS

from vit_convert.architectures import Preprocessing
from vit_convert.conversion.h5_file import write_h5
from vit_convert.exporters import ExportOptions, export

# (model, precision, with attention maps)
KINDS: tuple[tuple[str, str, bool], ...] = (
    ("vit", "float32", False),
    ("vit", "float32", True),
    ("vit", "float16", False),
    ("vit", "int8-dynamic", False),
    ("deit", "float32", False),
    ("cait", "float32", False),
    ("cait", "float16", False),
    ("dinov2", "float32", False),
    ("siglip", "float32", False),
    ("eva02", "float32", False),
    ("dinov3", "int8-dynamic", False),
    ("beit", "float32", False),
)
_MODELS = {**FAMILIES, **OPTIONS}
# MediaPipe takes one mean and one deviation for all channels only
_GREY = Preprocessing((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bicubic", 0.9)


@dataclass(frozen=True)
class Tried:
    """A file, and what its source gives.

    Attributes:
        name: for people.
        precision: of its weights.
        path: the .tflite file.
        images: (1, height, width, 3) float32, normalised.
        expected: the source's logits, (1, classes), computed by timm.
    """

    name: str
    precision: str
    path: Path
    images: np.ndarray
    expected: np.ndarray


def written(folder: Path, names: Sequence[str] = ()) -> list[Tried]:
    """Export all, or those whose names contain one of `names`."""
    found = []
    for model, precision, attention in KINDS:
        name = f"{model} {precision}{' with maps' if attention else ''}"
        if names and not any(part in name for part in names):
            continue
        family = _MODELS[model]()
        classes = family.spec.config.num_classes
        labels = tuple(f"class {i}" for i in range(classes))
        spec = replace(family.spec, preprocessing=_GREY, labels=labels)
        home = folder / name.replace(" ", "_")
        home.mkdir(parents=True)
        write_h5(home / "model.h5", spec, family.tensors())
        options = ExportOptions(precision=precision, attention=attention)
        path = export(home / "model.h5", ["tflite"], home, options)[0]
        images = family.images(1)
        found.append(Tried(name, precision, path, images, family.logits(images)))
    return found
