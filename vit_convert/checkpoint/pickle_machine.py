"""The opcodes of pickle, each as what it does to a stack of plain data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vit_convert.checkpoint.inert import Global, Inert
from vit_convert.checkpoint.numpy_pickles import NumpyArray, NumpyType
from vit_convert.checkpoint.pickle_stacks import DamagedError, Machine

Handler = Callable[[Machine, Any], None]
HANDLERS: dict[str, Handler] = {}


def _does(*names: str) -> Callable[[Handler], Handler]:
    def register(handler: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(names, handler))
        return handler

    return register


@_does("PROTO", "FRAME")
def _nothing(machine: Machine, argument: Any) -> None:
    pass


@_does("NONE", "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT")
@_does("BINFLOAT", "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE")
@_does("SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8")
def _constant(machine: Machine, argument: Any) -> None:
    machine.stack.append(argument)


@_does("MARK")
def _mark(machine: Machine, argument: Any) -> None:
    machine.below.append(machine.stack)
    machine.stack = []


@_does("POP")
def _pop(machine: Machine, argument: Any) -> None:
    if machine.stack:
        machine.stack.pop()
    else:
        machine.pop_mark()


@_does("POP_MARK")
def _pop_mark(machine: Machine, argument: Any) -> None:
    machine.pop_mark()


@_does("DUP")
def _dup(machine: Machine, argument: Any) -> None:
    machine.stack.append(machine.stack[-1])


@_does("PUT", "BINPUT", "LONG_BINPUT")
def _put(machine: Machine, argument: int) -> None:
    machine.memo[argument] = machine.stack[-1]


@_does("MEMOIZE")
def _memoize(machine: Machine, argument: Any) -> None:
    machine.memo[len(machine.memo)] = machine.stack[-1]


@_does("GET", "BINGET", "LONG_BINGET")
def _get(machine: Machine, argument: int) -> None:
    machine.stack.append(machine.memo[argument])


_FRESH: dict[str, Callable[[], Any]] = {
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_SET": set,
}


def _push(make: Callable[[], Any]) -> Handler:
    return lambda machine, argument: machine.stack.append(make())


HANDLERS.update({name: _push(make) for name, make in _FRESH.items()})


@_does("LIST")
def _list(machine: Machine, argument: Any) -> None:
    items = machine.pop_mark()
    machine.stack.append(items)


@_does("TUPLE")
def _tuple(machine: Machine, argument: Any) -> None:
    items = machine.pop_mark()
    machine.stack.append(tuple(items))


@_does("FROZENSET")
def _frozenset(machine: Machine, argument: Any) -> None:
    items = machine.pop_mark()
    machine.stack.append(frozenset(machine.key(item) for item in items))


@_does("DICT")
def _dict(machine: Machine, argument: Any) -> None:
    items = machine.pop_mark()
    made: dict[Any, Any] = {}
    _set(machine, made, items)
    machine.stack.append(made)


@_does("TUPLE1")
def _tuple1(machine: Machine, argument: Any) -> None:
    machine.stack.append((machine.pop(),))


@_does("TUPLE2")
def _tuple2(machine: Machine, argument: Any) -> None:
    second, first = machine.pop(), machine.pop()
    machine.stack.append((first, second))


@_does("TUPLE3")
def _tuple3(machine: Machine, argument: Any) -> None:
    third, second, first = machine.pop(), machine.pop(), machine.pop()
    machine.stack.append((first, second, third))


def _set(machine: Machine, target: Any, items: list[Any]) -> None:
    entries = target.entries if isinstance(target, Inert) else target
    if not isinstance(entries, dict) or len(items) % 2:
        raise DamagedError("items set on what has none")
    for key, value in zip(items[::2], items[1::2], strict=True):
        entries[machine.key(key)] = value


def _extend(target: Any, items: list[Any]) -> None:
    elements = target.elements if isinstance(target, Inert) else target
    if not isinstance(elements, list):
        raise DamagedError("items appended to what is no list")
    elements.extend(items)


@_does("SETITEM")
def _setitem(machine: Machine, argument: Any) -> None:
    value, key = machine.pop(), machine.pop()
    _set(machine, machine.stack[-1], [key, value])


@_does("SETITEMS")
def _setitems(machine: Machine, argument: Any) -> None:
    items = machine.pop_mark()
    _set(machine, machine.stack[-1], items)


@_does("APPEND")
def _append(machine: Machine, argument: Any) -> None:
    item = machine.pop()
    _extend(machine.stack[-1], [item])


@_does("APPENDS")
def _appends(machine: Machine, argument: Any) -> None:
    items = machine.pop_mark()
    _extend(machine.stack[-1], items)


@_does("ADDITEMS")
def _additems(machine: Machine, argument: Any) -> None:
    items, target = machine.pop_mark(), machine.stack[-1]
    if isinstance(target, set):
        target.update(machine.key(item) for item in items)
    else:
        _extend(target, items)


@_does("GLOBAL")
def _global(machine: Machine, argument: str) -> None:
    module, _, name = argument.partition(" ")
    machine.stack.append(Global(module, name))


@_does("STACK_GLOBAL")
def _stack_global(machine: Machine, argument: Any) -> None:
    name, module = machine.pop(), machine.pop()
    if not isinstance(name, str) or not isinstance(module, str):
        raise DamagedError("a name that is no text")
    machine.stack.append(Global(module, name))


@_does("EXT1", "EXT2", "EXT4")
def _extension(machine: Machine, argument: int) -> None:
    machine.stack.append(Global("copyreg", f"extension {argument}"))


@_does("REDUCE", "NEWOBJ")
def _call(machine: Machine, argument: Any) -> None:
    args, function = machine.pop(), machine.pop()
    machine.call(function, args)


@_does("NEWOBJ_EX")
def _call_with_names(machine: Machine, argument: Any) -> None:
    kwargs, args, function = machine.pop(), machine.pop(), machine.pop()
    if not isinstance(kwargs, dict):
        raise DamagedError("named arguments that are no dictionary")
    machine.call(function, args, kwargs)


@_does("INST")
def _inst(machine: Machine, argument: str) -> None:
    module, _, name = argument.partition(" ")
    args = tuple(machine.pop_mark())
    machine.call(Global(module, name), args)


@_does("OBJ")
def _obj(machine: Machine, argument: Any) -> None:
    function, *args = machine.pop_mark()
    machine.call(function, tuple(args))


@_does("BUILD")
def _build(machine: Machine, argument: Any) -> None:
    state, target = machine.pop(), machine.stack[-1]
    if isinstance(target, Inert):
        match state:
            case (dict(), dict()):  # attributes, and those in slots, which are merged once
                machine.charge(state)
        target.build(state)
    elif isinstance(target, (NumpyArray, NumpyType)):
        machine.charge(state)
        target.build(state)
    # of what was made plain (an OrderedDict's `_metadata`, a Parameter's attributes) it is dropped


@_does("PERSID", "BINPERSID")
def _persistent(machine: Machine, argument: Any) -> None:
    pid = machine.pop() if argument is None else argument
    machine.stack.append(machine.persistent(pid))
