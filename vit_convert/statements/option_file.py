"""A TOML file with the options of a conversion: what torch2keras's --config reads.

num_heads = 12
gelu = "tanh"
mean = [0.485, 0.456, 0.406]
image_size = [192, 256]
labels = "names.txt"
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from vit_convert.architectures import Overrides
from vit_convert.architectures.base import CHOICES
from vit_convert.architectures.ranges import OutOfRangeError, as_text, checked
from vit_convert.checkpoint.inert import printable
from vit_convert.dialects import chosen
from vit_convert.dialects.toml_file import parse, read_text
from vit_convert.errors import UsageError
from vit_convert.labels.names import read_labels

_WHAT = "a TOML file of options; vit-convert inspect CHECKPOINT --config-template prints one"
_PATHS = ("labels", "rules")
_TEXTS = ("key", "dialect")
_OVERRIDES = tuple(f.name for f in fields(Overrides) if f.name not in ("stated", "scheme"))
OPTIONS = (*_OVERRIDES, "pos_embed", "tower", *_TEXTS, *_PATHS)


@dataclass(frozen=True)
class Options:
    """The options of a file, or of a file and the command line.

    Attributes:
        values: name of an option, with underscores -> its value; paths are relative to nothing.
    """

    values: Mapping[str, Any] = field(default_factory=dict)

    def but(self, given: Mapping[str, Any]) -> Options:
        """The same with other values in the place of those that are not None."""
        stated = {name: value for name, value in given.items() if value is not None}
        kept = dict(self.values)
        if "rules" in stated or "dialect" in stated:  # either replaces both
            kept.pop("rules", None)
            kept.pop("dialect", None)
        return Options(kept | stated)

    @property
    def overrides(self) -> Overrides:
        """What they state of the model.

        Raises:
            UsageError: as `Overrides`.
        """
        return Overrides(**{k: v for k, v in self.values.items() if k in _OVERRIDES})

    def arguments(self) -> dict[str, Any]:
        """The arguments of `vit_convert.torch2keras` that they are.

        Raises:
            UsageError: as `overrides`; the file of labels or of rules is wrong, or there is no such
                dialect.
        """
        get = self.values.get
        labels = get("labels")
        return {
            "overrides": self.overrides,
            "key": get("key"),
            "pos_embed": get("pos_embed"),
            "labels": read_labels(labels) if labels else None,
            "among": chosen(get("rules"), get("dialect"), get("tower")),
        }


def read_options(path: str | Path) -> Options:
    """The options of a file; paths in it are relative to its folder.

    Args:
        path: the file.

    Returns:
        what it states: `overrides`, and `arguments()` for `vit_convert.torch2keras`.

    Raises:
        UsageError: it cannot be read, an option is unknown, or a value is wrong; the message names
            the file, the line and the option.
    """
    path = Path(path)
    text = read_text(path, _WHAT)
    values: dict[str, Any] = {}
    for name, value in parse(text, str(path), _WHAT).items():
        where = f"{path}{_line(text, name)}"
        if name not in OPTIONS:
            close = get_close_matches(name.replace("-", "_"), OPTIONS, 1)
            raise UsageError(
                f"'{printable(name)}' is no option",
                where=where,
                expected=", ".join(OPTIONS),
                hint=close[0] if close else "",
            )
        values[name] = _value(name, value, where, path.parent)
    if "rules" in values and "dialect" in values:
        raise UsageError("both are given", where=f"{path}: rules, dialect", expected="one of them")
    return Options(values)


def _value(name: str, value: Any, where: str, folder: Path) -> Any:
    if name in (*_PATHS, *_TEXTS):
        if not isinstance(value, str) or (not value and name != "key"):
            raise UsageError(f"{name} is {_shown(value)}", where=where, expected="a text")
        return folder / value if name in _PATHS else value
    try:
        return checked(name, value, CHOICES.get(name, ()))
    except OutOfRangeError as error:
        raise UsageError(
            f"{name} is {printable(as_text(value, name))}{error.meaning and f': {error.meaning}'}",
            where=where,
            expected=error.expected,
            hint=f"{name} = {_toml(error.instead)}" if error.instead else "",
        ) from None


def _shown(value: Any) -> str:
    return printable(as_text(value))


def _toml(instead: str) -> str:
    return f"[{instead.replace(',', ', ')}]" if "," in instead else instead


def _line(text: str, name: str) -> str:
    """ ", line 3", where an option stands in the file, or ""."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.partition("=")[0].strip().strip("\"'") == name:
            return f", line {number}"
    return ""
