"""Reads the JSON files beside a checkpoint: config.json and preprocessor_config.json.

`save_pretrained` writes them, and they say what tensors cannot. They are strangers' files: read up
to a size, parsed as JSON, and every value is checked before it is used.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from vit_convert.architectures import Fact
from vit_convert.errors import CheckpointError
from vit_convert.hf_config.json_reader import ALONE, Reader, read_json
from vit_convert.hf_config.model_config import labels_of, model_facts
from vit_convert.hf_config.preprocessor_config import picture_facts
from vit_convert.hf_config.towers import of_vision


@dataclass(frozen=True)
class Sidecars:
    """The facts that were read from the files.

    Attributes:
        facts: field of the configuration or the preprocessing -> its value.
        labels: class names, () if they are not told.
        where: the file that the labels stand in.
    """

    facts: dict[str, Fact] = field(default_factory=dict)
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
                f"its id2label has {len(self.labels)} classes, but the head has {num_classes}",
                where=self.where,
                expected="the config.json that was saved with the checkpoint",
                hint=ALONE,
            )
        return self.labels


def read_sidecars(folder: Path) -> Sidecars:
    """Read the config.json and preprocessor_config.json of a folder, where they are there.

    Raises:
        CheckpointError: one is no JSON, too large, or says something impossible.
    """
    facts: dict[str, Fact] = {}
    labels: tuple[str, ...] = ()
    path = folder / "config.json"
    if (config := read_json(path)) is not None:
        source = Reader(of_vision(config), path)
        facts |= model_facts(source)
        labels = labels_of(source)
    other = folder / "preprocessor_config.json"
    if (processor := read_json(other)) is not None:
        facts |= picture_facts(Reader(processor, other))
    return Sidecars(facts, labels, str(path))
