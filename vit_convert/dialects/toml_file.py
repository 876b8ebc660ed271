"""Reads a small TOML file that the user wrote."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from vit_convert.errors import UsageError, similar_to

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_MAX_BYTES = 200_000


def read_text(path: Path, what: str) -> str:
    """The text of a file.

    Args:
        path: the file.
        what: what it should be, for people: "a rule file".

    Raises:
        UsageError: it cannot be read, is too large, or is no text.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise UsageError(f"is too large for {what}", where=str(path))
        return content.decode("utf-8-sig")
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
        UsageError: it is no TOML.
    """
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise UsageError(f"is no TOML: {error}", where=where, expected=what) from error
