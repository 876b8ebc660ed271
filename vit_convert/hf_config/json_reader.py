"""Values of a stranger's JSON object, each checked before it is used."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vit_convert.errors import CheckpointError
from vit_convert.runtime.input_file import read_input
from vit_convert.runtime.limits import JSON_BYTES

ALONE = "move the checkpoint into a folder of its own, to convert it without that file"
_ACTIVATIONS = {
    "gelu": "erf",
    "gelu_python": "erf",
    "gelu_new": "tanh",
    "gelu_fast": "tanh",
    "gelu_pytorch_tanh": "tanh",
    "quick_gelu": "quick",
    "relu": "relu",
}


def read_json(path: Path) -> dict[str, Any] | None:
    """Read a JSON object from a file; None if there is no such file."""
    if not path.is_file():
        return None
    problem = ""
    try:
        data = json.loads(read_input(path, JSON_BYTES))
        if isinstance(data, dict):
            return data
        problem = "is no JSON object"
    except OSError as error:
        problem = f"cannot be read: {error.strerror or error}"
    except (ValueError, RecursionError):
        problem = "is no JSON"
    raise CheckpointError(
        problem,
        where=str(path),
        expected="what save_pretrained wrote beside the checkpoint",
        hint=ALONE,
    )


class Reader:
    """Values of one JSON object, checked."""

    def __init__(self, data: Mapping[str, Any], path: Path) -> None:
        self.data, self.path = data, path

    def wrong(self, key: str, expected: str) -> CheckpointError:
        """The error that says so of a key's value."""
        return CheckpointError(
            f"{key} is {str(self.data[key])[:60]!a}",
            where=str(self.path),
            expected=expected,
            hint=ALONE,
        )

    def whole(self, key: str) -> int:
        """A positive whole number; like all of these, raises CheckpointError if it is none."""
        value = self.data[key]
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 1 << 20:
            raise self.wrong(key, "a positive whole number")
        return value

    def number(self, key: str, low: float = 0, high: float = 1) -> float:
        """A number between two others."""
        value = self.data[key]
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self.wrong(key, "a number")
        if not low < value < high:  # as NaN is not
            raise self.wrong(key, f"a number between {low:g} and {high:g}")
        return float(value)

    def sides(self, key: str) -> tuple[int, int]:
        """One side of a square, or height and width."""
        match self.data[key]:
            case [int(height), int(width)] if 0 < height < 1 << 16 and 0 < width < 1 << 16:
                return height, width
            case bool():
                pass
            case int(side) if 0 < side < 1 << 16:
                return side, side
        raise self.wrong(key, "a side in pixels, or height and width")

    def flag(self, key: str) -> bool:
        """True or false."""
        if not isinstance(self.data[key], bool):
            raise self.wrong(key, "true or false")
        return bool(self.data[key])

    def activation(self, key: str) -> str:
        """An activation of transformers', as `TransformerConfig.gelu` has it."""
        value = self.data[key]
        if not isinstance(value, str) or value not in _ACTIVATIONS:
            raise self.wrong(key, f"an activation that is known here: {', '.join(_ACTIVATIONS)}")
        return _ACTIVATIONS[value]

    def gated(self) -> bool:
        """Whether the MLPs are DINOv3's SwiGLU, so that hidden_act is no GELU."""
        if self.data.get("use_gated_mlp", False) is False:
            return False
        if self.flag("use_gated_mlp") and self.data["hidden_act"] not in ("silu", "swish"):
            raise self.wrong("hidden_act", "silu, where use_gated_mlp is true")
        return True

    def channels(self, key: str) -> tuple[float, ...]:
        """Three numbers, for red, green and blue."""
        match self.data[key]:
            case [*values] if len(values) == 3 and all(
                isinstance(v, (int, float)) and not isinstance(v, bool) and math.isfinite(v)
                for v in values
            ):
                return tuple(map(float, values))
        raise self.wrong(key, "three numbers, for red, green and blue")
