"""Pictures in, maps out: depth, or the class of every pixel; and these drawn as pictures."""

from __future__ import annotations

import colorsys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from vit_convert.architectures import ModelSpec
from vit_convert.errors import UsageError
from vit_convert.exporters.artifact import Artifact
from vit_convert.exporters.given import ArtifactLike, given_artifacts
from vit_convert.images.pictures import Pictures, given_pictures
from vit_convert.images.preprocessing import to_pixels
from vit_convert.inference.running import as_input
from vit_convert.progress import Progress, silent
from vit_convert.results import Result

MAPS = ("depth", "segments")  # kinds of outputs
# from far to near: dark violet, blue, teal, green, pale yellow; each is lighter than the one before
DEPTH_COLOURS = ((38, 8, 62), (53, 62, 140), (32, 134, 148), (96, 197, 105), (250, 240, 150))
_TURN = 0.618033988749895  # of the circle of hues from one class to the next: the golden ratio
_SHOWN = 5  # classes of a picture that are listed


@dataclass(frozen=True)
class PictureMap(Result):
    """What a model says of every pixel of a picture.

    Attributes:
        name: of the picture: its path or address; "picture 3" where it has none.
        kind: "depth" or "segments".
        values: depth (height, width) float32, as the artifact gives it; or the index of the most
            probable class of each pixel, (height, width) int32.
        size: (height, width) of the picture, where the map covers all of it; else of the map.
        labels: names of the classes, () for depth or where they are not known.
        unit: "metres", or "" where the depth has none, and is larger where something is nearer.
    """

    name: str
    kind: str
    values: np.ndarray
    size: tuple[int, int]
    labels: tuple[str, ...] = ()
    unit: str = ""

    @property
    def shares(self) -> list[tuple[str, float]]:
        """The classes that cover most of the picture, and the share of its pixels that each has."""
        if self.kind == "depth":
            return []
        found, counts = np.unique(self.values, return_counts=True)
        order = np.argsort(-counts, kind="stable")[:_SHOWN]
        return [
            (self.labels[k] if self.labels else str(k), float(counts[i] / self.values.size))
            for i, k in ((i, int(found[i])) for i in order)
        ]

    def drawn(self) -> Image.Image:
        """The map in colours, at the picture's size: depth light where it is near, between its
        least and largest value; each class in a colour of its own."""
        if self.kind == "depth":
            image = Image.fromarray(_coloured(self.values, far_is_large=bool(self.unit)))
            return image.resize(self.size[::-1], Image.Resampling.BILINEAR)
        image = Image.fromarray(palette(int(self.values.max()) + 1)[self.values])
        return image.resize(self.size[::-1], Image.Resampling.NEAREST)

    def to_dict(self) -> dict[str, Any]:
        """In values that JSON knows, without the map itself."""
        found: dict[str, Any] = {
            "path": self.name,
            "kind": self.kind,
            "shape": [*self.values.shape],
        }
        if self.kind == "depth":
            least, most = float(self.values.min()), float(self.values.max())
            return {**found, "unit": self.unit or None, "least": least, "most": most}
        shares = [{"label": label, "share": share} for label, share in self.shares]
        return {**found, "classes": shares}


def predict_maps(
    artifact: ArtifactLike, pictures: Pictures, *, progress: Progress = silent
) -> Iterator[PictureMap]:
    """What a model says of every pixel of pictures, one after the other.

    Args:
        artifact: the path of an artifact that gives depth or segments, or an open one.
        pictures: one or several, as `vit_convert.predict` takes them.
        progress: told how many pictures are done.

    Returns:
        the maps of each picture, in their order; each is made when it is asked for.

    Raises:
        UsageError: the artifact is none, or gives something else; a picture is none.
        ArtifactError: the artifact cannot be opened.
        ImageError: a picture cannot be read; when it is its turn.
    """
    (opened,) = given_artifacts(artifact).open(progress)
    check_maps(opened)
    found = given_pictures(pictures)

    def each() -> Iterator[PictureMap]:
        for done, (picture, name) in enumerate(zip(found.each, found.names, strict=True)):
            progress("pictures", done, len(found))
            yield predict_map(opened, found.decode(picture), name)
        progress("pictures", len(found), len(found))

    return each()


def predict_map(artifact: Artifact, image: Image.Image, name: str) -> PictureMap:
    """What an artifact says of every pixel of one picture.

    Args:
        artifact: open; see `check_maps`.
        image: upright RGB.
        name: for the result.

    Raises:
        ImageError: the picture is too long and thin to be resized.
    """
    spec, output = artifact.spec, artifact.output
    size, how = spec.config.image_size, spec.preprocessing
    pixels = to_pixels(image, size, how)[None]
    values = artifact.first_output(as_input(pixels, artifact))[0]
    whole = how.crop_mode == "squash" and how.crop_pct == 1 and spec.config.seen_size == size
    covered = (image.height, image.width) if whole else values.shape[:2]
    if output.kind == "segments":
        classes = values.argmax(axis=-1).astype(np.int32)
        return PictureMap(name, output.kind, classes, covered, spec.labels)
    return PictureMap(name, output.kind, values, covered, (), depth_unit(spec))


def depth_unit(spec: ModelSpec) -> str:
    """As `PictureMap.unit`, of a model for depth."""
    return "metres" if spec.config.depth_activation == "sigmoid" else ""


def check_maps(artifact: Artifact) -> None:
    """Raises UsageError for an artifact that gives no map."""
    if artifact.output.kind not in MAPS:
        raise UsageError(
            f"gives {artifact.output.kind}, not a value for every pixel",
            where=str(artifact.path),
            expected="an artifact of a model for depth or segmentation",
        )


def _coloured(depth: np.ndarray, far_is_large: bool) -> np.ndarray:
    """(height, width) -> (height, width, 3) uint8; what is the same everywhere is dark."""
    near = -depth if far_is_large else depth
    least, most = float(near.min()), float(near.max())
    share = (near - least) / (most - least) if most > least else np.zeros_like(near)
    places, colours = np.linspace(0, 1, len(DEPTH_COLOURS)), np.array(DEPTH_COLOURS)
    channels = [np.interp(share, places, colours[:, i]) for i in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def palette(count: int) -> np.ndarray:
    """A colour for each class, (count, 3) uint8, the same for the same class in every picture."""
    colours = [
        colorsys.hsv_to_rgb((k * _TURN) % 1, 0.55 + 0.3 * (k % 3) / 2, 0.95 - 0.3 * (k % 2))
        for k in range(count)
    ]
    return np.round(np.array(colours) * 255).astype(np.uint8)
