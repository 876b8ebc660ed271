"""What a conversion assumes, said to people: in Python as warnings, by the command line too."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vit_convert.architectures import Fact, Overrides, Recognition
from vit_convert.architectures.ranges import as_text
from vit_convert.conversion.name_table import readable
from vit_convert.errors import AssumptionWarning, option_of

_FEW = 2  # rival values that a message names
_CHECK = (
    "compare what is assumed with the training code: "
    "a wrong value gives wrong answers, and no error"
)


@dataclass(frozen=True)
class Assumptions:
    """The values of a recognition that nothing confirms, and that change what the model computes.

    Attributes:
        open: those that published models of the same tensors differ in, or that no such model has.
        concluded: those that all published models of the same tensors have.
    """

    open: dict[str, Fact]
    concluded: dict[str, Fact]

    @staticmethod
    def of(recognition: Recognition) -> Assumptions:
        """Those of a recognition."""
        assumed = {
            name: fact
            for name, fact in recognition.facts.items()
            if fact.provenance == "assumed" and name not in recognition.unused
        }
        agreed = {name for name, fact in assumed.items() if fact.models and not fact.rivals}
        return Assumptions(
            {name: fact for name, fact in assumed.items() if name not in agreed},
            {name: assumed[name] for name in assumed if name in agreed},
        )

    @property
    def all(self) -> dict[str, Fact]:
        """Both."""
        return self.open | self.concluded

    def warnings(self) -> list[str]:
        """A line for each open value, and one of advice."""
        lines = [
            f"{name} is assumed to be {readable(fact.value)}, {reasons(fact)}{_change(name, fact)}"
            for name, fact in self.open.items()
        ]
        return [*lines, _CHECK] if lines else []

    def conclusion(self) -> str:
        """One line for all concluded values, "" if there are none."""
        if not self.concluded:
            return ""
        models = max((fact.models for fact in self.concluded.values()), key=len)
        values = ", ".join(f"{n} {readable(f.value)}" for n, f in self.concluded.items())
        whose = f"all {len(models)} published models of these shapes have them"
        if len(models) == 1:
            whose = f"{models[0]} has them, the only published model of these shapes"
        return (
            f"concluded from shapes, as {whose}: {values}; "
            "the options of torch2keras or --variant overrule"
        )


def model_of(recognition: Recognition) -> str:
    """The published model for people."""
    if not recognition.variant:
        return "no published model"
    name = recognition.variant
    return name if recognition.stated else f"with the shapes of {name}"


def reasons(fact: Fact) -> str:
    """Why a value is what it is, and what rivals have."""
    return "; ".join([fact.why, *(_rival(r.value, r.names) for r in fact.rivals[:_FEW])])


def _rival(value: Any, names: tuple[str, ...]) -> str:
    others = f" and {len(names) - 1} others" if len(names) > 2 else ""
    others = f" and {names[1]}" if len(names) == 2 else others
    has = "have" if others else "has"
    words = f"{value[1:-1]} (not supported)" if _is_words(value) else readable(value)
    return f"{names[0]}{others} {has} {words}"


def _change(name: str, fact: Fact) -> str:
    """The option that changes it, with the first rival's value if it can be given."""
    if name not in Overrides.__dataclass_fields__:
        return "; no option changes it"
    option = option_of(name)
    if not fact.rivals or _is_words(fact.rivals[0].value):
        return f"; {option} changes it"
    value = fact.rivals[0].value
    if isinstance(value, bool):
        return f"; {option}" if value else f"; --no-{option[2:]}"
    return f"; {option} {as_text(value, name)}"


def _is_words(value: Any) -> bool:
    """Whether no configuration can have it."""
    return isinstance(value, str) and value.startswith("<")


def warn(recognition: Recognition) -> None:
    """Issue an AssumptionWarning for each open value, and one for all concluded ones, at the place
    outside of this package that asked for the conversion."""
    stacklevel, frame = 1, sys._getframe()
    while frame.f_back and frame.f_globals["__name__"].startswith("vit_convert."):
        stacklevel, frame = stacklevel + 1, frame.f_back
    assumed = Assumptions.of(recognition)
    for line in (*assumed.warnings(), assumed.conclusion()):
        if line:
            warnings.warn(line, AssumptionWarning, stacklevel=stacklevel)


def provenances(facts: Mapping[str, Fact]) -> dict[str, Any]:
    """For JSON: field -> value, how it is known, and what published models of its tensors have."""
    found = {}
    for name, fact in facts.items():
        found[name] = {"value": fact.value, "known": fact.provenance, "why": fact.why}
        if fact.models:
            found[name] |= {
                "models": fact.models,
                "rivals": [{"value": r.value, "names": r.names} for r in fact.rivals],
            }
    return found
