"""The forms of a .tflite file that MediaPipe is tried with, and what it makes of them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from families import channels_first, small_vit
from runtimes.trying import Task, on_mediapipe

from vit_convert.architectures import Preprocessing
from vit_convert.conversion.h5_file import write_h5
from vit_convert.exporters import Exported, ExportOptions, export_all
from vit_convert.images.preprocessing import normalise

IMAGENET = Preprocessing((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bicubic", 0.9)
GREY = Preprocessing((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bicubic", 0.9)
PICTURES = 3
LIMIT = 1e-4  # of probabilities, and of vectors of length 1; MediaPipe normalises in float32 too


@dataclass(frozen=True)
class Form:
    """A way to export.

    Attributes:
        name: for people.
        preprocessing: of the model.
        options: of the export.
        task: of MediaPipe, ImageClassifier or ImageEmbedder.
    """

    name: str
    preprocessing: Preprocessing
    options: dict[str, Any] = field(default_factory=dict)
    task: Task = "classifier"


FORMS = (
    Form("mean and std of each channel", IMAGENET),
    Form("the same with --embed-preprocessing", IMAGENET, {"embed_preprocessing": True}),
    Form(
        "the same with --embed-preprocessing --input-type float32",
        IMAGENET,
        {"embed_preprocessing": True, "input_type": "float32"},
    ),
    Form("one mean and std for all channels", GREY),
    Form("embeddings", GREY, {"output": "embedding"}, "embedder"),
    Form(
        "embeddings with --embed-preprocessing",
        IMAGENET,
        {"output": "embedding", "embed_preprocessing": True},
        "embedder",
    ),
)


@dataclass(frozen=True)
class Tried:
    """An exported file.

    Attributes:
        exported: it, and what `export` says of it.
        pictures: (n, height, width, 3) uint8.
        expected: (n, classes) float32, their probabilities by timm; or embeddings (n, dim).
        labels: names of the classes.
        task: of MediaPipe.
    """

    exported: Exported
    pictures: np.ndarray
    expected: np.ndarray
    labels: tuple[str, ...]
    task: Task


@dataclass(frozen=True)
class Verdict:
    """The answer of MediaPipe to a file.

    Attributes:
        good: whether it is what `export` says.
        text: for people.
    """

    good: bool
    text: str

    def __str__(self) -> str:
        return f"{'' if self.good else 'NOT AS SAID: '}{self.text}"


def written(form: Form, folder: Path) -> Tried:
    """Export a small model in that form."""
    family = small_vit(depth=2)
    classes, size = family.spec.config.num_classes, family.spec.config.image_size
    labels = tuple(f"class {i}" for i in range(classes))
    spec = replace(family.spec, preprocessing=form.preprocessing, labels=labels)
    home = folder / form.name.replace(" ", "_")
    home.mkdir()
    write_h5(home / "model.h5", spec, family.tensors())
    options = ExportOptions(**{"output": "softmax", **form.options})
    (exported,) = export_all(home / "model.h5", [("tflite", options)], home)
    pictures = np.random.default_rng(0).integers(0, 256, (PICTURES, *size, 3), np.uint8)
    images = normalise(pictures, form.preprocessing)
    if form.task == "embedder":
        with torch.inference_mode():
            tokens = family.model.forward_features(channels_first(images))
            features = family.model.forward_head(tokens, pre_logits=True).numpy()
        lengths = np.linalg.norm(features, axis=1, keepdims=True)
        return Tried(exported, pictures, features / lengths, (), form.task)
    logits = family.logits(images)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return Tried(exported, pictures, powers / powers.sum(axis=1, keepdims=True), labels, form.task)


def judged(python: Path, tried: Tried) -> Verdict:
    """Have MediaPipe run a file, and compare with what `export` says of it.

    Args:
        python: of MediaPipe's environment.
        tried: the file.
    """
    code, log = on_mediapipe(python, tried.exported.path, tried.pictures, "cpu", tried.task)
    lines = [line for line in log.splitlines() if line.strip()] or ["nothing said"]
    refusals = [words for said in tried.exported.caveats for words in re.findall('"(.+?)"', said)]
    if code != 0:
        known = next((words for words in refusals if words in log), "")
        return Verdict(bool(known), f"refused: {known or lines[-1]}")
    if refusals:
        return Verdict(False, f"runs, and export says that it is refused: {refusals[0]}")
    scores = json.loads(lines[-1])
    if tried.task == "embedder":
        found = np.array([each["embedding"] for each in scores])
    else:
        found = np.array([[each[label] for label in tried.labels] for each in scores])
    given = "vectors" if tried.task == "embedder" else "scores"
    difference = float(np.abs(found - tried.expected).max())
    same = (found.argmax(axis=1) == tried.expected.argmax(axis=1)).all()
    return Verdict(
        bool(same) and difference <= LIMIT,
        f"gives the {given} of timm: max |difference| {difference:.1e} on {len(scores)} pictures",
    )
