"""The allowlist: the classes and functions that a pickle may name. All others become an `Inert`.

None of them is imported or called. Each entry is a function of ours that takes the pickled
arguments and returns a plain value, or NotImplemented if the arguments are unusual.
"""

from __future__ import annotations

import datetime
import sys
from collections.abc import Callable
from typing import Any

from vit_convert.checkpoint import numpy_pickles
from vit_convert.checkpoint.inert import Global, Inert
from vit_convert.checkpoint.torch_pickles import TORCH
from vit_convert.errors import CheckpointError

Construct = Callable[[tuple[Any, ...]], Any]
Key = Callable[[Any], Any]
KeyedConstruct = Callable[[tuple[Any, ...], Key], Any]
_MAX_KEY_PARTS = 64  # hashing nested tuples recurses in C, without a guard
_MAX_KEY_BITS = 256
# Integers below it are their own hashes, so that two of them cannot have the same
_HASH_BITS = sys.hash_info.modulus.bit_length() - 1


def hashable(value: Any) -> Any:
    """The value, if it can safely be a dictionary key or a member of a set.

    Raises:
        CheckpointError: it cannot.
    """
    parts = [value]
    for part in parts:  # grows below
        if isinstance(part, (tuple, frozenset)):
            if len(parts) + len(part) <= _MAX_KEY_PARTS:
                parts.extend(part)
                continue
        elif isinstance(part, int):
            if part.bit_length() <= _MAX_KEY_BITS:
                continue
        elif part is None or isinstance(part, (str, bytes, float, complex, Global, Inert)):
            continue
        raise CheckpointError("the pickle uses a value as a dictionary key that cannot be one")
    return value


def is_short(value: Any) -> bool:
    """Whether it is an integer, or nothing, whose hash no other such value has."""
    return value is None or (isinstance(value, int) and value.bit_length() < _HASH_BITS)


def _mapping(args: tuple[Any, ...], key: Key) -> Any:
    match args:
        case ():
            return {}
        case (dict() as items,):
            return dict(items)
        case (list() as pairs,) if all(isinstance(p, (list, tuple)) and len(p) == 2 for p in pairs):
            return {key(name): value for name, value in pairs}
    return NotImplemented


def _defaultdict(args: tuple[Any, ...], key: Key) -> Any:
    return _mapping(args[1:], key)


def _sequence(made: Callable[..., Any]) -> Callable[[tuple[Any, ...]], Any]:
    def make(args: tuple[Any, ...]) -> Any:
        match args:
            case ():
                return made()
            case (list() | tuple() | set() | frozenset() as items,):
                return made(items)
        return NotImplemented

    return make


def _members(made: Callable[..., Any]) -> KeyedConstruct:
    make = _sequence(made)

    def checked(args: tuple[Any, ...], key: Key) -> Any:
        if args and isinstance(args[0], (list, tuple, set, frozenset)):
            for member in args[0]:
                key(member)
        return make(args)

    return checked


def _bytes(args: tuple[Any, ...]) -> Any:
    return b"" if args == () else NotImplemented  # bytes(n) would be an allocation


def _bytearray(args: tuple[Any, ...]) -> Any:
    match args:
        case ():
            return bytearray()
        case (bytes() | bytearray() as content,):
            return bytearray(content)
        case (str() as text, str()):
            return _encode((text, "latin1"))
    return NotImplemented


def _encode(args: tuple[Any, ...]) -> Any:
    """Read bytes as pickle protocol 2 writes them: a string and its encoding."""
    match args:
        case (str() as text, "latin1" | "latin-1"):
            content = numpy_pickles.as_bytes(text)
            return NotImplemented if content is None else content
    return NotImplemented


def _complex(args: tuple[Any, ...]) -> Any:
    match args:
        case (float() as real, float() as imaginary):
            return complex(real, imaginary)
    return NotImplemented


def _path(args: tuple[Any, ...]) -> Any:
    if all(isinstance(part, str) for part in args):
        return "/".join(args).replace("//", "/", 1) if args else "."
    return NotImplemented


