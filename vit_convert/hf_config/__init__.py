"""Reads the JSON files beside a checkpoint, which say what tensors cannot.

transformers' `save_pretrained` writes config.json and preprocessor_config.json, timm writes a
config.json of its own, and open_clip open_clip_config.json. They are strangers' files: read up to a
size, parsed as JSON, and every value is checked before it is used.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vit_convert.architectures import Fact
from vit_convert.architectures.base import Tower
from vit_convert.errors import CheckpointError
from vit_convert.hf_config.depth_config import depth_facts, is_depth_config
from vit_convert.hf_config.json_reader import ALONE, Reader, read_json
from vit_convert.hf_config.model_config import labels_of, model_facts
from vit_convert.hf_config.open_clip_config import OPEN_CLIP_CONFIG, open_clip_facts
from vit_convert.hf_config.preprocessor_config import image_processor, picture_facts
from vit_convert.hf_config.text_towers import open_clip_text_facts, transformers_text_facts
from vit_convert.hf_config.timm_config import is_timm_config, timm_facts, timm_labels
from vit_convert.hf_config.towers import of_vision

Library = Literal["transformers", "timm", "open_clip"]


@dataclass(frozen=True)
class Sidecars:
    """The facts that were read from the files.

    Attributes:
        facts: of each file: field of the configuration or the preprocessing -> its value.
        labels: class names, () if they are not told.
        where: the file that the labels stand in.
    """

    facts: tuple[dict[str, Fact], ...] = ()
    labels: tuple[str, ...] = ()
    where: str = ""

    def labels_for(self, num_classes: int) -> tuple[str, ...]:
        """The labels of a model with that head; a model without one has none.

        Raises:
            CheckpointError: there are not as many.
        """
        if not num_classes or not self.labels:
            return ()
        if len(self.labels) != num_classes:
            raise CheckpointError(
                f"it has labels of {len(self.labels)} classes, but the head has {num_classes}",
                where=self.where,
                expected="the file that was saved with the checkpoint",
                hint=ALONE,
            )
        return self.labels


def read_sidecars(
    folder: Path,
    library: Library = "transformers",
    given: Collection[str] = (),
    tower: Tower = "image",
) -> Sidecars:
    """Read the files of a folder that a library wrote there, with such a checkpoint.

    A repository may hold the same weights for several libraries, each with its own files.

    Args:
        folder: the checkpoint's.
        library: whose names the checkpoint has.
        given: the fields that the user states, of which the files may say anything.
        tower: of which part of a model of pictures and texts.

    Raises:
        CheckpointError: one is no JSON, too large, or says something impossible.
        RecognitionError: one is of a model that is not supported.
    """
    if tower == "text":
        read = open_clip_text_facts if library == "open_clip" else transformers_text_facts
        return Sidecars((read(folder),))
    moot = frozenset(given)
    if library == "open_clip":
        path = folder / OPEN_CLIP_CONFIG
        data = read_json(path)
        return Sidecars((open_clip_facts(Reader(data, path, given=moot)),)) if data else Sidecars()
    path = folder / "config.json"
    config = read_json(path)
    if library == "timm":
        found = config and is_timm_config(config)
        return _timm(Reader(config, path, given=moot)) if config and found else Sidecars()
    facts: list[dict[str, Fact]] = []
    labels: tuple[str, ...] = ()
    if config is not None:
        source = Reader(of_vision(config), path, given=moot)
        facts.append(model_facts(source))
        labels = labels_of(source)
        if is_depth_config(config):
            facts.append(depth_facts(Reader(config, path, given=moot)))
    if processor := image_processor(folder, moot):
        facts.append(picture_facts(processor))
    return Sidecars(tuple(facts), labels, str(path))


def _timm(reader: Reader) -> Sidecars:
    tables = timm_facts(reader)
    classes = next((t["num_classes"].value for t in tables if "num_classes" in t), 0)
    return Sidecars(tables, timm_labels(reader, classes), str(reader.path))
