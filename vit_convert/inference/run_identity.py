"""What the rows of a run depend on: a run that was stopped is resumed only by the same run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from vit_convert.errors import OutputError, UsageError
from vit_convert.inference.rows import Table
from vit_convert.runtime.versions import versions

Identity = dict[str, Any]
_VERSION = 1  # of what an unfinished run leaves


def identity_of(
    artifacts: Sequence[Path], names: Sequence[str], table: Table, **options: Any
) -> Identity:
    """What rows depend on, in values that JSON knows.

    Args:
        artifacts: their files or folders.
        names: all pictures.
        table: what is written of each.
        options: other values that matter.
    """
    return {
        "version": _VERSION,
        "the version of vit-convert": versions()["vit-convert"],
        "the artifacts": [_digest_of_path(path) for path in artifacts],
        "the pictures": [
            len(names),
            _digest(name.encode("utf-8", "surrogatepass") + b"\0" for name in names),
        ],
        "the labels": _digest([json.dumps(table.labels).encode()]),
        "the options": {"top": table.top, "artifacts": list(table.artifacts), **options},
    }


def check_same(found: str, identity: Identity, where: str) -> None:
    """Find that a run was the same as this one.

    Args:
        found: its identity, as JSON.
        identity: of this one.
        where: what it has left.

    Raises:
        UsageError: it was another one; the message says in what.
        OutputError: it is no identity.
    """
    try:
        before = json.loads(found)
        others = [name for name in identity if before.get(name) != identity[name]]
    except (ValueError, AttributeError) as error:
        raise OutputError(
            "is not what a run leaves that was stopped",
            where=where,
            expected="its run.json",
            hint="another -o",
        ) from error
    if others:
        raise UsageError(
            f"it was another run: {' and '.join(others)} differ",
            where=where,
            expected="the same artifacts, pictures and options as before",
            hint="those; or --force without --resume, to begin again",
        )


def stopped_before(where: str) -> OutputError:
    """The error that says that there is an unfinished run already."""
    return OutputError(
        "holds what a run has done that was stopped, and is kept",
        where=where,
        expected="--resume, to go on",
        hint="--resume, or --force to begin again",
    )


def _digest(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def _digest_of_path(path: Path) -> str:
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return _digest(part for file in files for part in _contents(file))


def _contents(file: Path) -> Iterator[bytes]:
    with file.open("rb") as opened:
        while part := opened.read(1 << 20):
            yield part