def _datetime(args: tuple[Any, ...]) -> Any:
    match args:
        case (raw,):
            content = numpy_pickles.as_bytes(raw)
            if content is not None and len(content) == 10:
                year, micro = int.from_bytes(content[:2], "big"), int.from_bytes(content[7:], "big")
                month, day, hour, minute, second = content[2:7]
                try:
                    return datetime.datetime(
                        year, month & 0x7F, day, hour, minute, second, micro, fold=month >> 7
                    )
                except ValueError:
                    return NotImplemented
    return NotImplemented


def _date(args: tuple[Any, ...]) -> Any:
    match args:
        case (raw,):
            content = numpy_pickles.as_bytes(raw)
            if content is not None and len(content) == 4:
                try:
                    return datetime.date(int.from_bytes(content[:2], "big"), *content[2:])
                except ValueError:
                    return NotImplemented
    return NotImplemented


def _timedelta(args: tuple[Any, ...]) -> Any:
    match args:
        case (int() as days, int() as seconds, int() as micros):
            try:
                return datetime.timedelta(days, seconds, micros)
            except OverflowError:
                return NotImplemented
    return NotImplemented


_PLAIN: dict[tuple[str, str], Construct] = {
    ("_codecs", "encode"): _encode,
    ("datetime", "datetime"): _datetime,
    ("datetime", "date"): _date,
    ("datetime", "timedelta"): _timedelta,
    ("numpy", "dtype"): numpy_pickles.dtype_of,
}
_BUILTINS: dict[str, Construct] = {
    "list": _sequence(list),
    "tuple": _sequence(tuple),
    "bytes": _bytes,
    "bytearray": _bytearray,
    "complex": _complex,
}
_NUMPY: dict[tuple[str, str], Construct] = {
    ("multiarray", "scalar"): numpy_pickles.scalar,
    ("multiarray", "_reconstruct"): numpy_pickles.reconstruct,
    ("numeric", "_frombuffer"): numpy_pickles.frombuffer,
}
_PATHS = ("PosixPath", "WindowsPath", "Path", "PurePosixPath", "PureWindowsPath", "PurePath")

# those that hash, which is counted
_KEYED_BUILTINS: dict[str, KeyedConstruct] = {
    "dict": _mapping,
    "set": _members(set),
    "frozenset": _members(frozenset),
}
KEYED: dict[tuple[str, str], KeyedConstruct] = {
    ("collections", "OrderedDict"): _mapping,
    ("collections", "Counter"): _mapping,
    ("collections", "defaultdict"): _defaultdict,
    **{("builtins", name): make for name, make in _KEYED_BUILTINS.items()},
    **{("__builtin__", name): make for name, make in _KEYED_BUILTINS.items()},  # Python 2
}
CONSTRUCTS: dict[tuple[str, str], Construct] = {
    **_PLAIN,
    **TORCH,
    **{("builtins", name): make for name, make in _BUILTINS.items()},
    **{("__builtin__", name): make for name, make in _BUILTINS.items()},  # Python 2
    **{
        (f"numpy.{core}.{module}", name): make
        for core in ("core", "_core")
        for (module, name), make in _NUMPY.items()
    },
    **{(home, name): _path for home in ("pathlib", "pathlib._local") for name in _PATHS},
}


def call(
    function: Any, args: Any, kwargs: dict[Any, Any] | None = None, key: Key = hashable
) -> Any:
    """Return the value that stands in for `function(*args, **kwargs)`, without calling it.

    Args:
        function, args, kwargs: what the pickle asks for.
        key: as `hashable`, for each key of a dictionary and each member of a set.

    Raises:
        CheckpointError: the arguments are no tuple, or describe an impossible tensor.
    """
    if not isinstance(args, tuple):
        raise CheckpointError("the pickle is damaged: arguments that are no tuple")
    if isinstance(function, Global) and not kwargs:
        name = (function.module, function.name)
        if name in KEYED:
            made = KEYED[name](args, key)
        else:
            made = CONSTRUCTS[name](args) if name in CONSTRUCTS else NotImplemented
        if made is not NotImplemented:
            return made
    return Inert(function, args, kwargs or {})
