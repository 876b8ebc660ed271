"""A training's state on disk: written whole after each epoch, so that it can go on after a kill."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vit_convert.errors import ArtifactError, UsageError
from vit_convert.runtime.atomic_write import atomic_write
from vit_convert.training.folders import LabelledPictures
from vit_convert.training.recipe import Recipe

FORMAT = 1
FILE = "state.npz"


@dataclass(frozen=True)
class TrainingState:
    """All that a training needs to go on from the end of an epoch.

    Attributes:
        epochs: that are done.
        applied: how often the optimizer was applied in this phase.
        weights: the Keras variable's name -> array.
        slots: "m", "v" or "ema", and the position of a trained variable, as "m/3" -> array; empty
            at the end of a phase.
        history: a row for each epoch.
    """

    epochs: int
    applied: int
    weights: Mapping[str, np.ndarray]
    slots: Mapping[str, np.ndarray]
    history: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Identity:
    """What must be the same for a training to go on.

    Attributes:
        recipe: all choices.
        pictures: a digest of the names and classes of all pictures.
        model: a digest of the model that the training began with.
    """

    recipe: Recipe
    pictures: str
    model: str


def digest_of(*groups: LabelledPictures) -> str:
    """A digest of the names and classes of pictures."""
    digest = hashlib.sha256()
    for pictures in groups:
        digest.update(repr((pictures.classes, len(pictures))).encode())
        for path, label in zip(pictures.paths, pictures.labels, strict=True):
            digest.update(f"{path.parent.name}/{path.name}\0{label}\0".encode(errors="replace"))
    return digest.hexdigest()


def save_state(folder: Path, state: TrainingState, identity: Identity) -> None:
    """Write the state into a folder, in place of an older one.

    Raises:
        OutputError: it cannot be written.
    """
    about = {
        "format": FORMAT,
        "epochs": state.epochs,
        "applied": state.applied,
        "history": list(state.history),
        "recipe": identity.recipe.to_dict(),
        "pictures": identity.pictures,
        "model": identity.model,
    }
    arrays = {f"weight/{name}": value for name, value in state.weights.items()}
    arrays |= {f"slot/{name}": value for name, value in state.slots.items()}
    with atomic_write(folder / FILE, force=True) as path, path.open("wb") as file:
        np.savez(file, about=np.array(json.dumps(about)), **arrays)  # type: ignore[arg-type]


def load_state(folder: Path, identity: Identity) -> TrainingState:
    """The state in a folder.

    Raises:
        ArtifactError: there is none, or it is damaged or of another version.
        UsageError: it is of another training: the recipe, the pictures or the model differ.
    """
    path = folder / FILE
    if not path.is_file():
        raise ArtifactError(
            "there is no training to go on with",
            where=str(path),
            expected=f"the {FILE} that a training leaves after each epoch",
            hint="the same command without --resume",
        )
    try:
        with np.load(path, allow_pickle=False) as found:
            about = json.loads(str(found["about"]))
            arrays = {name: found[name] for name in found.files if name != "about"}
        stored = about["format"]
        epochs, applied = int(about["epochs"]), int(about["applied"])
        history = tuple(dict(row) for row in about["history"])
        recipe = dict(about["recipe"])
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, EOFError) as error:
        raise ArtifactError(
            f"is damaged: {error}",
            where=str(path),
            expected="a whole file that vit-convert wrote",
            hint="--force, which begins anew",
        ) from error
    if stored != FORMAT:
        raise ArtifactError(f"is of format {stored}", where=str(path), expected=f"format {FORMAT}")
    difference = identity.recipe.difference(recipe)
    if not difference and about["pictures"] != identity.pictures:
        difference = "the pictures are not those that it began with"
    if not difference and about["model"] != identity.model:
        difference = "the model is not the one that it began with"
    if difference:
        raise UsageError(
            f"the training there is another one: {difference}",
            where=str(path),
            expected="the same command as before, with --resume",
            hint="--force, which begins anew",
        )
    return TrainingState(epochs, applied, _part(arrays, "weight/"), _part(arrays, "slot/"), history)


def _part(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {
        name.removeprefix(prefix): value
        for name, value in arrays.items()
        if name.startswith(prefix)
    }
