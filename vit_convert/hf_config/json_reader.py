"""Values of a stranger's JSON object, or of a checkpoint's, each checked before it is used."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vit_convert.architectures.base import CHOICES, Fact, Overrides
from vit_convert.architectures.ranges import OutOfRangeError, checked
from vit_convert.checkpoint.inert import printable
from vit_convert.errors import CheckpointError, option_of
from vit_convert.runtime.input_file import read_input
from vit_convert.runtime.limits import JSON_BYTES, WIDTH

ALONE = "move the checkpoint into a folder of its own, to convert it without that file"
_ACTIVATIONS = {
    "gelu": "erf",
    "gelu_python": "erf",
    "gelu_new": "tanh",
    "gelu_fast": "tanh",
    "gelu_pytorch_tanh": "tanh",
    "quick_gelu": "quick",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
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
    """Values of one JSON object, checked.

    Args:
        data: the object.
        path: the file that it comes from.
        prefix: what leads to it, "pretrained_cfg.".
        inside: whether the file is the checkpoint itself.
        absent: the keys that are not in the file, so that data holds what that means.
        given: the fields that the user states, so that the file may say anything of them.
    """

    def __init__(
        self,
        data: Mapping[str, Any],
        path: Path,
        prefix: str = "",
        inside: bool = False,
        absent: frozenset[str] = frozenset(),
        given: frozenset[str] = frozenset(),
    ) -> None:
        self.data, self.path, self.prefix = data, path, prefix
        self.inside, self.absent, self.given = inside, absent, given

    def part(self, key: str) -> Reader:
        """The reader of an object inside this one; of an empty one, where there is none."""
        value = self.data.get(key)
        if value is not None and not isinstance(value, Mapping):
            raise self.wrong(key, "a table")
        prefix = f"{self.prefix}{key}."
        return Reader(value or {}, self.path, prefix, self.inside, given=self.given)

    def with_defaults(self, defaults: Mapping[str, Any]) -> Reader:
        """The same with values for the keys that are absent or null."""
        stated = {key: value for key, value in self.data.items() if value is not None}
        absent = frozenset(defaults) - frozenset(stated)
        data = {**defaults, **stated}
        return Reader(data, self.path, self.prefix, self.inside, absent, self.given)

    def why(self, key: str) -> str:
        """Where a value comes from, for people."""
        name = printable(f"{self.prefix}{key}")
        place = f"{name} in the checkpoint" if self.inside else f"{self.path.name}: {name}"
        return f"{place}, which is absent and has a default" if key in self.absent else place

    def says(self, key: str) -> bool:
        """Whether there is a value."""
        return self.data.get(key) is not None

    def wrong(
        self, key: str, expected: str, meaning: str = "", instead: str = ""
    ) -> CheckpointError:
        """The error that says so of a key's value.

        Args:
            key: the key.
            expected: what it could be.
            meaning: what the value probably means.
            instead: the option that states what is right.
        """
        shown = f"{self.prefix}{key} is {str(self.data[key])[:60]!a}"
        hints = [f"{instead} states it" if instead else "", "" if self.inside else ALONE]
        return CheckpointError(
            f"{shown}: {meaning}" if meaning else shown,
            where=str(self.path),
            expected=expected,
            hint="; or ".join(filter(None, hints)),
        )

    def field(self, name: str, key: str, value: Any = None) -> Fact:
        """The value of a field of the configuration or the preprocessing.

        Args:
            name: the field.
            key: the key.
            value: what the key's value means, if it is not the field's.

        Raises:
            CheckpointError: no model has it.
        """
        wanted = self.data[key] if value is None else value
        try:
            found = checked(name, wanted, CHOICES.get(name, ()))
        except OutOfRangeError as error:
            if name in self.given:  # this is not heard
                return Fact(wanted, "assumed", self.why(key))
            option = option_of(name) if hasattr(Overrides, name) else ""
            instead = f"{option} {error.instead}".strip() if option else ""
            raise self.wrong(key, error.expected, error.meaning, instead) from None
        return Fact(found, "read", self.why(key))

    def whole(self, key: str) -> int:
        """A positive whole number; like all of these, raises CheckpointError if it is none."""
        value = self.data[key]
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole or not 0 < value <= WIDTH.allowed():
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
        """Whether the MLPs are DINOv3's or AIMv2's SwiGLU, so that hidden_act is no GELU."""
        always = self.data.get("model_type") == "aimv2_vision_model"
        if not always and not ("use_gated_mlp" in self.data and self.flag("use_gated_mlp")):
            return False
        if self.data["hidden_act"] not in ("silu", "swish"):
            raise self.wrong("hidden_act", "silu, in a gated MLP")
        return True
