"""Logits that a source model gave once, in a file: parity without PyTorch.

An .npz of NumPy with

    images            (n, height, width, channels) float32, normalised; or, of a text tower,
                      tokens (n, context), whole numbers
    logits            (n, classes) float32, or what else the model gives
    names             optional: (n,) what the images are
    block:NAME        optional: (m, tokens, dim) what each block gave for the first m images, where
                      NAME is embeddings, blocks.0, ...: see `Architecture.block_names`
    made_with         optional: the source model's framework and versions
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vit_convert.checkpoint.file_bytes import FileBytes
from vit_convert.checkpoint.npz import read_npz
from vit_convert.checkpoint.zip_archive import ZipArchive
from vit_convert.errors import ArtifactError, similar_to
from vit_convert.runtime.input_file import open_input

_BLOCK = "block:"
_HINT = (
    "record it with vit_convert.parity.recorded.record_reference, "
    "or --source, which takes a checkpoint"
)
# what reading a file that is no .npz, or half of one, raises
_BROKEN = (OSError, EOFError, ValueError, KeyError, NotImplementedError, SyntaxError,
           zipfile.BadZipFile, zlib.error, MemoryError, RecursionError, TypeError)  # fmt: skip


@dataclass(frozen=True)
class Recording:
    """The contents of such a file; see the module's docstring for the shapes.

    Attributes:
        images, logits: as recorded, in float32; tokens in place of images in int32.
        blocks: name -> array, or empty.
        names: what the images are, or ().
        made_with: framework and versions, or "".
    """

    images: np.ndarray
    logits: np.ndarray
    blocks: dict[str, np.ndarray] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    made_with: str = ""


def record_reference(
    path: str | Path,
    images: np.ndarray,
    logits: np.ndarray,
    blocks: Mapping[str, np.ndarray] | None = None,
    names: Sequence[str] | None = None,
    made_with: str = "",
) -> None:
    """Write what a source model gave for some images; an existing file is overwritten.

    Args:
        path: the .npz to write.
        images: (n, height, width, channels), normalised; or tokens (n, context), whole numbers.
        logits: (n, classes), or what else the model gives.
        blocks: name -> (m, tokens, dim) for the first m images, so that a difference can be
            located; see `vit_convert.parity.sources.timm_source.block_outputs`.
        names: what the images are, one each.
        made_with: framework and versions, for reports.

    Raises:
        ArtifactError: the shapes do not fit together, or values are not finite.
        OSError: the file cannot be written.
    """
    given = np.asarray(images)
    arrays: dict[str, np.ndarray] = {"logits": np.asarray(logits, np.float32)}
    if np.issubdtype(given.dtype, np.integer):
        arrays["tokens"] = given
    else:
        arrays["images"] = given.astype(np.float32)
    if names is not None:
        arrays["names"] = np.array(names, dtype=str)
    if made_with:
        arrays["made_with"] = np.array(made_with)
    for name, array in (blocks or {}).items():
        arrays[_BLOCK + name] = np.asarray(array, np.float32)
    _check(arrays, str(path))
    with Path(path).open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # numpy's stub of **kwds


def read_reference(path: str | Path) -> Recording:
    """The inverse of `record_reference`. Nothing that is pickled in the file is loaded.

    Raises:
        ArtifactError: the file does not exist, is no .npz, or does not hold such a recording.
    """
    arrays = _load(Path(path))
    _check(arrays, str(path))
    return Recording(
        images=arrays["tokens"].astype(np.int32)
        if "tokens" in arrays
        else arrays["images"].astype(np.float32),
        logits=arrays["logits"].astype(np.float32),
        blocks={
            name.removeprefix(_BLOCK): array.astype(np.float32)
            for name, array in arrays.items()
            if name.startswith(_BLOCK)
        },
        names=_texts(arrays, "names", str(path)),
        made_with="".join(_texts(arrays, "made_with", str(path))),
    )


def _texts(arrays: Mapping[str, np.ndarray], name: str, where: str) -> tuple[str, ...]:
    try:
        return tuple(str(text) for text in np.atleast_1d(arrays[name])) if name in arrays else ()
    except (SystemError, ValueError) as error:  # NumPy takes any four bytes for a character
        raise ArtifactError(f"`{name}` is no text", where=where, hint=_HINT) from error


def _load(path: Path) -> dict[str, np.ndarray]:
    try:
        with os.fdopen(open_input(path), "rb") as file:  # NumPy would leave half an archive open
            if zipfile.is_zipfile(file):
                read_npz(ZipArchive(FileBytes.open(path)))  # which checks all sizes that it says
            file.seek(0)
            arrays = np.load(file, allow_pickle=False)
            if not isinstance(arrays, np.lib.npyio.NpzFile):
                raise ValueError("it is a single array")
            with arrays:
                return {name: arrays[name] for name in arrays.files}
    except FileNotFoundError as error:
        raise ArtifactError(
            "there is no such file",
            where=str(path),
            expected="an .npz with the arrays `images` and `logits`",
            hint=similar_to(path) or _HINT,
        ) from error
    except _BROKEN as error:
        raise ArtifactError(
            f"cannot be read: {error}",
            where=str(path),
            expected="an .npz with the arrays `images` and `logits`",
            hint=_HINT,
        ) from error


def _check(arrays: Mapping[str, np.ndarray], where: str) -> None:
    def fail(what: str, expected: str) -> ArtifactError:
        return ArtifactError(what, where=where, expected=expected, hint=_HINT)

    entry, dims_of_entry = ("tokens", 2) if "tokens" in arrays else ("images", 4)
    for name, dims in ((entry, dims_of_entry), ("logits", 2)):
        if name not in arrays:
            raise fail(f"holds no array `{name}`", "`images` and `logits`")
        if arrays[name].ndim != dims or not arrays[name].size:
            raise fail(f"`{name}` has shape {arrays[name].shape}", f"{dims} dimensions, none empty")
    count = len(arrays[entry])
    if len(arrays["logits"]) != count:
        raise fail(
            f"{count} {entry}, but logits of {len(arrays['logits'])}", "logits of each of them"
        )
    if "names" in arrays and arrays["names"].shape != (count,):
        raise fail(f"`names` has shape {arrays['names'].shape}", f"{count} names")
    blocks = [name for name in arrays if name.startswith(_BLOCK)]
    lengths = {len(arrays[name]) if arrays[name].ndim == 3 else 0 for name in blocks}
    if blocks and (len(lengths) > 1 or not 1 <= min(lengths) <= count):
        raise fail("the blocks' arrays do not fit", "(m, tokens, dim), the same m <= n for all")
    if entry == "tokens" and not np.issubdtype(arrays["tokens"].dtype, np.integer):
        raise fail(f"`tokens` is {arrays['tokens'].dtype}", "whole numbers")
    for name in (*(["images"] if entry == "images" else []), "logits", *blocks):
        if not np.issubdtype(arrays[name].dtype, np.floating):
            raise fail(f"`{name}` is {arrays[name].dtype}", "floating point")
        if not np.isfinite(arrays[name]).all():
            raise fail(f"`{name}` holds NaN or infinity", "finite values")
