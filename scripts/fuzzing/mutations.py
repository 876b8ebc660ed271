"""Ways to break a file that know how it is built: fields of headers, offsets, counts, opcodes, and
nodes of JSON. All of them follow from a random generator, so that each file can be made again."""

from __future__ import annotations

import io
import json
import pickletools
import random
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

Mutation = Callable[[bytes, random.Random], bytes]
_NUMBERS = (
    0,
    1,
    2,
    7,
    255,
    256,
    65535,
    1 << 16,
    (1 << 31) - 1,
    1 << 31,
    (1 << 32) - 1,
    1 << 40,
    (1 << 63) - 1,
    (1 << 64) - 1,
)
_VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1,
    1.5,
    1e308,
    10**9,
    10**40,
    "",
    "x",
    "\ud800",
    "\x1b[2J",
    "../x",
    "a" * 5000,
    [],
    {},
    [[[]]],
    [1, 2],
    {"a": 1},
)
_CHANGES = (1, 1, 1, 2, 3, 6)  # of one file
_MOST = 4 << 20  # bytes that a repeated opcode may come to, which else grow with each change


def broken(content: bytes, form: str, rng: random.Random) -> bytes:
    """A broken file of a format."""
    own = _OWN.get(form, ())
    for _ in range(rng.choice(_CHANGES)):
        mutate = rng.choice(own) if own and rng.random() < 0.6 else rng.choice(_ANY)
        content = mutate(content, rng) or b"\0"
    return content


def _flip(content: bytes, rng: random.Random) -> bytes:
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        if data:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def _number(content: bytes, rng: random.Random) -> bytes:
    """An integer of any width overwritten."""
    form = rng.choice(("<B", "<H", "<I", "<Q", ">I", ">H"))
    width = struct.calcsize(form)
    if len(content) <= width:
        return content
    place = rng.randrange(len(content) - width)
    (old,) = struct.unpack_from(form, content, place)
    value = rng.choice((*_NUMBERS, len(content), old + 1, old - 1, old * 2, rng.getrandbits(32)))
    return _put(content, place, form, value)


def _put(content: bytes, place: int, form: str, value: int) -> bytes:
    data = bytearray(content)
    struct.pack_into(form, data, place, value % (1 << 8 * struct.calcsize(form)))
    return bytes(data)


def _cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content) + 1)]


def _drop(content: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(content) + 1)
    return content[:start] + content[start + rng.randint(1, 64) :]


def _repeat(content: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(content) + 1)
    part = content[start : start + rng.randint(1, 400)]
    return content[:start] + part * rng.choice((1, 2, 50)) + content[start:]


def _move(content: bytes, rng: random.Random) -> bytes:
    here, there = (rng.randrange(len(content) + 1) for _ in range(2))
    part = content[there : there + rng.randint(1, 64)]
    return content[:here] + part + content[here + len(part) :]


_ANY: tuple[Mutation, ...] = (_flip, _flip, _number, _number, _cut, _drop, _repeat, _move)


def _zip_field(content: bytes, rng: random.Random) -> bytes:
    """A field of a header or of the directory."""
    marks = [
        m.start() for m in re.finditer(rb"PK(\x01\x02|\x03\x04|\x05\x06|\x06[\x06\x07])", content)
    ]
    if not marks:
        return content
    place = rng.choice(marks) + 4 + 2 * rng.randrange(21)
    form = rng.choice(("<H", "<I"))
    if place + 4 > len(content):
        return content
    return _put(content, place, form, rng.choice((*_NUMBERS, len(content), rng.getrandbits(16))))


