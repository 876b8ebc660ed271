"""What values the fields of a configuration can have, and what a value outside probably means.

The same limits hold for options, Python arguments, files beside a checkpoint and what stands in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vit_convert.runtime.limits import CLASSES, WIDTH

MAX_SIDE = 1 << 14  # pixels; position embeddings of more patches would not fit into memory
_MAX_EPS = 0.1  # published ones are 1e-12 to 1e-3
_MAX_BASE = 1e9
_MAX_DEPTH = 1e6  # metres
_MOST_TAPS = 64
_SIDES = ("image_size", "patch_size", "rotary_grid")
_FLAGS = ("pool_prefix",)
_WHOLE = ("num_heads", "pool_heads", "head_dim", "embed_dim", "depth", "mlp_dim", "in_channels")
_EXPECTED = {
    "mean": "three numbers between 0 and 1, for pixels scaled to 0..1",
    "std": "three numbers above 0 and at most 1, for pixels scaled to 0..1",
    "crop_pct": "a fraction above 0 and at most 1",
    "norm_eps": f"a number above 0 and under {_MAX_EPS:g}, such as 1e-6",
    "rotary_base": f"a number above 1 and at most {_MAX_BASE:g}, such as 100 or 10000",
    "max_depth": f"metres, a number above 0 and at most {_MAX_DEPTH:g}, such as 20 or 80",
    "taps": "numbers of blocks, counted from 0, such as 2,5,8,11",
    "variant": "the name of a published model",
}


class OutOfRangeError(Exception):
    """A value that a field cannot have.

    Args:
        expected: what it can have.
        meaning: what the value probably means, "" if there is no telling.
        instead: what to write in its place, "" if there is no telling.
    """

    def __init__(self, expected: str, meaning: str = "", instead: str = "") -> None:
        super().__init__(expected)
        self.expected, self.meaning, self.instead = expected, meaning, instead


def checked(name: str, value: Any, choices: Sequence[str] = ()) -> Any:
    """The value of a field as configurations have it: floats as floats, and tuples for lists.

    Args:
        name: of the field.
        value: anything.
        choices: its words, if it is one of a few.

    Raises:
        OutOfRangeError: the field cannot have it.
    """
    if choices:
        if not isinstance(value, str) or value not in choices:
            raise OutOfRangeError(", ".join(choices))
        return value
    if name in ("mean", "std"):
        return _channels(name, value)
    if name in _SIDES:
        return _sides(value)
    if name == "taps":
        return _taps(value)
    if name in _FLAGS:
        if not isinstance(value, bool):
            raise OutOfRangeError("true or false")
        return value
    if name in _WHOLE:
        return _whole(value, 1, WIDTH.allowed())
    if name == "num_classes":
        return _whole(value, 0, CLASSES.allowed())
    if name == "variant":
        if not isinstance(value, str) or not value:
            raise OutOfRangeError(_EXPECTED[name])
        return value
    return _number(name, value)


def as_text(value: Any, name: str = "") -> str:
    """A value as an option has it: 0.5,0.5,0.5 and 224x224, unless it is of another field."""
    if isinstance(value, (tuple, list)):
        whole = len(value) == 2 and all(isinstance(side, int) for side in value)
        return ("x" if whole and name != "taps" else ",").join(map(as_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300


def _whole(value: Any, low: int, high: int, expected: str = "") -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise OutOfRangeError(expected or f"a whole number from {low} to {high}")
    return value


def _sides(value: Any) -> tuple[int, int]:
    expected = f"height and width, whole numbers from 1 to {MAX_SIDE}"
    sides = value if isinstance(value, (tuple, list)) else (value, value)
    if len(sides) != 2:
        raise OutOfRangeError(expected)
    height, width = (_whole(side, 1, MAX_SIDE, expected) for side in sides)
    return height, width


def _taps(value: Any) -> tuple[int, ...]:
    expected = _EXPECTED["taps"]
    if not isinstance(value, (tuple, list)) or not 0 < len(value) <= _MOST_TAPS:
        raise OutOfRangeError(expected)
    return tuple(_whole(block, 0, WIDTH.allowed(), expected) for block in value)


def _channels(name: str, value: Any) -> tuple[float, float, float]:
    expected = _EXPECTED[name]
    if not isinstance(value, (tuple, list)) or len(value) != 3 or not all(map(_is_number, value)):
        raise OutOfRangeError(expected)
    red, green, blue = map(float, value)
    if name == "mean" and all(0 <= part <= 1 for part in (red, green, blue)):
        return red, green, blue
    if name == "std" and all(0 < part <= 1 for part in (red, green, blue)):
        return red, green, blue
    if all(0 <= part <= 255 for part in (red, green, blue)) and max(red, green, blue) > 1:
        word = "means" if name == "mean" else "standard deviations"
        scaled = ",".join(f"{part / 255:.4g}" for part in (red, green, blue))
        meaning = f"these look like {word} of pixels in 0..255"
        raise OutOfRangeError(expected, f"{meaning}; divided by 255 they are {scaled}", scaled)
    raise OutOfRangeError(expected)


def _number(name: str, value: Any) -> float:
    expected = _EXPECTED.get(name, "a number")
    if not _is_number(value):
        raise OutOfRangeError(expected)
    number = float(value)
    if name == "crop_pct":
        if 0 < number <= 1:
            return number
        if 1 < number <= 100:
            fraction = f"{number / 100:g}"
            raise OutOfRangeError(expected, f"{number:g} percent is {fraction}", fraction)
        raise OutOfRangeError(expected)
    if name == "norm_eps":
        if 0 < number < _MAX_EPS:
            return number
        exponent = abs(number)
        if exponent == int(exponent) and 1 < exponent <= 16:
            likely = f"1e-{int(exponent)}"
            raise OutOfRangeError(expected, f"this looks like the exponent of {likely}", likely)
        raise OutOfRangeError(expected)
    if name == "max_depth":
        if 0 < number <= _MAX_DEPTH:
            return number
        raise OutOfRangeError(expected)
    if name == "rotary_base":
        if 1 < number <= _MAX_BASE:
            return number
        raise OutOfRangeError(expected)
    return number
