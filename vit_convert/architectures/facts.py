"""How each value of a configuration is known: read, given, published or assumed.

A value that neither tensors, user nor files tell is that of the published model which the
checkpoint is or may be. It is *published* where that model is stated; where its tensors are merely
equal, it is *assumed*, with the values of all others of these tensors beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any

from vit_convert.architectures.base import (
    Fact,
    Overrides,
    Preprocessing,
    Recognition,
    Rival,
    TransformerConfig,
)
from vit_convert.architectures.candidates import Candidates, way_out
from vit_convert.architectures.published import default_values
from vit_convert.architectures.ranges import as_text
from vit_convert.architectures.recognition import source_image_size
from vit_convert.errors import RecognitionError, UsageError

_PICTURES = tuple(f.name for f in fields(Preprocessing))
_OF_WIDTHS = ("num_heads", "gelu", "norm_eps", *_PICTURES)  # what models of the same widths share


class Facts:
    """The facts of one checkpoint, settled one after the other.

    Args:
        read: values that tensors tell.
        candidates: the published models that it may be.
        overrides: what the user, the naming scheme and files state.

    Raises:
        RecognitionError: a file beside the checkpoint contradicts its tensors.
    """

    def __init__(
        self, read: Mapping[str, Any], candidates: Candidates, overrides: Overrides
    ) -> None:
        self.facts = {
            key: Fact(value, "read", "from names and shapes") for key, value in read.items()
        }
        self.candidates = candidates
        self.overrides = overrides
        _check_stated(overrides, self.facts)

    def __contains__(self, name: str) -> bool:
        return name in self.facts

    def value(self, name: str) -> Any:
        """Of a field that is settled."""
        return self.facts[name].value

    def put(self, name: str, fact: Fact) -> None:
        """Settle a field."""
        self.facts[name] = fact

    def change(self, name: str, value: Any) -> None:
        """Write the value of a settled field another way."""
        self.facts[name] = replace(self.facts[name], value=value)

    def settle(
        self,
        name: str,
        default: Any | Callable[[], Any],
        why: str = "no published model has these shapes",
        among: Callable[[Mapping[str, Any]], bool] | None = None,
    ) -> Any:
        """Settle a field, unless tensors tell it.

        Args:
            name: of the field.
            default: the value where neither a statement nor a published model tells it, or a
                function that gives it, or raises.
            why: it is that one.
            among: what a published model's values must be to tell this one.

        Returns:
            the value.
        """
        if name not in self.facts:
            stated = self.overrides.fact(name)
            by_models = self._of_models(name, among)
            certain = bool(self.candidates.stated) or self.candidates.own
            if stated and (stated.provenance != "assumed" or not (by_models and certain)):
                self.facts[name] = stated
            elif by_models:
                self.facts[name] = by_models
            else:
                value = default() if callable(default) else default
                self.facts[name] = Fact(value, "assumed", why)
        return self.facts[name].value

    def _of_models(
        self, name: str, among: Callable[[Mapping[str, Any]], bool] | None
    ) -> Fact | None:
        """By the published models that the checkpoint may be."""
        found = self.candidates
        models = tuple(m for m in found.models if among is None or among(m.values))
        if not models or (found.fit == "widths" and name not in _OF_WIDTHS):
            return None
        by_value: dict[Any, list[str]] = {}
        for label, value in replace(found, models=models).values(name):
            by_value.setdefault(value, []).append(label)
        value = next(iter(by_value))
        best = by_value.pop(value)
        if found.stated and (name not in _PICTURES or found.pictures):
            return Fact(
                value, "published", f"as published for {found.name}; {found.stated} says it"
            )
        why = f"as in {best[0]}{_limits(found)}"
        if found.fit == "widths":
            return Fact(value, "assumed", why)
        others = sorted(by_value.items(), key=lambda item: -len(item[1]))
        rivals = tuple(Rival(other, tuple(names)) for other, names in others)
        return Fact(value, "assumed", why, tuple(best), rivals)

    def conclude(self, name: str, why: str) -> None:
        """Call a value that tensors suggest assumed, as published models have it that they suggest;
        or published, if that model is stated."""
        fact, by_models = self.facts[name], self._of_models(name, None)
        if by_models and by_models.value == fact.value:
            fact = by_models
        if fact.provenance != "published":
            fact = replace(fact, provenance="assumed", why=why)
        self.facts[name] = fact

    def of_models(
        self, name: str, among: Callable[[Mapping[str, Any]], bool] | None = None
    ) -> bool:
        """Settle a field by published models, whatever is stated of it; False if none tells it."""
        fact = self._of_models(name, among)
        if fact:
            self.facts[name] = fact
        return fact is not None

    def finish(
        self,
        config_class: type[TransformerConfig],
        default_preprocessing: Preprocessing,
        unused: Callable[[Any], frozenset[str]] = lambda config: frozenset(),
    ) -> Recognition:
        """Settle what is left, and make the configuration.

        Args:
            config_class: the architecture's configuration.
            default_preprocessing: for models that match no published one.
            unused: configuration -> the fields that change nothing in it.

        Raises:
            UsageError, RecognitionError: as `settle_heads`.
        """
        self.settle_heads()
        for name, default in default_values(config_class).items():
            self.settle(name, default)
        for name in _PICTURES:
            self.settle(name, getattr(default_preprocessing, name))
        facts = {**self.overrides.stated, **self.facts}
        for name in ("variant", "changed"):
            facts.pop(name, None)
        # unless it is the name of a published model
        if self.candidates.stated and (variant := self.overrides.fact("variant")):
            facts["variant"] = variant
        names = {f.name for f in fields(config_class)}
        config = config_class(**{k: f.value for k, f in facts.items() if k in names})
        preprocessing = Preprocessing(**{name: facts[name].value for name in _PICTURES})
        found = self.candidates
        stated = bool(found.stated)
        return Recognition(config, preprocessing, found.variant, facts, unused(config), stated)

    def settle_heads(self) -> None:
        """Settle `num_heads`.

        Raises:
            UsageError: --num-heads contradicts the tensors.
            RecognitionError: the number can be neither known nor guessed.
        """
        width = self.value("embed_dim")
        given = self.overrides.num_heads
        if "num_heads" in self.facts and given not in (None, self.value("num_heads")):
            raise UsageError(
                f"the checkpoint has {self.value('num_heads')} heads by its shapes",
                where=f"--num-heads {given}",
                expected=f"{self.value('num_heads')}, or no option",
            )
        usual = width // 64 if width % 64 == 0 else None
        heads = self.settle("num_heads", usual, "64 channels a head, as most models have them")
        if heads is None or heads <= 0 or width % heads:
            raise RecognitionError(
                f"the number of attention heads is not known ({heads} does not divide the width)"
                if heads
                else "the number of attention heads is not known",
                where=f"width {width}",
                expected="a divisor of the width",
                hint="--num-heads N as in the training code",
            )


def settle_image_size(
    facts: Facts,
    patches: int,
    overrides: Overrides,
    among: Callable[[Mapping[str, Any]], bool] | None = None,
) -> None:
    """Settle the size that positions were trained at; the user's option may ask for another one.

    Args:
        facts: `patch_size` is settled.
        patches: that there are positions for.
        overrides: what the user and files state.
        among: what a published model's values must be to tell it.

    Raises:
        RecognitionError: as `source_image_size`.
    """
    patch_size, wanted = facts.value("patch_size"), overrides.trained_size
    stated = overrides.stated.get("image_size")
    option = overrides.image_size
    given = Fact(option, "given", "your option") if option else None
    for fact in (stated, given):
        if fact and (fact.value[0] // patch_size[0]) * (fact.value[1] // patch_size[1]) == patches:
            facts.put("image_size", fact)
            return
    if stated and stated.provenance == "read":
        size = source_image_size(patches, patch_size, None)
        _check_stated(overrides, {"image_size": Fact(size, "read", "")})
    published = facts.candidates.fit == "tensors" and facts.of_models("image_size", among)
    size = facts.value("image_size") if published else (0, 0)
    if (size[0] // patch_size[0]) * (
        size[1] // patch_size[1]
    ) != patches:  # or fine-tuned at another
        size = source_image_size(patches, patch_size, wanted)
        why = "the grid of patches is taken for a square"
        facts.put("image_size", Fact(size, "assumed", why))


def _limits(found: Candidates) -> str:
    """How the checkpoint is not quite the published model."""
    limits = {
        "tensors": "",
        "size": ", but for the image size",
        "input": ", but for the patches",
        "widths": ", which has the same widths only",
    }
    assert found.fit
    return limits[found.fit] + (", by the file's name" if found.by_name else "")


def _check_stated(overrides: Overrides, read: Mapping[str, Fact]) -> None:
    """Raises RecognitionError where a file contradicts the tensors and the user says nothing."""
    stated = {k: v for k, v in overrides.stated.items() if getattr(overrides, k, None) is None}
    wrong = {
        name: f"{name} is {as_text(stated[name].value)} ({stated[name].why}), "
        f"but the tensors say {as_text(fact.value)}"
        for name, fact in read.items()
        if name in stated and stated[name].provenance == "read" and stated[name].value != fact.value
    }
    if wrong:
        raise RecognitionError(
            f"what is stated is of another model: {'; '.join(wrong.values())}",
            expected="what was saved with the checkpoint",
            hint=way_out(wrong),
        )
