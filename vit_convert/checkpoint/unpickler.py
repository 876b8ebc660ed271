"""A pickle machine that makes data and nothing else.

It is our own, rather than a subclass of `pickle.Unpickler`, because that class still calls, sets
attributes on and allocates for whatever lies on its stack, and only `find_class` can be replaced:
BUILD can reach the allow-listed functions themselves, LONG_BINPUT grows the memo to any size, and
BYTEARRAY8 allocates before it reads. Here opcodes are decoded by the standard library's
`pickletools.genops`, which makes numbers and strings only; no name is ever looked up or imported.
"""

from __future__ import annotations

import struct
import warnings
from typing import IO, Any

from vit_convert.checkpoint.pickle_machine import HANDLERS
from vit_convert.checkpoint.pickle_stacks import (
    DamagedError,
    Machine,
    PersistentLoad,
    no_persistent,
)
from vit_convert.errors import CheckpointError


def load_pickle(
    stream: IO[bytes], size: int, where: str, persistent: PersistentLoad = no_persistent
) -> Any:
    """The value that a pickle describes, of plain types, `Inert`, `Global` and lazy tensors.

    Args:
        stream: read from its position, which then is behind the pickle.
        size: bytes of the file, after which the limits go.
        where: the file, for messages.
        persistent: makes what a persistent id stands for.

    Raises:
        CheckpointError: it is damaged or truncated, or asks for something impossible.
    """
    import pickletools

    machine = Machine(persistent, size)
    try:
        with warnings.catch_warnings():  # of escapes in damaged text strings
            warnings.simplefilter("ignore")
            for opcode, argument, _ in pickletools.genops(stream):
                if opcode.name == "STOP":
                    return machine.pop()
                handler = HANDLERS.get(opcode.name)
                if handler is None:
                    raise DamagedError(f"opcode {opcode.name}, which no checkpoint has")
                machine.step(opcode.name)
                handler(machine, argument)
    except CheckpointError as error:
        raise CheckpointError(
            error.what, where=error.where or where, expected=error.expected, hint=error.hint
        ) from None
    except (
        DamagedError,
        ValueError,
        IndexError,
        KeyError,
        OverflowError,
        struct.error,
        MemoryError,
        RecursionError,
    ) as error:
        raise CheckpointError(
            "the pickle in it is damaged or truncated",
            where=where,
            expected="a complete checkpoint",
            hint="download or copy it again",
        ) from error
    raise AssertionError("genops ends with STOP or raises")
