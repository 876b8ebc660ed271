"""Published models: what their tensors do not tell, as data that scripts/make_published writes.

A model that is published has pretrained weights or an own name in a library. Those that cannot be
converted are here too, with the reason: a checkpoint may be theirs all the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from vit_convert.architectures.base import Preprocessing, TransformerConfig, Variant

TRAINING = ("drop_rate", "attn_drop_rate", "drop_path_rate")


@dataclass(frozen=True)
class Pictures:
    """How pictures are prepared for some of a model's pretrained weights.

    Attributes:
        tags: of the weights, as timm calls them: "augreg_in21k"; "" where there are none.
        preprocessing: what they were trained with.
    """

    tags: tuple[str, ...]
    preprocessing: Preprocessing


@dataclass(frozen=True)
class PublishedModel:
    """A published model.

    Attributes:
        name: without a tag.
        values: every field of the configuration that is no training option; empty if its tensors
            are those of no configuration here. A value that a configuration cannot have is a few
            words in angle brackets.
        pictures: of its pretrained weights, the default first.
        source: where the numbers come from.
        unsupported: why it cannot be converted, "" if it can.
        schemes: the naming schemes of its checkpoints, its own first; () for any.
        dialect: the naming scheme of timm's module of it, which a new model goes back to.
    """

    name: str
    values: Mapping[str, Any]
    pictures: tuple[Pictures, ...]
    source: str
    unsupported: str = ""
    schemes: tuple[str, ...] = ()
    dialect: str = "timm"

    def variants(self, config_class: type[TransformerConfig]) -> Iterator[Variant]:
        """The model as a configuration, once for each way to prepare pictures; nothing where it
        cannot be converted."""
        if self.unsupported:
            return
        config = config_class(**self.values)
        for index, pictures in enumerate(self.pictures):
            name = f"{self.name}.{pictures.tags[0]}" if index else self.name
            yield Variant(name, config, pictures.preprocessing, self.source)

    def pictures_of(self, tag: str) -> Pictures | None:
        """Those of the weights with that tag, "" for the default."""
        if not tag:
            return self.pictures[0]
        return next((p for p in self.pictures if tag in p.tags), None)


def default_values(config_class: type[TransformerConfig]) -> dict[str, Any]:
    """Field -> default, of those that are no training options and have one."""
    return {
        f.name: f.default
        for f in fields(config_class)
        if f.default is not MISSING and f.name not in TRAINING
    }


def read_published(path: Path, config_class: type[TransformerConfig]) -> tuple[PublishedModel, ...]:
    """Read a table that scripts/make_published wrote; those with most pretrained weights first."""
    data = json.loads(path.read_text(encoding="utf-8"))
    usual = default_values(config_class)
    source = f"timm {data['timm']}"
    models = [_model(name, entry, usual, source) for name, entry in data["models"].items()]
    models.sort(key=lambda model: -sum(len(pictures.tags) for pictures in model.pictures))
    return tuple(models)


def _model(
    name: str, entry: Mapping[str, Any], usual: Mapping[str, Any], source: str
) -> PublishedModel:
    config = entry.get("config")
    values = {} if config is None else {**usual, **{k: _tuples(v) for k, v in config.items()}}
    pictures = tuple(
        Pictures(tuple(p["tags"]), Preprocessing(**{k: _tuples(p[k]) for k in p if k != "tags"}))
        for p in entry["pictures"]
    )
    return PublishedModel(
        name,
        values,
        pictures,
        source,
        entry.get("unsupported", ""),
        dialect=entry.get("dialect", PublishedModel.dialect),
    )


def _tuples(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
