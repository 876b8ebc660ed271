"""What public functions return: dataclasses that say in JSON what they hold."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import PurePath
from typing import Any


@dataclass(frozen=True)
class Result:
    """The base of all results. The command line's `--json` prints `to_dict` of them."""

    def to_dict(self) -> dict[str, Any]:
        """In values that JSON knows; numbers that are not finite are None."""
        return {each.name: plain(getattr(self, each.name)) for each in fields(self)}

    def to_json(self, indent: int | None = 2) -> str:
        """As JSON: what `--json` of the command prints of this result.

        Args:
            indent: spaces for each level; None for one line.
        """
        return json.dumps(self.to_dict(), indent=indent, allow_nan=False)


def plain(value: Any) -> Any:
    """A value in those that JSON knows.

    Paths become texts, dataclasses and mappings dicts; arrays and tuples become lists, and
    numbers that are not finite None, because JSON has none of them.
    """
    if isinstance(value, Result):
        return value.to_dict()
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, PurePath):
        return str(value)
    if hasattr(value, "tolist"):  # NumPy's, which is not imported for this
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
