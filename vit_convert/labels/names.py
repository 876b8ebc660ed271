"""Names of classes.

The ImageNet names come from WordNet 3.0, Copyright 2006 by Princeton University; its license lies
beside them, in WORDNET-LICENSE.txt.
"""

from __future__ import annotations

import json
import re
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from vit_convert.errors import UsageError, described, similar_to
from vit_convert.runtime.input_file import read_input
from vit_convert.runtime.limits import LABELS_BYTES

_FORMATS = (
    "a text file with one name per line, a JSON list of names, "
    'a JSON object {"0": name, "1": name, ...}, or a config.json with id2label'
)


_HALF = re.compile("[\\ud800-\\udfff]")  # halves of characters, which JSON can hold


def imagenet1k() -> tuple[str, ...]:
    """The 1000 classes of ILSVRC2012 in the order that published checkpoints use.

    Each is the first lemma of its WordNet synset ("tench" for "tench, Tinca tinca"); all differ.
    """
    return tuple(name for _, name in _imagenet1k_table())


def imagenet1k_synsets() -> tuple[str, ...]:
    """The WordNet ids ("n01440764") of `imagenet1k`: what ImageNet's folders are called."""
    return tuple(synset for synset, _ in _imagenet1k_table())


def given_labels(labels: Sequence[str]) -> tuple[str, ...]:
    """The names that somebody gave.

    Raises:
        UsageError: they are no names, but one text, or something else.
    """
    if isinstance(labels, str) or not isinstance(labels, Iterable):
        raise UsageError(
            f"cannot be {described(labels)}",
            where="labels",
            expected="a list of names",
            hint="vit_convert.read_labels(path), where they are in a file",
        )
    names = tuple(labels)
    for place, name in enumerate(names):
        if not isinstance(name, str):
            raise UsageError(
                f"cannot be {described(name)}", where=f"labels[{place}]", expected="a name"
            )
    return names


def labels_for(num_classes: int, given: Sequence[str] = ()) -> tuple[str, ...]:
    """The names of a model's classes.

    Args:
        num_classes: width of the model's head, 0 for none.
        given: the names that the user gave, empty for none.

    Returns:
        `given`; else ImageNet's names for 1000 classes, which is a guess; else ().

    Raises:
        UsageError: there are not as many names as classes.
    """
    if given := given_labels(given):
        if len(given) != num_classes:
            raise UsageError(
                f"{len(given)} labels were given for a model of {num_classes} classes",
                where="labels",
                expected=f"{num_classes} labels",
            )
        return given
    return imagenet1k() if num_classes == len(_imagenet1k_table()) else ()


def read_labels(path: str | Path) -> tuple[str, ...]:
    """Names of classes from a UTF-8 file, in the order of their indices.

    The file may be text with one name per line, a JSON list of names, a JSON object from index to
    name, or a Hugging Face config.json (its id2label is read). JSON is recognised by its first
    character, a bracket or a brace. Blank lines at the end are no names; a name may occur twice.

    Args:
        path: the file.

    Returns:
        the names.

    Raises:
        UsageError: the file cannot be read or is none of these, a name is blank or no text, or
            indices are missing.
    """
    where = str(path)
    try:
        text = read_input(path, LABELS_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise UsageError(
            f"cannot be read: {error.strerror or error}",
            where=where,
            expected=_FORMATS,
            hint="" if Path(path).exists() else similar_to(path),
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError("is not UTF-8 text", where=where, expected=_FORMATS) from error
    if text.lstrip().startswith(("[", "{")):
        names = _from_json(text, where)
    else:
        # not splitlines(), which would also cut a name at a form feed or a U+2028
        names = text.rstrip().split("\n") if text.strip() else []
    if not names:
        raise UsageError("holds no labels", where=where, expected=_FORMATS)
    for index, name in enumerate(names):
        if not isinstance(name, str) or not name.strip() or _HALF.search(name):
            raise UsageError(
                f"label {index} is not a name: {reprlib.repr(name)}",
                where=where,
                expected="a name for every class",
            )
    return tuple(name.strip() for name in names)


def _from_json(text: str, where: str) -> list[Any]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"begins like JSON but is not: {error}", where=where, expected=_FORMATS
        ) from error
    if isinstance(data, list):
        return data
    names = data.get("id2label", data)
    if not isinstance(names, Mapping):
        raise UsageError("its id2label is no JSON object", where=where, expected=_FORMATS)
    missing = [index for index in range(len(names)) if str(index) not in names]
    if missing:
        raise UsageError(
            f"has {len(names)} entries, but none for index {missing[0]}",
            where=where,
            expected=_FORMATS,
        )
    return [names[str(index)] for index in range(len(names))]


@cache
def _imagenet1k_table() -> tuple[tuple[str, str], ...]:
    """(synset, name) of each class."""
    file = resources.files("vit_convert.labels").joinpath("imagenet1k.txt")
    rows = (line.split("\t") for line in file.read_text(encoding="utf-8").splitlines())
    return tuple((synset, name) for synset, name in rows)
