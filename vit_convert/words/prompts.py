"""Classes and templates: the texts that stand for a class."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import resources

from vit_convert.checkpoint.inert import printable
from vit_convert.errors import UsageError
from vit_convert.labels.names import given_labels

PLACE = "{}"  # of the class in a template
PHOTO = "a photo of a {}."  # CLIP's paper (arXiv:2103.00020), section 3.1.4


@cache
def imagenet_templates() -> tuple[str, ...]:
    """OpenAI's 80 templates for ImageNet.

    https://github.com/openai/CLIP, notebooks/Prompt_Engineering_for_ImageNet.ipynb; Copyright 2021
    OpenAI, under the MIT licence, which lies beside them in OPENAI-CLIP-LICENSE.txt.
    """
    file = resources.files("vit_convert.words").joinpath("openai_imagenet_templates.txt")
    return tuple(file.read_text(encoding="utf-8").splitlines())


def checked_classes(classes: Sequence[str]) -> tuple[str, ...]:
    """The names of the classes, without white space around them.

    Raises:
        UsageError: there are none, one is empty, or one stands there twice.
    """
    names = tuple(name.strip() for name in given_labels(classes))
    if not names:
        raise UsageError("there are no classes", where="classes", expected="at least one name")
    places: dict[str, int] = {}
    for place, name in enumerate(names):
        if not name:
            raise UsageError(
                "has no name", where=f"class {place}", expected="a name for every class"
            )
        if name in places:
            raise UsageError(
                f"{printable(name)!r} is there twice",
                where=f"classes {places[name]} and {place}",
                expected="each class once",
            )
        places[name] = place
    return names


def checked_templates(templates: Sequence[str]) -> tuple[str, ...]:
    """The templates.

    Raises:
        UsageError: there are none, one has no place for the class, or one stands there twice.
    """
    found = given_labels(templates)
    if not found:
        raise UsageError("there are no templates", where="templates", expected=repr(PHOTO))
    for template in found:
        shown = printable(template)
        if PLACE not in template:
            raise UsageError(
                f"{shown!r} has no place for the class",
                where="--template",
                expected=f"{PLACE} where the class belongs: {PHOTO!r}",
            )
        if found.count(template) > 1:
            raise UsageError(
                f"{shown!r} is there twice", where="--template", expected="each template once"
            )
    return found


def prompts(classes: Sequence[str], templates: Sequence[str]) -> list[str]:
    """Every class in every template: those of the first class come first."""
    return [template.replace(PLACE, name) for name in classes for template in templates]
