"""Opcodes of pickles that no pickler would write."""

import struct


def text(value: str) -> bytes:
    content = value.encode()
    return b"X" + struct.pack("<I", len(content)) + content


def number(value: int) -> bytes:
    return b"\x8a\x09" + value.to_bytes(9, "little", signed=True)


def tensor(
    shape: tuple[int, ...] = (3,),
    stride: tuple[int, ...] = (1,),
    offset: int = 0,
    count: int = 3,
    key: str = "0",
    kind: str = "FloatStorage",
) -> bytes:
    """The opcodes of `_rebuild_tensor_v2`, with any numbers."""
    storage = b"(" + text("storage") + f"ctorch\n{kind}\n".encode() + text(key) + text("cpu")
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n("
        + (storage + number(count) + b"tQ" + number(offset))
        + (b"(" + b"".join(map(number, shape)) + b"t")
        + (b"(" + b"".join(map(number, stride)) + b"t")
        + b"\x89}tR"
    )


def state(*items: bytes) -> bytes:
    """A pickle of {"model": {"w": tensor, "0": ..., "1": ...}}."""
    entries = b"".join(text(str(place)) + item for place, item in enumerate(items))
    return (
        b"\x80\x02}" + text("model") + b"}" + text("w") + tensor() + b"s" + b"s(" + entries + b"u."
    )
