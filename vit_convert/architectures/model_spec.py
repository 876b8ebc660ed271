"""What a converted model carries with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from vit_convert.architectures.base import Known, Preprocessing
from vit_convert.architectures.parameters import Parameter


@dataclass(frozen=True)
class Source:
    """Where a converted model came from, so that `keras2torch` can go back.

    Attributes:
        file: the checkpoint's file name.
        dialect: the naming scheme it used.
        prefix: what stood before each name (`module.`), "" for none.
        variant: the published variant recognised, "" for none.
        dtypes: canonical name -> stored dtype, where it was not float32.
        changed: canonical names that do not hold the source's values (resampled, fresh head).
        known: field of the configuration or of Preprocessing -> how its value is known.
        body: which of the dialect's alternatives it used, e.g. "vit." for a model with a head.
        fills: indices that canonical names lack (DINOv2's chunks) -> their values by block.
        rules: the user's own dialect, as the text of its rule file.
    """

    file: str = ""
    dialect: str = "timm"
    prefix: str = ""
    variant: str = ""
    dtypes: dict[str, str] = field(default_factory=dict)
    changed: tuple[str, ...] = ()
    known: dict[str, Known] = field(default_factory=dict)
    body: str = ""
    fills: dict[str, tuple[str, ...]] = field(default_factory=dict)
    rules: str = ""


@dataclass(frozen=True)
class ModelSpec:
    """All that a converted model is, but for its weights. It survives JSON unchanged.

    Attributes:
        architecture: name in the registry.
        config: an instance of the architecture's configuration.
        preprocessing: how pictures become its input.
        labels: class names, or () if they are not known.
        pos_embed: how position embeddings are resampled ("antialias" or "bicubic").
        source: where it came from.
    """

    architecture: str
    config: Any
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    labels: tuple[str, ...] = ()
    pos_embed: Literal["antialias", "bicubic"] = "antialias"
    source: Source = field(default_factory=Source)

    def to_dict(self) -> dict[str, Any]:
        """Plain values only, for JSON and Keras."""
        return asdict(self)

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> ModelSpec:
        """The inverse of `to_dict`, also after a trip through JSON.

        Raises:
            RecognitionError: the architecture is not known here.
        """
        from vit_convert.architectures import architecture

        return ModelSpec(
            architecture=data["architecture"],
            config=_build(architecture(data["architecture"]).config_class, data["config"]),
            preprocessing=_build(Preprocessing, data["preprocessing"]),
            labels=tuple(data["labels"]),
            pos_embed=data["pos_embed"],
            source=_build(Source, data["source"]),
        )

    def with_config(self, **changes: Any) -> ModelSpec:
        """The same with some values of the configuration changed."""
        return replace(self, config=replace(self.config, **changes))

    def parameters(self) -> tuple[Parameter, ...]:
        """Every array of the model, in the order of the Keras model's layers and weights."""
        from vit_convert.architectures import architecture

        return architecture(self.architecture).parameters(self.config)


def _build(cls: type, data: Mapping[str, Any]) -> Any:
    known = {f.name for f in fields(cls)}
    return cls(**{key: _tuples(value) for key, value in data.items() if key in known})


def _tuples(value: Any) -> Any:
    """JSON's lists as tuples, in a table too."""
    if isinstance(value, dict):
        return {key: _tuples(part) for key, part in value.items()}
    return tuple(value) if isinstance(value, list) else value
