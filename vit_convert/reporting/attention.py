"""What models look at in pictures: as values, and as a figure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
from PIL import Image

from vit_convert.exporters.artifact import Artifact
from vit_convert.exporters.given import ArtifactLike, given_artifacts
from vit_convert.images.pictures import Pictures, given_pictures, name_of
from vit_convert.images.preprocessing import shown_part, to_pixels
from vit_convert.inference.attention import AttentionView, attention_of, look
from vit_convert.inference.predict import class_names
from vit_convert.inference.running import as_input, probabilities
from vit_convert.progress import Progress, silent
from vit_convert.results import Result, plain


@dataclass(frozen=True)
class Attention(Result):
    """What a model looks at in one picture.

    Attributes:
        name: of the picture: its path or address; "picture 3" where it has none.
        artifact: the artifact's path.
        view: the maps of the blocks that were asked for, and the saliency that follows from them.
        pixels: the part of the picture that the model sees, (height, width, 3) uint8: several for
            one of the model's input where the picture has more.
        label: the class that it takes the picture for; None where it gives no classes.
        probability: of that class, 0..1; None as well.
        head: the head that alone was asked for, or None.
    """

    name: str
    artifact: Path
    view: AttentionView
    pixels: np.ndarray
    label: str | None
    probability: float | None
    head: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """In values that JSON knows: the maps are (rows, columns), without the pixels."""
        found: dict[str, Any] = plain(self.view)
        return {
            "path": self.name,
            "artifact": str(self.artifact),
            "label": self.label,
            "probability": self.probability,
            **found,
        }

    def png(self) -> bytes:
        """A figure: the saliency over the picture, and the maps of the heads beside it."""
        from vit_convert.reporting.attention_figure import attention_png

        heading = f"{Path(self.name).name} \N{MIDDLE DOT} {self.artifact.name}"
        if self.label is not None:
            label = f"class {self.label}" if self.label.isdecimal() else self.label
            heading += f" \N{MIDDLE DOT} {label}, {self.probability:.0%}"
        return attention_png(self.pixels, self.view, heading, head=self.head)


@overload
def attention(  # type: ignore[overload-overlap]  # a text is a path, and no list
    artifacts: ArtifactLike,
    pictures: Pictures,
    *,
    block: int | None = None,
    head: int | None = None,
    rollout: bool = False,
    progress: Progress = silent,
) -> list[Attention]: ...


@overload
def attention(
    artifacts: Iterable[ArtifactLike],
    pictures: Pictures,
    *,
    block: int | None = None,
    head: int | None = None,
    rollout: bool = False,
    progress: Progress = silent,
) -> list[list[Attention]]: ...


def attention(
    artifacts: ArtifactLike | Iterable[ArtifactLike],
    pictures: Pictures,
    *,
    block: int | None = None,
    head: int | None = None,
    rollout: bool = False,
    progress: Progress = silent,
) -> list[Attention] | list[list[Attention]]:
    """What models look at in pictures: what the class token attends to, or the mean over the
    patches where a model does not pool by a class token.

    Args:
        artifacts: the path of a Keras file or of what was exported with its attention maps, an open
            one, or several of either.
        pictures: one or several, as `predict` takes them.
        block: which block, from 0; negative from the end. By default the last one; of a CaiT all
            class-attention blocks, among which this chooses.
        head: this one alone, from 0.
        rollout: take the attention rollout over all blocks as saliency (arXiv:2005.00928).
        progress: told how many pictures are done.

    Returns:
        the attention in each picture, in their order. Of several artifacts, a list of these for
        each.

    Raises:
        UsageError: an artifact or a picture is none, there is no such block or head, or the
            attention cannot be rolled out.
        ArtifactError: the artifact cannot be opened, or does not give its attention maps.
        ImageError: a picture cannot be read.
    """
    given, found = given_artifacts(artifacts), given_pictures(pictures)
    opened = given.open(progress)
    results: list[list[Attention]] = [[] for _ in opened]
    for done, picture in enumerate(found.each):
        progress("pictures", done, len(found))
        image = found.decode(picture)
        for artifact, seen in zip(opened, results, strict=True):
            seen.append(_seen(artifact, name_of(picture), image, block, head, rollout))
    progress("pictures", len(found), len(found))
    return results if given.several else results[0]


def _seen(
    artifact: Artifact,
    name: str,
    image: Image.Image,
    block: int | None,
    head: int | None,
    rollout: bool,
) -> Attention:
    spec = artifact.spec
    size, how = spec.config.image_size, spec.preprocessing
    images = as_input(to_pixels(image, size, how)[None], artifact)
    maps = attention_of(artifact, images)
    view = look(spec, maps, block=block, head=head, roll_out=rollout)
    label, probability = None, None
    if artifact.output.has_classes:
        scores = probabilities(artifact, images)[0]
        best = int(scores.argmax())
        label, probability = class_names(artifact)[best], float(scores[best])
    pixels = shown_part(image, size, spec.config.seen_size, how)
    return Attention(name, artifact.path, view, pixels, label, probability, head)
