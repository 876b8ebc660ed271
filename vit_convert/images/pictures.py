"""Pictures as they are given to the public functions: paths, addresses, bytes, Pillow's images and
arrays, one or several."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from PIL import Image

from vit_convert.errors import UsageError, described
from vit_convert.images.decoding import ImageError, decode_image, upright_rgb
from vit_convert.images.storage import Storage, find_pictures, storage_of

PictureLike: TypeAlias = str | os.PathLike[str] | bytes | Image.Image | np.ndarray[Any, Any]
Pictures: TypeAlias = PictureLike | Iterable[PictureLike]

_EXPECTED = (
    "a path, a Pillow image, the bytes of a file, an array of uint8 and shape "
    "(height, width, 3), or a list of these"
)
_LOADING = threading.Lock()  # a Pillow image may be given twice, and changes while it is loaded


@dataclass(frozen=True)
class HeldPicture:
    """A picture that lies in memory.

    Attributes:
        name: for messages and results: the file that Pillow opened, or its place among the
            pictures that were given ("picture 3").
        content: the bytes of a file, Pillow's image, or (height, width, 3) uint8.
    """

    name: str
    content: bytes | Image.Image | np.ndarray[Any, Any]

    def decode(self) -> Image.Image:
        """It as upright RGB.

        Raises:
            ImageError: as `vit_convert.images.decoding.load_image`.
        """
        if isinstance(self.content, bytes):
            return decode_image(self.content, self.name)
        if isinstance(self.content, np.ndarray):
            return Image.fromarray(np.ascontiguousarray(self.content))
        with _LOADING:
            try:
                self.content.load()
            except Exception as error:  # as for files: Pillow's readers raise a dozen types
                raise ImageError(
                    f"cannot be loaded ({error})", where=self.name, expected="a whole picture"
                ) from error
            return upright_rgb(self.content, self.name)


@dataclass(frozen=True)
class GivenPictures:
    """The pictures that were given, none of them read.

    Attributes:
        each: names of files and objects, as `find_pictures` gives them, and pictures in memory.
        storage: where the former are.
    """

    each: tuple[str | HeldPicture, ...]
    storage: Storage

    def __len__(self) -> int:
        return len(self.each)

    @property
    def names(self) -> tuple[str, ...]:
        """Of all, in their order."""
        return tuple(map(name_of, self.each))

    def decode(self, picture: str | HeldPicture) -> Image.Image:
        """One of them as upright RGB.

        Raises:
            ImageError: it cannot be read.
        """
        return decode_picture(picture, self.storage.read)


def decode_picture(picture: str | HeldPicture, read: Callable[[str], bytes]) -> Image.Image:
    """A picture as upright RGB.

    Args:
        picture: its name, or the picture in memory.
        read: gives the bytes of a picture by its name.

    Raises:
        ImageError: it cannot be read.
    """
    if isinstance(picture, HeldPicture):
        return picture.decode()
    return decode_image(read(picture), picture)


def name_of(picture: str | HeldPicture) -> str:
    """The name of a picture, for messages and results."""
    return picture.name if isinstance(picture, HeldPicture) else picture


def given_pictures(pictures: Pictures, where: str = "pictures") -> GivenPictures:
    """Tell what somebody gave as pictures. None is read; of folders all pictures are taken.

    Args:
        pictures: paths of files and folders, addresses of them in object storage, the bytes of
            files, Pillow's images, and arrays (height, width, 3) of uint8, RGB; one or several.
            An array of rank 4 is several.
        where: what the function calls them, for messages.

    Raises:
        UsageError: it is something else.
        ImageError: there is no such file or folder, or no picture in a folder.
        MissingDependencyError: pyarrow is not installed, and an address is among them.
    """
    if isinstance(pictures, np.ndarray) and pictures.ndim == 4:
        pictures = list(pictures)
    elif isinstance(pictures, (str, os.PathLike, bytes, Image.Image, np.ndarray)):
        return _all([pictures], where, several=False)
    if not isinstance(pictures, Iterable) or isinstance(pictures, (Mapping, io.IOBase)):
        raise _refused(pictures, where)
    return _all(list(pictures), where, several=True)


def _all(pictures: list[PictureLike], where: str, several: bool) -> GivenPictures:
    found: list[str | HeldPicture] = []
    paths: list[str | Path] = []
    for place, picture in enumerate(pictures):
        here = f"{where}[{place}]" if several else where
        if isinstance(picture, (str, os.PathLike)):
            paths.append(os.fspath(picture))
            found += find_pictures(paths[-1:])
        elif isinstance(picture, bytes):
            found.append(HeldPicture(f"picture {place}", picture))
        elif isinstance(picture, Image.Image):
            name = getattr(picture, "filename", "")
            held = isinstance(name, (str, os.PathLike)) and os.fspath(name)
            found.append(HeldPicture(str(held or f"picture {place}"), picture))
        elif isinstance(picture, np.ndarray):
            _check(picture, here)
            found.append(HeldPicture(f"picture {place}", picture))
        else:
            raise _refused(picture, here)
    return GivenPictures(tuple(found), storage_of(paths))


def _check(array: np.ndarray[Any, Any], where: str) -> None:
    """Raises UsageError for an array that is no picture, or of which it is not clear which."""
    expected, hint = "an array of uint8 and shape (height, width, 3), RGB in 0..255", ""
    reason = ""
    if array.dtype != np.uint8:
        reason = ", and nothing says which value is white"
        if array.dtype.kind == "f":
            hint = "(255 * array).round().astype(numpy.uint8), where white is 1"
        elif array.dtype == np.uint16:
            hint = "(array >> 8).astype(numpy.uint8), where white is 65535"
    elif array.ndim == 3 and array.shape[0] == 3 != array.shape[2]:
        hint = "numpy.moveaxis(array, 0, -1): the channels come last"
    elif array.ndim == 3 and array.shape[2] == 4:
        hint = "array[..., :3], which drops the transparency"
    elif array.ndim == 2:
        hint = "PIL.Image.fromarray(array), which is greyscale"
    elif array.ndim == 3 and array.shape[2] == 3 and array.size:
        return
    raise UsageError(
        f"cannot be {described(array)}{reason}", where=where, expected=expected, hint=hint
    )


def _refused(given: object, where: str) -> UsageError:
    hint = ""
    if isinstance(given, io.IOBase):
        hint = "file.read(), opened with open(path, 'rb')"
    elif hasattr(given, "numpy"):  # PyTorch's or TensorFlow's
        hint = "tensor.numpy(), as uint8"
    return UsageError(f"cannot be {described(given)}", where=where, expected=_EXPECTED, hint=hint)
