"""What is to be seen of a training: pictures, and one page with all of it."""

from __future__ import annotations

import base64
import json
import platform
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from vit_convert.exporters.artifact import Artifact
from vit_convert.inference.attention import look
from vit_convert.inference.running import softmax
from vit_convert.progress import Progress, silent
from vit_convert.reporting.confusion_figure import confusion_png
from vit_convert.reporting.drawing import templates
from vit_convert.reporting.training_figures import curves_png, mistakes_png
from vit_convert.runtime.atomic_write import atomic_write
from vit_convert.training.history import EpochRow
from vit_convert.training.pipeline import ValidationBatches
from vit_convert.training.recipe import Recipe

_MOST_MISTAKES = 24


@dataclass(frozen=True)
class Mistake:
    """A picture that was taken for another class.

    Attributes:
        name: of the file.
        pixels: as the model sees it, (height, width, 3) uint8.
        truth, guess: names of classes.
        probability: of the guess.
        saliency: (rows, columns) attention over it; None where the model has none.
    """

    name: str
    pixels: np.ndarray
    truth: str
    guess: str
    probability: float
    saliency: np.ndarray | None


@dataclass(frozen=True)
class Examined:
    """How a trained model does on the pictures to validate on.

    Attributes:
        path: the model.
        images: how many pictures were seen.
        top1: accuracy in percent.
        confusion: (classes, classes): how many pictures of the class of a row were taken for the
            class of a column.
        labels: names of the classes.
        mistakes: the most certain ones.
    """

    path: Path
    images: int
    top1: float
    confusion: np.ndarray
    labels: tuple[str, ...]
    mistakes: tuple[Mistake, ...]


def examined(
    artifact: Artifact, validation: ValidationBatches, progress: Progress = silent
) -> Examined:
    """Run a trained model, as it was written, on the pictures to validate on.

    Args:
        artifact: the model, opened.
        validation: the pictures.
        progress: told how many are done.
    """
    pictures = validation.pictures
    classes = len(pictures.classes)
    confusion = np.zeros((classes, classes), np.int64)
    wrong: list[tuple[float, int, int]] = []  # probability, picture, guess
    for images, labels, indices in validation.batches():
        progress("pictures to validate on", int(indices[0]), len(pictures))
        probabilities = softmax(artifact.first_output(images))
        guesses = probabilities.argmax(axis=1)
        np.add.at(confusion, (labels, guesses), 1)
        for row in np.flatnonzero(guesses != labels):
            guess = int(guesses[row])
            wrong.append((float(probabilities[row, guess]), int(indices[row]), guess))
    wrong.sort(key=lambda found: (-found[0], found[1]))
    images_seen = int(confusion.sum())
    mistakes = tuple(_mistake(artifact, validation, *found) for found in wrong[:_MOST_MISTAKES])
    return Examined(
        artifact.path,
        images_seen,
        100.0 * float(np.trace(confusion)) / max(1, images_seen),
        confusion,
        pictures.classes,
        mistakes,
    )


def _mistake(
    artifact: Artifact, validation: ValidationBatches, probability: float, index: int, guess: int
) -> Mistake:
    pictures = validation.pictures
    pixels = validation.store.pixels(index)
    assert pixels is not None  # it was read a moment ago
    saliency = None
    if artifact.attention is not None:
        maps = artifact.attention(validation.normalised(pixels[None]))
        saliency = look(artifact.spec, maps).saliency
    height, width = artifact.spec.config.seen_size
    return Mistake(
        pictures.paths[index].name,
        pixels[:height, :width],
        pictures.classes[int(pictures.labels[index])],
        pictures.classes[guess],
        probability,
        saliency,
    )


def write_report(
    folder: Path,
    history: list[EpochRow],
    recipe: Recipe,
    found: Examined | None,
    output: Path,
    command: str,
    progress: Progress = silent,
) -> list[Path]:
    """Write curves.png, confusion.png, mistakes.png, recipe.json and report.html.

    Args:
        folder: for them; what is there is replaced.
        history: of the training.
        recipe: of the training.
        found: how the model does on pictures to validate on, if there are any.
        output: the model.
        command: that trained it.
        progress: told what is being drawn.

    Returns:
        what was written.
    """
    progress("drawing")
    contents = {"curves.png": curves_png(history)}
    if found is not None:
        contents["confusion.png"] = confusion_png([found])
        if found.mistakes:
            contents["mistakes.png"] = mistakes_png(found.mistakes)
    contents["recipe.json"] = (json.dumps(recipe.to_dict(), indent=2) + "\n").encode()
    contents["report.html"] = _page(contents, history, recipe, found, output, command).encode()
    for name, content in contents.items():
        with atomic_write(folder / name, force=True) as path:
            path.write_bytes(content)
    return [folder / name for name in contents]


def _page(
    contents: dict[str, bytes],
    history: list[EpochRow],
    recipe: Recipe,
    found: Examined | None,
    output: Path,
    command: str,
) -> str:
    from vit_convert.runtime.versions import versions

    captions = {
        "curves.png": "Loss, accuracy and learning rate of each epoch",
        "confusion.png": "Pictures of the class of a row that were taken for that of a column",
        "mistakes.png": "The most certain mistakes, and where the model looked",
    }
    pictures: list[dict[str, Any]] = [
        {"caption": caption, "data": base64.b64encode(contents[name]).decode()}
        for name, caption in captions.items()
        if name in contents
    ]
    template = templates().get_template("training.html")
    return template.render(
        output=output.name,
        command=command,
        found=found,
        pictures=pictures,
        history=history,
        recipe=recipe.to_dict(),
        versions={name: version for name, version in versions().items() if version},
        machine=f"{platform.system()} {platform.machine()}",
        date=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
    )
