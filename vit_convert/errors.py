"""The exceptions that the command line turns into messages and exit code 2.

Each says what is wrong, where, what was expected and what to try, in that order; the parts are kept
apart so that a caller can show them as it likes.
"""

from __future__ import annotations

import os
from pathlib import Path

_SHOWN = 60  # characters of a value in an error


def escaped(text: str) -> str:
    """A text as a terminal can show it: control characters, and halves of characters, as Python
    writes them. Names in a file could else move the cursor, change the title or paste commands.

    Line breaks stay, because messages have them; names that may hold one go through `printable` of
    `vit_convert.checkpoint.inert`.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in text)


class VitConvertError(Exception):
    """Something the user can act on. Control characters in it are escaped.

    Args:
        what: one sentence, without the parts below.
        where: the file, tensor or option concerned.
        expected: what would have been right.
        hint: what to try.
    """

    def __init__(self, what: str, *, where: str = "", expected: str = "", hint: str = "") -> None:
        self.what = escaped(what)
        self.where = escaped(where)
        self.expected = escaped(expected)
        self.hint = escaped(hint)
        super().__init__(self.message())

    def message(self) -> str:
        """All parts, one per line."""
        lines = [f"{self.where}: {self.what}" if self.where else self.what]
        if self.expected:
            lines.append(f"expected: {self.expected}")
        if self.hint:
            lines.append(f"try: {self.hint}")
        return "\n".join(lines)


class CheckpointError(VitConvertError):
    """A checkpoint cannot be read: not one, truncated, hostile, or without the chosen key."""


class RecognitionError(VitConvertError):
    """The names and shapes are those of no model that is known here, or options contradict them."""


class MappingError(VitConvertError):
    """Tensors are missing, unexpected, misshapen or not finite; the message holds the table."""


class ArtifactError(VitConvertError):
    """A model file or folder cannot be opened, or lacks what was asked of it."""


class OutputError(VitConvertError):
    """An output exists already, or cannot be written."""


class UsageError(VitConvertError):
    """Options that do not fit together or do not fit the model."""


class MissingDependencyError(VitConvertError):
    """An optional package is needed for what was asked."""


class AssumptionWarning(UserWarning):
    """A value of a converted model that nothing in its checkpoint confirms.

    Args:
        message: which value it is, the published models that have another, and the option for it.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)


class PictureWarning(UserWarning):
    """Pictures that cannot be read, and were passed over."""


class QuantisationWarning(UserWarning):
    """A quantised artifact that was written, and falls short of its float32."""


def described(value: object) -> str:
    """What somebody gave in the place of something else, for the error that says so."""
    if value is None or isinstance(value, (bool, int, float, str)):
        text = repr(value)
        shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
        return shown if value is None else f"the {type(value).__name__} {shown}"
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if isinstance(shape, tuple) and dtype is not None:
        return f"an array of {dtype} and shape {shape}"
    kind = type(value)
    if isinstance(value, (bytes, bytearray)):
        return kind.__name__
    name = kind.__qualname__
    return f"a {name}" if kind.__module__ == "builtins" else f"a {kind.__module__}.{name}"


def similar_to(path: str | Path) -> str:
    """A hint for a path that does not exist: the most similar name in its folder, or ""."""
    from difflib import get_close_matches

    path = Path(path)
    try:
        names = os.listdir(path.parent)
    except OSError:
        return ""
    close = get_close_matches(path.name, names, 1, 0.7)
    return f"{path.with_name(close[0])}, which is there" if close else ""


def option_of(name: str) -> str:
    """The option of the command line that states a value, as errors name it."""
    return f"--{name.replace('_', '-')}"
