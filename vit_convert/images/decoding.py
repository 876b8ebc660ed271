"""Pictures from files: decoded within limits, upright, as RGB."""

from __future__ import annotations

import io
import threading
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from vit_convert.errors import VitConvertError, similar_to
from vit_convert.runtime.input_file import read_input
from vit_convert.runtime.limits import IMAGE_BYTES, IMAGE_FILE_BYTES, IMAGE_SCANS

_EXIF_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Those of torchvision's ImageFolder, and GIF. Pillow reads forty more, some of them by other
# programs (EPS by Ghostscript), most of them seldom used and little tested.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
_FORMAT_NAMES = f"{', '.join(_FORMATS[:-1])} or PPM"
# decoded, and once more as RGB or upright; 16-bit greyscale is an array meanwhile
_BYTES_PER_PIXEL = {"1": 5, "L": 5, "P": 5, "I;16": 9, "I;16B": 9, "I;16L": 9, "I": 13, "F": 13}


class ImageError(VitConvertError):
    """A picture cannot be read, or a folder holds none."""


class _WithoutWarnings:
    """Ignores Pillow's warnings of what is dealt with here: damaged metadata, many pixels.

    Filters belong to the process: the first of several threads sets them, and the last one puts
    back what was there. `catch_warnings` alone would leave them set.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._caught = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._caught = warnings.catch_warnings()
                self._caught.__enter__()
                warnings.simplefilter("ignore")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._caught.__exit__(None, None, None)


_WITHOUT_WARNINGS = _WithoutWarnings()


def load_image(path: str | Path) -> Image.Image:
    """Decode a picture (JPEG, PNG, WebP, BMP, GIF, TIFF or PPM) as upright RGB.

    As Pillow's `convert("RGB")`, which timm and torchvision use: greyscale, palettes and CMYK are
    converted, transparency is dropped without compositing, of an animation the first frame is
    taken. Two things differ from them: the EXIF orientation is applied, and of 16-bit greyscale the
    high byte is taken (as of 16-bit RGB), where Pillow would clip it to white.

    Raises:
        ImageError: there is no such file, it is no picture, it is truncated or damaged, has
            floating-point pixels, or is over a limit (IMAGE_FILE_BYTES, IMAGE_BYTES, IMAGE_SCANS).
    """
    return decode_image(read_picture(path), str(path))


def decode_image(data: bytes, where: str) -> Image.Image:
    """As `load_image`, from the bytes of a file. Several threads may call it at a time.

    Args:
        data: the whole file.
        where: its name, for messages.

    Raises:
        ImageError: as `load_image`.
    """
    with _WITHOUT_WARNINGS:
        image = _decoded(data, where)
    image.info.pop("transparency", None)  # so that no copy is made
    return upright_rgb(image, where)


def upright_rgb(image: Image.Image, where: str) -> Image.Image:
    """As `load_image`, from an image that is loaded, which stays as it is.

    Args:
        image: of any mode.
        where: its name, for messages.

    Raises:
        ImageError: it has floating-point pixels.
    """
    with _WITHOUT_WARNINGS:
        upright = _upright(image)
        if "transparency" in upright.info:
            upright = upright.copy()
            del upright.info["transparency"]
        return to_rgb(upright, where)


def read_picture(path: str | Path) -> bytes:
    """The bytes of a picture file.

    Raises:
        ImageError: there is no such file, it is no regular file, or larger than IMAGE_FILE_BYTES.
    """
    try:
        return read_input(path, IMAGE_FILE_BYTES)
    except OSError as error:
        folder = Path(path).is_dir()
        raise ImageError(
            "is a folder" if folder else f"cannot be read: {error.strerror or error}",
            where=str(path),
            expected=f"a picture ({_FORMAT_NAMES})",
            hint=f"{path}/*" if folder else similar_to(path),
        ) from error


def to_rgb(image: Image.Image, where: str) -> Image.Image:
    """A picture of any mode as RGB; of 16-bit greyscale the high byte is taken.

    Raises:
        ImageError: its pixels are floating-point numbers.
    """
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I"):  # 16-bit greyscale: "I;16", "I;16B" or, from PGM, "I"
        values = np.asarray(image)
        high = np.empty(values.shape, np.uint8)
        for row, line in zip(high, values, strict=True):  # one by one, to need little memory
            row[:] = (line >> 8).clip(0, 255)
        return Image.fromarray(high).convert("RGB")
    if image.mode == "F":
        raise ImageError(
            "has floating-point pixels, and nothing says which value is white",
            where=where,
            expected="8 or 16 bits per channel",
            hint="save it as PNG",
        )
    return image.convert("RGB")


def _decoded(data: bytes, where: str) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
        _check_budgets(image, data, where)
        image.load()
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(
            "is not a picture", where=where, expected=f"a picture ({_FORMAT_NAMES})"
        ) from error
    except Image.DecompressionBombError as error:  # so large that Pillow gives no size
        raise IMAGE_BYTES.exceeded(IMAGE_BYTES.allowed(len(data)), where, ImageError) from error
    except Exception as error:  # Pillow's readers raise a dozen types on broken bytes
        raise ImageError(
            f"is truncated or damaged ({error})", where=where, expected="a whole picture"
        ) from error
    return image


def _check_budgets(image: Image.Image, data: bytes, where: str) -> None:
    """Raises ImageError for a picture, not decoded yet, that would take long or much memory."""
    needed = image.width * image.height * _BYTES_PER_PIXEL.get(image.mode, 8)
    IMAGE_BYTES.check(needed, where, len(data), ImageError)
    if image.format in ("JPEG", "MPO"):
        # Each scan may change every pixel. Its marker stands nowhere else, but for thumbnails: in
        # compressed data, 0xFF is followed by 0 (ITU-T T.81, section B.1.1.5).
        IMAGE_SCANS.check(data.count(b"\xff\xda"), where, len(data), ImageError)


def _upright(image: Image.Image) -> Image.Image:
    if image.format == "TIFF":  # Pillow turned it while decoding; not every version clears the tag
        return image
    try:
        orientation = image.getexif().get(_EXIF_ORIENTATION)
    except Exception:  # damaged metadata, as above: the picture is whole all the same
        return image
    turn = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else image.transpose(turn)
