"""The description of a new model: a published one or a configuration, with options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from difflib import get_close_matches
from typing import Any, get_type_hints

from vit_convert.architectures.base import CHOICES, Preprocessing, Provenance, TransformerConfig
from vit_convert.architectures.candidates import unknown_variant
from vit_convert.architectures.definition import Architecture
from vit_convert.architectures.model_spec import ModelSpec, Source
from vit_convert.architectures.published import TRAINING, Pictures, PublishedModel
from vit_convert.architectures.ranges import OutOfRangeError, as_text, checked
from vit_convert.architectures.recognition import check_image_size
from vit_convert.architectures.registry import architectures
from vit_convert.architectures.stored import check_sizes, conforms
from vit_convert.errors import RecognitionError, UsageError

_PICTURES = tuple(field.name for field in fields(Preprocessing))
_SIDES = ("image_size", "patch_size", "rotary_grid")
_RANGED = (*_SIDES, "norm_eps", "rotary_base", "num_classes", "mean", "std", "crop_pct", *CHOICES)


def new_spec(
    model: str | TransformerConfig, options: Mapping[str, Any], labels: Sequence[str] = ()
) -> ModelSpec:
    """Describe a model that no checkpoint has.

    Args:
        model: the name of a published model, with a tag or without, or a configuration.
        options: what is to be otherwise: fields of the configuration and of `Preprocessing`. What
            follows from them follows, where it is not among them: hidden widths of MLPs keep their
            ratio to `embed_dim`, a norm moves behind the pooling as in timm (`fc_norm`), and there
            are as many classes as labels.
        labels: names of the classes.

    Raises:
        UsageError: no model has that name, an option is not known or has a value that it cannot
            have, or the options contradict each other.
        RecognitionError: the published model is not supported.
    """
    if isinstance(model, str):
        family, published, pictures = _published(model)
        config: TransformerConfig = family.config_class(**published.values)
        preprocessing, dialect = pictures.preprocessing, published.dialect
    else:
        family = _family(model)
        config, preprocessing, dialect = model, Preprocessing(), Source.dialect
    given = {name: _value(family, name, value) for name, value in options.items()}
    if labels and "num_classes" not in given:
        given["num_classes"] = len(labels)
    of_config = {name: value for name, value in given.items() if name not in _PICTURES}
    changed = replace(config, **_implied(config, of_config), **of_config)
    _check(family, changed, given)
    if labels and len(labels) != changed.num_classes:
        raise UsageError(
            f"{len(labels)} labels were given for a model of {changed.num_classes} classes",
            where="labels",
            expected=f"{changed.num_classes} labels",
        )
    same = isinstance(model, str) and all(
        getattr(config, f.name) == getattr(changed, f.name)
        for f in fields(config)
        if f.name not in (*TRAINING, "num_classes")
    )
    own: Provenance = "published" if isinstance(model, str) else "given"
    provenance: dict[str, Provenance] = {
        **{f.name: own for f in fields(config) if f.name not in TRAINING},
        **dict.fromkeys(_PICTURES, "published" if isinstance(model, str) else "assumed"),
        **{name: "given" for name in given if name not in TRAINING},
    }
    return ModelSpec(
        architecture=family.name,
        config=changed,
        preprocessing=replace(preprocessing, **{k: v for k, v in given.items() if k in _PICTURES}),
        labels=tuple(labels),
        source=Source(variant=str(model) if same else "", dialect=dialect, provenance=provenance),
    )


def _published(name: str) -> tuple[Architecture, PublishedModel, Pictures]:
    bare, _, tag = name.partition(".")
    everything = []
    for family in architectures():
        for model in family.published():
            everything.append(model)
            pictures = None
            if model.name == name:
                pictures = model.pictures_of("")
            elif model.name == bare:
                pictures = model.pictures_of(tag)
            if pictures is None:
                continue
            if model.unsupported:
                raise RecognitionError(f"{name} is not supported: {model.unsupported}")
            return family, model, pictures
    raise unknown_variant(name, everything, "model")


def _family(config: TransformerConfig) -> Architecture:
    known = [f for f in architectures() if issubclass(f.config_class, TransformerConfig)]
    for family in known:
        if type(config) is family.config_class:
            return family
    raise UsageError(
        f"{type(config).__name__} is no configuration of a model of pictures",
        where="model",
        expected="the name of a published model, or "
        + " or ".join(family.config_class.__name__ for family in known),
    )


def _value(family: Architecture, name: str, value: Any) -> Any:
    """An option's value as the configuration has it."""
    hints = get_type_hints(family.config_class) | get_type_hints(Preprocessing)
    if name not in hints:
        close = get_close_matches(name, hints, 1, 0.6)
        raise UsageError(
            f"a {family.title} has no option {name!r}",
            where=name,
            expected=", ".join(sorted(hints)),
            hint=f"{close[0]}=..." if close else "",
        )
    if name in TRAINING and not (conforms(value, float) and 0 <= value < 1):
        raise UsageError(
            f"{name} cannot be {as_text(value)}",
            where=name,
            expected="a number from 0 to below 1",
        )
    try:
        if name in _RANGED:
            return checked(name, value, CHOICES.get(name, ()))
    except OutOfRangeError as error:
        raise UsageError(
            error.meaning or f"{name} cannot be {as_text(value)}",
            where=name,
            expected=error.expected,
            hint=f"{name}={error.instead}" if error.instead else "",
        ) from None
    if not conforms(value, hints[name]):
        kind = hints[name]
        raise UsageError(
            f"{name} cannot be {as_text(value)}",
            where=name,
            expected=getattr(kind, "__name__", "") or str(kind).replace("typing.", ""),
        )
    return value


def _implied(config: TransformerConfig, given: Mapping[str, Any]) -> dict[str, Any]:
    """The values that follow from others, where they are not given themselves."""
    implied: dict[str, Any] = {}
    if "embed_dim" in given:
        for field in fields(config):
            width = getattr(config, field.name)
            if "mlp_dim" in field.name and width:
                implied[field.name] = width * given["embed_dim"] // config.embed_dim
    norms = {"fc_norm", "final_norm"}
    if "pool" in given and norms <= vars(config).keys() and not norms & given.keys():
        before, behind = _norm_behind(config.pool), _norm_behind(given["pool"])
        if vars(config)["fc_norm"] == before != vars(config)["final_norm"]:  # as timm has it
            implied |= {"fc_norm": behind, "final_norm": not behind}
    return {name: value for name, value in implied.items() if name not in given}


def _norm_behind(pool: str) -> bool:
    """Whether timm's models norm what pooling gives, and not the tokens (`use_fc_norm`)."""
    return pool in ("avg", "avgmax", "max")


def _check(family: Architecture, config: TransformerConfig, given: Mapping[str, Any]) -> None:
    """Raises UsageError for values that no model has together."""
    check_image_size(config.image_size, config.patch_size)
    try:
        check_sizes(config)
        family.check(config)
    except ValueError as error:
        problem, expected = str(error), "sizes that fit together"
    except RecognitionError as error:
        problem, expected = "they make no model that is known here", error.expected
    else:
        return
    raise UsageError(problem, where=", ".join(given) or "the configuration", expected=expected)
