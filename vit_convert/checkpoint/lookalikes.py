"""Recognises common files that are not checkpoints, so that an error can name them."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

from vit_convert.checkpoint.safetensors_file import is_safetensors
from vit_convert.errors import CheckpointError
from vit_convert.runtime.input_file import read_head

EXPECTED = "a PyTorch checkpoint (.pth, .pt, .bin), a .safetensors or an .npz file"
_AGAIN = "download the file itself: the address may want a login, or /resolve/ instead of /blob/"
_UNKNOWN = "not a checkpoint of any kind that is known here"
_HEAD = 4096
_H5 = "vit-convert export takes Keras models; vit-convert keras2torch turns one back"


@dataclass(frozen=True)
class _Lookalike:
    start: bytes
    what: str
    hint: str = ""
    offset: int = 0


_KNOWN = (
    _Lookalike(b"version https://git-lfs", "a git-lfs pointer, not the file", "git lfs pull"),
    _Lookalike(b"\x89HDF\r\n\x1a\n", "an HDF5 file, probably a Keras model", _H5),
    _Lookalike(b"\xff\xd8\xff", "a JPEG picture"),
    _Lookalike(b"\x89PNG", "a PNG picture"),
    _Lookalike(b"GIF8", "a GIF picture"),
    _Lookalike(b"WEBP", "a WebP picture", offset=8),
    _Lookalike(b"%PDF", "a PDF document"),
    _Lookalike(b"TFL3", "a TFLite model", "vit-convert verify, predict or benchmark", 4),
    _Lookalike(b"GGUF", "a GGUF model"),
    _Lookalike(b"\x93NUMPY", "a single NumPy array", "numpy.savez with every array by its name"),
    _Lookalike(b"\x1f\x8b", "a gzip archive", "unpack it first"),
    _Lookalike(b"BZh", "a bzip2 archive", "unpack it first"),
    _Lookalike(b"\xfd7zXZ", "an xz archive", "unpack it first"),
    _Lookalike(b"\x28\xb5\x2f\xfd", "a zstd archive", "unpack it first"),
    _Lookalike(b"7z\xbc\xaf", "a 7z archive", "unpack it first"),
    _Lookalike(b"Rar!", "a RAR archive", "unpack it first"),
    _Lookalike(b"ustar", "a tar archive", "unpack it first", 257),
    _Lookalike(b"\x7fELF", "a program"),
)


def not_a_checkpoint(head: bytes, where: str) -> CheckpointError:
    """The error for a file that begins like this.

    Args:
        head: at least its first 512 bytes, if it has as many.
        where: the file.
    """
    what, hint = _looks_like(head)
    return CheckpointError(f"this is {what}", where=where, expected=EXPECTED, hint=hint)


def looks_like(path: Path) -> str:
    """Name the kind of a file that cannot be used, such as "a JPEG picture"; "" if it is unknown.

    Raises:
        OSError: it cannot be read.
    """
    if not path.is_file():
        return "no regular file"
    head = read_head(path, _HEAD)
    if head.startswith(b"PK"):
        return _archive(path)
    if is_safetensors(head):
        return "a .safetensors checkpoint"
    what, _ = _looks_like(head)
    return "" if what == _UNKNOWN else what


def _archive(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        return "a zip archive, truncated or damaged"
    for ending, what in (
        ("model.weights.h5", "a .keras archive, a Keras model"),
        ("data.pkl", "a PyTorch checkpoint"),
        (".npy", "an .npz file of arrays"),
    ):
        if any(name.endswith(ending) for name in names):
            return what
    return "a zip archive"


def _looks_like(head: bytes) -> tuple[str, str]:
    for known in _KNOWN:
        if head[known.offset :].startswith(known.start):
            return known.what, known.hint
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html")):
        return "an HTML page, not the file itself", _AGAIN
    if b'"weight_map"' in head:
        return "the index of a checkpoint in several files", "one of the files that it lists"
    if text.startswith((b"{", b"[")) and _is_text(head):
        return "a JSON text", ""
    if _is_text(head):
        return f"a text that begins with {head[:40].decode('utf-8', 'replace')!r}", ""
    if not any(head):
        return "a file of zeros: a download that broke off?", "download it again"
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "a Python pickle that torch.save did not write", "save it again with torch.save"
    return _UNKNOWN, ""


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start == 0 or error.start < len(head) - 3:  # no character cut off by `head`
            return False
        text = head[: error.start].decode("utf-8")
    return all(char.isprintable() or char in "\r\n\t" for char in text)


def not_a_checkpoint_archive(names: list[str], where: str) -> CheckpointError:
    """The error for a zip archive with these members."""
    inner = [name for name in names if name.endswith((".pth", ".pt", ".bin", ".safetensors"))]
    if any(name.endswith("model.weights.h5") for name in names):
        what, hint = "a .keras archive, a Keras model", _H5
    elif inner:
        what, hint = "a zip archive with a checkpoint in it", f"unpack {inner[0]!a} first"
    else:
        what, hint = "a zip archive without a checkpoint's data.pkl or arrays", ""
    return CheckpointError(f"this is {what}", where=where, expected=EXPECTED, hint=hint)