def _member(change: Mutation, suffix: str) -> Mutation:
    """A change of a member's content, in an archive that is right otherwise."""

    def mutate(content: bytes, rng: random.Random) -> bytes:
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                members = [(info, archive.read(info)) for info in archive.infolist()]
        except Exception:
            return _flip(content, rng)
        chosen = [i for i, (info, _) in enumerate(members) if info.filename.endswith(suffix)]
        made = io.BytesIO()
        target = rng.choice(chosen) if chosen else -1
        with zipfile.ZipFile(made, "w") as archive:
            for index, (info, data) in enumerate(members):
                info.extra = b""
                info.compress_type = rng.choice((0, 8)) if index == target else info.compress_type
                changed = change(data, rng) if index == target else data
                try:
                    archive.writestr(info, changed)
                except Exception:
                    return _flip(content, rng)
        return made.getvalue()

    return mutate


def _opcodes(content: bytes, rng: random.Random) -> bytes:
    """An opcode left out, repeated, moved, or another in its place."""
    start = max(0, content.find(b"\x80\x02"))
    places = []
    try:
        for _, _, place in pickletools.genops(io.BytesIO(content[start:])):
            places.append(start + int(place or 0))
    except Exception:
        places = places or [start]
    index = rng.randrange(len(places))
    here = places[index]
    after = places[index + 1] if index + 1 < len(places) else len(content)
    code = content[here:after]
    other = rng.choice(pickletools.opcodes).code.encode("latin-1")
    there = rng.choice(places)
    most = max(2, _MOST // (len(code) + 1))
    return rng.choice(
        (
            content[:here] + content[after:],
            content[:here] + code * min(rng.choice((2, 3, 1000)), most) + content[after:],
            content[:there] + code + content[there:],
            content[:here] + other + content[after:],
            content[:here] + other + content[here:],
        )
    )


def _node(data: Any, rng: random.Random) -> Any:
    """A value of a JSON tree changed."""
    if isinstance(data, dict) and data and rng.random() < 0.85:
        key = rng.choice(list(data))
        if rng.random() < 0.1:
            return {k: v for k, v in data.items() if k != key}
        if rng.random() < 0.1:
            return {
                rng.choice(("", "x", "\x1b[0m", "9" * 30)) if k == key else k: v
                for k, v in data.items()
            }
        return data | {key: _node(data[key], rng)}
    if isinstance(data, list) and data and rng.random() < 0.7:
        index = rng.randrange(len(data))
        return [*data[:index], _node(data[index], rng), *data[index + rng.randint(0, 2) :]]
    if isinstance(data, (int, float)) and rng.random() < 0.5:
        return rng.choice((*_NUMBERS, -data, data + 1, data * 1000))
    return rng.choice(_VALUES)


def _json(content: bytes, rng: random.Random) -> bytes:
    try:
        return json.dumps(_node(json.loads(content), rng)).encode()
    except (ValueError, RecursionError):
        return _flip(content, rng)


def _json_inside(content: bytes, rng: random.Random) -> bytes:
    """A change of the JSON that a file holds, of the same length where that can be."""
    start = content.find(b'{"')
    if start < 0:
        return content
    try:
        _, length = json.JSONDecoder().raw_decode(content[start:].decode("latin-1"))
    except ValueError:
        return content
    made = _json(content[start : start + length], rng)[:length]
    return content[:start] + made + b" " * (length - len(made)) + content[start + length :]


def _safetensors_header(content: bytes, rng: random.Random) -> bytes:
    length = int.from_bytes(content[:8], "little")
    header = _json(content[8 : 8 + length], rng)
    return struct.pack("<Q", len(header)) + header + content[8 + length :]


_WORDS = (
    b"'<f4'",
    b"'|O'",
    b"'>f8'",
    b"'<U99'",
    b"True",
    b"(999999999999,)",
    b"(-1,)",
    b"()",
    b"0x" + b"f" * 500,
    b"[('a', '<f4')]",
    b"(3L,)",
)


def _npy_header(content: bytes, rng: random.Random) -> bytes:
    match = rng.choice([*re.finditer(rb"'[^']*'|\([^)]*\)|True|False", content[:300])] or [None])
    if match is None:
        return _flip(content, rng)
    word = rng.choice(_WORDS)
    return content[: match.start()] + word + content[match.end() :]


def _near_offset(content: bytes, rng: random.Random) -> bytes:
    """A number of four bytes that could be an offset, made a little larger or smaller."""
    if len(content) < 8:
        return content
    for _ in range(20):
        place = 4 * rng.randrange(len(content) // 4)
        (old,) = struct.unpack_from("<I", content, place) if place + 4 <= len(content) else (0,)
        if 0 < old < len(content):
            return _put(content, place, "<I", old + rng.choice((-8, -4, -1, 1, 4, 8, 64, -old)))
    return content


def _h5_field(content: bytes, rng: random.Random) -> bytes:
    """A number in a structure of HDF5: superblock, tree, heap, table of symbols, object header."""
    marks = [m.start() for m in re.finditer(rb"TREE|HEAP|SNOD|OHDR|GCOL|\x89HDF", content)]
    place = (rng.choice(marks) if marks else 0) + rng.randrange(200)
    form = rng.choice(("<B", "<H", "<I", "<Q"))
    if place + 8 > len(content):
        return content
    return _put(
        content, place, form, rng.choice((*_NUMBERS, len(content), rng.choice(marks or [0])))
    )


def _png_field(content: bytes, rng: random.Random) -> bytes:
    """A field of a PNG's chunk, with the checksum put right."""
    if not content.startswith(b"\x89PNG"):
        return _number(content, rng)
    data = bytearray(content)
    place = 8
    chunks = []
    while place + 12 <= len(data):
        chunks.append(place)
        place += 12 + int.from_bytes(data[place : place + 4], "big")
    if not chunks:  # cut off by a mutation before
        return content
    start = rng.choice(chunks[:2])
    length = int.from_bytes(data[start : start + 4], "big")
    if not length or start + 12 + length > len(data):
        return content
    data[start + 8 + rng.randrange(length)] = rng.choice((0, 1, 3, 16, 127, 255))
    crc = zlib.crc32(data[start + 4 : start + 8 + length])
    data[start + 8 + length : start + 12 + length] = crc.to_bytes(4, "big")
    return bytes(data)


_TOKENS = (
    "{i}",
    "{rest}",
    "{leaf}",
    "{body}",
    "{x}",
    "[",
    "]",
    "=",
    '"',
    "0x" + "f" * 50,
    "inf",
    "nan",
    "1979-05-27",
    "9" * 50,
    "[[rule]]",
    "[values]",
    "''",
    "\\u0000",
    "[[[[",
    ".a.b",
)


def _token(content: bytes, rng: random.Random) -> bytes:
    """A word of a text left out, repeated, or another in its place."""
    parts = re.split(r"(\s+|[\"\[\]={}.,])", content.decode("utf-8", "replace"))
    index = rng.randrange(len(parts))
    parts[index] = rng.choice((*_TOKENS, parts[index] * 2, "", rng.choice(parts)))
    return "".join(parts).encode("utf-8", "replace")


_PICKLE = _member(_opcodes, "data.pkl")
_OWN: dict[str, tuple[Mutation, ...]] = {
    "zip": (_zip_field, _PICKLE, _PICKLE, _member(_number, "data.pkl"), _member(_flip, "")),
    "torchscript": (_zip_field, _PICKLE, _member(_flip, "data.pkl")),
    "nested": (_opcodes, _opcodes, _PICKLE),
    "legacy": (_opcodes,),
    "safetensors": (_safetensors_header,),
    "npz": (_zip_field, _member(_npy_header, ".npy"), _member(_number, ".npy")),
    "reference": (_zip_field, _member(_npy_header, ".npy"), _member(_number, ".npy")),
    "h5": (_h5_field, _h5_field, _json_inside),
    "keras": (
        _zip_field,
        _member(_json, "config.json"),
        _member(_json, "config.json"),
        _member(_h5_field, ".h5"),
        _member(_flip, ".h5"),
    ),
    "tflite": (_near_offset, _near_offset, _json_inside),
    "saved_model": (_json,),
    "json": (_json,),
    "images": (_png_field,),
    "toml": (_token, _token, _token),
}
