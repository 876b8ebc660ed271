"""Records what the user's own model gives: for parity where neither PyTorch nor its code is."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vit_convert.architectures import ModelSpec, Overrides, Preprocessing, ViTConfig
from vit_convert.checkpoint import Checkpoint, open_checkpoint
from vit_convert.errors import MappingError, RecognitionError, UsageError, option_of
from vit_convert.exporters.tflite.calibration import probe_images
from vit_convert.images.pictures import GivenPictures, Pictures, given_pictures
from vit_convert.parity.recorded import record_reference
from vit_convert.parity.references import PreparedPictures
from vit_convert.parity.sources.own_model import OwnModel, make_model
from vit_convert.parity.sources.own_weights import load_own
from vit_convert.progress import Progress, silent
from vit_convert.results import Result
from vit_convert.runtime.atomic_write import atomic_write, check_output

_BATCH = 16


@dataclass(frozen=True)
class Recorded(Result):
    """A recording that was written.

    Attributes:
        path: where.
        images, pictures: how many there are in all, and how many of them are the user's.
        image_size: (height, width) of them.
        classes: width of the logits.
        blocks: names of the blocks whose tokens were recorded, for the first image.
        preprocessing: how the pictures were prepared.
        taken_from: where image size, mean and deviation are from, for people.
        made_with: the model, and versions.
    """

    path: Path
    images: int
    pictures: int
    image_size: tuple[int, int]
    classes: int
    blocks: tuple[str, ...]
    preprocessing: Preprocessing
    taken_from: str
    made_with: str

    def to_dict(self) -> dict[str, Any]:
        """In values that JSON knows; of the preprocessing, mean and standard deviation."""
        found = super().to_dict()
        preparing = found.pop("preprocessing")
        return {
            "file": found.pop("path"),
            **found,
            "mean": preparing["mean"],
            "std": preparing["std"],
        }


def record(
    model: str,
    output: str | Path,
    *,
    source: str | Path | None = None,
    images: Pictures | None = None,
    key: str | None = None,
    overrides: Overrides | None = None,
    force: bool = False,
    progress: Progress = silent,
) -> Recorded:
    """Write what the user's own model gives for images of noise, and for pictures.

    Args:
        model: "module:function"; see `vit_convert.parity.sources.own_model`. The code is run.
        output: the .npz to write, which appears whole or not at all.
        source: the checkpoint, which is loaded strictly; without, the model is used as it is.
        images: pictures, as `vit_convert.predict` takes them, beside noise.
        key: which state dict of the checkpoint.
        overrides: image size, mean, deviation and how pictures are resized; what they lack is what
            the checkpoint is recognised with.
        force: replace an existing output.
        progress: told what is being done.

    Returns:
        what was written.

    Raises:
        UsageError: there is no such function, it fails, its model does not take such images, or
            nothing says how large they are.
        MappingError: the checkpoint's tensors are not the model's.
        CheckpointError: it cannot be read.
        OutputError: the output exists, or cannot be written.
    """
    path = Path(output)
    check_output(path, force)
    overrides = overrides or Overrides()
    found = None if images is None else given_pictures(images, "images")
    progress("making the model")
    module = make_model(model)
    recognised, why_not = None, "there is no --source"
    if source is not None:
        checkpoint = open_checkpoint(source, key)
        load_own(module, checkpoint, model)
        recognised, why_not = _recognised(checkpoint, overrides)
    if recognised is not None:
        spec, taken_from = _as_recognised(recognised, overrides, images is not None)
    else:
        spec, taken_from = _as_given(overrides, images is not None, why_not), "your options"
    own = OwnModel(model, module, recognised)
    noise = probe_images(spec, as_pixels=False)
    names = [f"noise {i}" for i in range(len(noise))]
    batches: list[np.ndarray] = [noise]
    if images is not None and found is not None:
        pictures = PreparedPictures(found, spec)
        names += _names(found, images)
        for start in range(0, len(pictures), _BATCH):
            progress("reading pictures", start, len(pictures))
            batches.append(pictures[start : start + _BATCH])
    logits = []
    for done, batch in enumerate(batches):
        progress("running the model", done, len(batches))
        logits.append(own.run(batch))
    blocks = own.blocks(noise[:1])
    made_with = own.description + (f", with {Path(source).name}" if source is not None else "")
    everything, outputs = np.concatenate(batches), np.concatenate(logits)
    with atomic_write(path, force) as scratch:
        record_reference(scratch, everything, outputs, blocks, names, made_with)
    return Recorded(
        path=path,
        images=len(everything),
        pictures=len(everything) - len(noise),
        image_size=(int(noise.shape[1]), int(noise.shape[2])),
        classes=int(outputs.shape[1]),
        blocks=tuple(blocks),
        preprocessing=spec.preprocessing,
        taken_from=taken_from,
        made_with=made_with,
    )


def _names(pictures: GivenPictures, given: Pictures) -> list[str]:
    """Of pictures; those of a folder without it."""
    if isinstance(given, (str, os.PathLike)) and os.path.isdir(given):
        return [str(Path(name).relative_to(given)) for name in pictures.names]
    return list(pictures.names)


def _recognised(checkpoint: Checkpoint, overrides: Overrides) -> tuple[ModelSpec | None, str]:
    """What model a checkpoint is; or why that is not known here, which is no error: the user's code
    knows."""
    from vit_convert.conversion.convert import recognise

    try:
        return recognise(checkpoint, overrides).spec, ""
    except (RecognitionError, MappingError) as error:
        return None, f"the checkpoint is no model that is known here ({error.what.splitlines()[0]})"


def _as_recognised(
    recognised: ModelSpec, overrides: Overrides, has_pictures: bool
) -> tuple[ModelSpec, str]:
    """The images that a model takes, and how that is known."""
    size = overrides.image_size or recognised.config.image_size
    known = recognised.source.provenance
    names = ("image_size", *(("mean", "std") if has_pictures else ()))
    how = ", ".join(f"{name} {known.get(name, 'not recorded')}" for name in names)
    return recognised.with_config(image_size=size), f"{recognised.source.file} ({how})"


def _as_given(overrides: Overrides, has_pictures: bool, why_not: str) -> ModelSpec:
    """The images that a model takes, by the user's options alone."""
    given = overrides.given()
    names: Sequence[str] = ("image_size", "mean", "std") if has_pictures else ("image_size",)
    missing = ", ".join(option_of(name) for name in names if name not in given)
    if missing:
        raise UsageError(
            f"nothing says what images the model takes: {why_not}",
            where="--model",
            expected=f"{missing}, as the training code has them",
        )
    fields = {f.name for f in dataclasses.fields(Preprocessing)}
    preparing = Preprocessing(**{k: v for k, v in given.items() if k in fields})
    size = given["image_size"]
    # of the configuration nothing but the size of images is used
    return ModelSpec("vit", ViTConfig(image_size=size, patch_size=size), preparing)
