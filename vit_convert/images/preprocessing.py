"""Pictures as a checkpoint's authors saw them: decoded, resized, cropped and normalised.

Resizing and cropping equal timm's `create_transform(..., is_training=False)` with its crop modes
"center", which is torchvision's `Resize` and `CenterCrop` for square inputs, and "squash", which is
what transformers' image processors without a centre crop do.
"""

from __future__ import annotations

import io
import math
import threading
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from vit_convert.architectures.base import Preprocessing
from vit_convert.errors import UsageError, VitConvertError, similar_to
from vit_convert.runtime.input_file import read_input
from vit_convert.runtime.limits import (
    IMAGE_BYTES,
    IMAGE_FILE_BYTES,
    IMAGE_SCANS,
    RESIZED_PIXELS,
)

Size = tuple[int, int]

INTERPOLATIONS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
}
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
        image.info.pop("transparency", None)
        return _rgb(_upright(image), where)


def to_pixels(image: Image.Image, image_size: Size, preprocessing: Preprocessing) -> np.ndarray:
    """Resize and crop, without normalising: what an artifact with embedded preprocessing takes.

    The shorter side (for an input that is not square: the side that needs the larger scale) is
    resized to that of `image_size` over `crop_pct`, and the centre is cut out; black is added where
    a `crop_pct` above 1 leaves the picture smaller than that. The crop mode "squash" resizes both
    sides to those of `image_size` over `crop_pct`, whatever the picture's proportions.

    Args:
        image: of any mode; `load_image` gives upright RGB.
        image_size: (height, width) of the result in pixels.
        preprocessing: its interpolation, crop_pct and crop_mode are used.

    Returns:
        uint8 (height, width, 3), RGB.

    Raises:
        UsageError: the size, the interpolation or crop_pct makes no sense.
        ImageError: the picture is too long and thin to be resized.
    """
    interpolation = INTERPOLATIONS.get(preprocessing.interpolation)
    if interpolation is None:
        raise UsageError(
            f"unknown interpolation {preprocessing.interpolation!r}",
            where="interpolation",
            expected=" or ".join(INTERPOLATIONS),
        )
    height, width = _resized_size((image.height, image.width), image_size, preprocessing)
    if height * width > (most := RESIZED_PIXELS.allowed()):
        raise ImageError(
            f"a picture of {image.width} x {image.height} pixels is too long and thin: it would be "
            f"resized to {width} x {height}",
            expected=f"at most {most} pixels after resizing, the limit `{RESIZED_PIXELS.name}`",
            hint="crop it first",
        )
    image = _rgb(image, "the picture")
    if image.size != (width, height):
        image = image.resize((width, height), interpolation)
    top, left = (_offset(*sides) for sides in zip((height, width), image_size, strict=True))
    # Pillow fills with black what lies outside
    image = image.crop((left, top, left + image_size[1], top + image_size[0]))
    return np.array(image)


def normalise(pixels: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Scale 0..255 to 0..1, subtract the mean and divide by the standard deviation, in float32.

    Args:
        pixels: uint8 (..., width, 3), RGB.
        preprocessing: its mean and std are used.

    Returns:
        float32 (..., width, 3).
    """
    # Row by row and in place: NumPy is five times slower along an axis of three.
    mean, std = (
        np.tile(np.array(value, np.float32), pixels.shape[-2])
        for value in (preprocessing.mean, preprocessing.std)
    )
    values = pixels.reshape(*pixels.shape[:-2], -1).astype(np.float32)
    values /= np.float32(255)
    values -= mean
    values /= std
    return values.reshape(pixels.shape)


def preprocess(image: Image.Image, image_size: Size, preprocessing: Preprocessing) -> np.ndarray:
    """A model's input from a picture: `to_pixels`, then `normalise`.

    Returns:
        float32 (height, width, 3), RGB.

    Raises:
        UsageError, ImageError: as `to_pixels`.
    """
    return normalise(to_pixels(image, image_size, preprocessing), preprocessing)


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


def _rgb(image: Image.Image, where: str) -> Image.Image:
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


def _resized_size(picture: Size, target: Size, preprocessing: Preprocessing) -> Size:
    """(height, width) to resize to, rounded as timm and torchvision do."""
    crop_pct = preprocessing.crop_pct
    if not (math.isfinite(crop_pct) and crop_pct > 0):
        raise UsageError(
            f"a crop_pct of {crop_pct} is impossible",
            where="crop_pct",
            expected="above 0, at most 1 as a rule",
        )
    scaled = tuple(math.floor(side / crop_pct) for side in target)
    if min(*target, *scaled) < 1:
        raise UsageError(
            f"a picture cannot be resized to {target[0]} x {target[1]} with crop_pct {crop_pct}",
            where="image_size",
            expected="at least one pixel per side",
        )
    if preprocessing.crop_mode == "squash":
        return scaled[0], scaled[1]
    height, width = picture
    if scaled[0] == scaled[1]:  # torchvision's Resize: the shorter side is exact, the other cut off
        if width <= height:
            return int(scaled[0] * height / width), scaled[0]
        return scaled[0], int(scaled[0] * width / height)
    ratio = min(height / scaled[0], width / scaled[1])  # timm's ResizeKeepRatio
    return round(height / ratio), round(width / ratio)


def _offset(side: int, crop: int) -> int:
    """The first pixel of torchvision's CenterCrop; negative where it would pad first."""
    return round((side - crop) / 2) if side >= crop else -((crop - side) // 2)
