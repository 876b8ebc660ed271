"""Records that stand in for the classes, functions and objects that a pickle names."""

from __future__ import annotations

import reprlib
from dataclasses import dataclass, field
from typing import Any


def printable(text: str) -> str:
    """Text of a file as it can be shown: no control characters, no lone surrogates, not endless."""
    shown = text if len(text) <= 120 else text[:117] + "..."
    return shown if shown.isprintable() else ascii(shown)[1:-1]


class _Glance(reprlib.Repr):
    """`repr` that ends, also where a value contains itself twice at each level."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother = 3, 60, 60

    def repr_int(self, x: int, level: int) -> str:
        """A number; Python writes none of many thousand digits."""
        bits = x.bit_length()
        return super().repr_int(x, level) if bits < 256 else f"a number of {bits} bits"


def glance(value: Any) -> str:
    """A short `repr` of anything that a file can hold, fit to be shown."""
    return printable(_Glance().repr(value))


def described(value: Any) -> str:
    """A value of a pickle for a message. Its own `repr` could be endless, and take as long: a short
    pickle can nest one list in itself a hundred times, twice at each level."""
    if isinstance(value, Global):
        return value.qualified
    if isinstance(value, str):
        return repr(printable(value))
    return f"an object of type {type(value).__name__}"


@dataclass(frozen=True)
class Global:
    """A name that a pickle asks for. It is never looked up, imported or called."""

    module: str
    name: str

    @property
    def qualified(self) -> str:
        """`module.name`, fit to be shown."""
        return printable(f"{self.module}.{self.name}")

    def __repr__(self) -> str:
        return f"<{self.qualified}>"


@dataclass(eq=False, repr=False)
class Inert:
    """A record of a call that a pickle asked for and that is not on the allowlist.

    Attributes:
        of: what was to be called or instantiated.
        args, kwargs: the arguments.
        state: what BUILD gave: usually the object's attributes.
        attributes: the object's, as far as its state is an ordinary one (with slots or not).
        elements: what was to be appended or added.
        entries: what was to be set by key.
    """

    of: Any
    args: tuple[Any, ...] = ()
    kwargs: dict[Any, Any] = field(default_factory=dict)
    state: Any = None
    attributes: dict[Any, Any] = field(default_factory=dict)
    elements: list[Any] = field(default_factory=list)
    entries: dict[Any, Any] = field(default_factory=dict)

    @property
    def type_name(self) -> str:
        """The qualified name of the class or function."""
        return self.of.qualified if isinstance(self.of, Global) else "an unknown object"

    def build(self, state: Any) -> None:
        """Take the state that BUILD gives."""
        self.state = state
        match state:
            case dict() as attributes:
                self.attributes = attributes
            case (None, dict() as attributes) | (dict() as attributes, None):
                self.attributes = attributes
            case (dict() as plain, dict() as slots):
                self.attributes = {**plain, **slots}

    def __repr__(self) -> str:
        return f"<inert {self.type_name}>"
