"""The evidence that an artifact is compared with: the source run now, or its recorded outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from vit_convert.architectures import ModelSpec, OutputSpec, architecture
from vit_convert.errors import UsageError
from vit_convert.images.pictures import GivenPictures
from vit_convert.images.preprocessing import preprocess
from vit_convert.parity.recorded import Recording
from vit_convert.parity.sources import SourceModel

_BATCH = 16


@dataclass(frozen=True)
class Sample:
    """Some images and what the source model makes of them.

    Attributes:
        images: (n, height, width, channels) float32, normalised.
        outputs: (n, classes) logits, or (n, dim) features.
        blocks: as `TorchReference.blocks`, or empty where that is not known.
        no_blocks: why it is not.
    """

    images: np.ndarray
    outputs: np.ndarray
    blocks: dict[str, np.ndarray]
    no_blocks: str = "not known: no blocks were recorded; --source CHECKPOINT tells"


class Reference(Protocol):
    """The evidence that an artifact is compared with."""

    @property
    def description(self) -> str:
        """For people, library versions included."""

    @property
    def num_images(self) -> int:
        """The number of images in all."""

    def batches(self) -> Iterator[Sample]:
        """All images, a batch at a time, without blocks."""

    def with_blocks(self, worst: np.ndarray) -> Sample:
        """Images with blocks: the one given (1, height, width, channels), or those recorded."""

    def outputs(self, images: np.ndarray) -> np.ndarray | None:
        """The source's outputs for other images; None where it cannot be run."""


def comparable(
    reference: Mapping[str, np.ndarray],
    got: Mapping[str, np.ndarray],
    spec: ModelSpec,
    output: OutputSpec | None = None,
) -> dict[str, np.ndarray]:
    """The reference's blocks as an artifact should have them, in the order of computation.

    An artifact may lack those tokens of the last block that the rest of the model does not read
    (see `Architecture.num_read_tokens`); of the reference's last block they are then left out.

    Args:
        reference, got: block name -> (n, tokens, dim).
        spec: of the artifact.
        output: of the artifact, where it may be another than the usual one; what comes after it is
            left out.
    """
    names = spec.block_names()
    after = {*names} - {*spec.blocks_before(output or spec.output())}
    places = {name: place for place, name in enumerate(names)}
    before = [name for name in reference if name not in after]
    ordered = sorted(before, key=lambda name: places.get(name, len(names)))
    blocks = {name: reference[name] for name in ordered}
    count, last = architecture(spec.architecture).num_read_tokens(spec.config), names[-1]
    if last in blocks and last in got and got[last].shape[1:2] == (count,):
        blocks[last] = blocks[last][:, :count]
    return blocks


class LiveReference:
    """The source checkpoint, run now on `images` (anything of images that can be sliced)."""

    def __init__(
        self, model: SourceModel, images: np.ndarray | PreparedPictures, name: str = "checkpoint"
    ) -> None:
        self.model = model
        self.images = images
        self.name = name
        self.num_images = len(images)

    @property
    def description(self) -> str:
        """See Reference."""
        return f"{self.name} in {self.model.description}"

    def batches(self) -> Iterator[Sample]:
        """See Reference."""
        for start in range(0, len(self.images), _BATCH):
            images = self.images[start : start + _BATCH]
            yield Sample(images, self.model.run(images), {})

    def with_blocks(self, worst: np.ndarray) -> Sample:
        """See Reference."""
        why = "not known: no blocks were found in the model that runs the source"
        return Sample(worst, self.model.run(worst), self.model.blocks(worst), why)

    def outputs(self, images: np.ndarray) -> np.ndarray | None:
        """See Reference."""
        return self.model.run(images)


class RecordedReference:
    """Outputs of the source that were recorded."""

    def __init__(self, recording: Recording, name: str = "file") -> None:
        self.recording = recording
        made_with = f" by {recording.made_with}" if recording.made_with else ""
        self.description = f"logits recorded in {name}{made_with}"
        self.num_images = len(recording.images)

    def batches(self) -> Iterator[Sample]:
        """See Reference."""
        images, logits = self.recording.images, self.recording.logits
        for start in range(0, len(images), _BATCH):
            yield Sample(images[start : start + _BATCH], logits[start : start + _BATCH], {})

    def with_blocks(self, worst: np.ndarray) -> Sample:
        """See Reference."""
        recording = self.recording
        count = len(next(iter(recording.blocks.values()), ()))
        return Sample(recording.images[:count], recording.logits[:count], recording.blocks)

    def outputs(self, images: np.ndarray) -> np.ndarray | None:
        """See Reference. Images that were recorded need not be run."""
        recorded = self.recording.images
        if images.shape[1:] != recorded.shape[1:]:
            return None
        axes = tuple(range(1, recorded.ndim))
        found = [np.flatnonzero((recorded == image).all(axis=axes)) for image in images]
        if not all(len(places) for places in found):
            return None
        return self.recording.logits[[places[0] for places in found]]


class PreparedPictures(Sequence[np.ndarray]):
    """Pictures, prepared for a model as they are asked for.

    Raises:
        UsageError: there are none.
    """

    def __init__(self, pictures: GivenPictures, spec: ModelSpec) -> None:
        if not pictures:
            raise UsageError("there are no pictures", where="images", expected="at least one")
        self.pictures = pictures
        self.spec = spec

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int | slice) -> np.ndarray:  # type: ignore[override]  # one array
        if isinstance(index, int):
            return self[index : index + 1][0]
        size, preprocessing = self.spec.config.image_size, self.spec.preprocessing
        chosen = map(self.pictures.decode, self.pictures.each[index])
        return np.stack([preprocess(image, size, preprocessing) for image in chosen])
