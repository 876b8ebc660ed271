"""Reads a small TOML file that the user wrote."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from vit_convert.errors import UsageError, similar_to
from vit_convert.runtime.input_file import read_input
from vit_convert.runtime.limits import RULES_BYTES

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_MOST_DOTS = 200  # a key of n parts costs the parser n squared


def read_text(path: Path, what: str) -> str:
    """The text of a file.

    Args:
        path: the file.
        what: what it should be, for people: "a rule file".

    Raises:
        UsageError: it cannot be read, is too large, or is no text.
    """
    try:
        return read_input(path, RULES_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise UsageError(
            f"cannot be read: {error.strerror or error}",
            where=str(path),
            expected=what,
            hint=similar_to(path),
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError("is not UTF-8 text", where=str(path), expected=what) from error


def parse(text: str, where: str, what: str) -> dict[str, Any]:
    """The table that a TOML text is.

    Raises:
        UsageError: it is no TOML, or a line of it would keep the parser busy.
    """
    for number, line in enumerate(text.splitlines(), 1):
        if line.count(".") > _MOST_DOTS:
            raise UsageError(
                f"line {number} has more than {_MOST_DOTS} dots", where=where, expected=what
            )
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError also for numbers of many digits
        raise UsageError(f"is no TOML: {error}", where=where, expected=what) from error
