"""Pictures in the browser become the numbers that Python makes of them."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import Browser, served
from PIL import Image

import vit_convert.browser
from vit_convert.architectures import Preprocessing
from vit_convert.images.decoding import load_image
from vit_convert.images.preprocessing import INTERPOLATIONS, normalise, to_pixels

PAGE = Path(vit_convert.browser.__file__).parent / "page"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The page without model and runtime: its modules alone."""
    with served(PAGE) as place:
        yield place


@pytest.fixture
def modules(browser: Browser, address: str) -> Browser:
    browser.open(address, "icon.svg", ready=False)
    return browser


def numbers(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), np.uint8)


TO_BASE64 = """
const text = (array) => {
  const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  let characters = "";
  for (const byte of bytes) characters += String.fromCharCode(byte);
  return btoa(characters);
};
const bytesOf = (text) => Uint8ClampedArray.from(atob(text), (c) => c.charCodeAt(0));
"""


def in_browser(
    browser: Browser, rgb: np.ndarray, size: tuple[int, int], preprocessing: Preprocessing
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels and normalised values, as the page makes them."""
    rgba = np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)])
    pixels, values = browser.call(
        TO_BASE64
        + """
        const { toPixels, normalise } = await import("/preprocessing.js");
        const [data, width, height, target, preprocessing] = given;
        const pixels = toPixels({ data: bytesOf(data), width, height }, target, preprocessing);
        return [text(pixels), text(normalise(pixels, preprocessing))];
        """,
        base64.b64encode(rgba.tobytes()).decode(),
        rgb.shape[1],
        rgb.shape[0],
        list(size),
        {
            "interpolation": preprocessing.interpolation,
            "crop_pct": preprocessing.crop_pct,
            "crop_mode": preprocessing.crop_mode,
            "mean": preprocessing.mean,
            "std": preprocessing.std,
        },
    )
    shape = (*size, 3)
    return numbers(pixels).reshape(shape), numbers(values).view(np.float32).reshape(shape)


SHAPES = ((32, 32), (97, 143), (143, 97), (7, 5), (301, 11), (50, 24))
SIZES = ((32, 32), (33, 33), (24, 50))


def of_shape(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    rgb = rng.integers(0, 256, (*shape, 3), np.uint8)
    # hard edges, where bicubic overshoots
    return np.where(rgb > 127, 255, 0).astype(np.uint8) if shape[0] > 50 else rgb


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("crop_pct", [1.0, 0.9, 0.43, 1.3])
def test_resizing_and_cropping_are_pillows_to_the_last_bit(
    interpolation: Any, crop_pct: float, modules: Browser
) -> None:
    preprocessing = Preprocessing((0.48, 0.45, 0.41), (0.23, 0.22, 0.27), interpolation, crop_pct)
    rng = np.random.default_rng(int(crop_pct * 1000))
    for size, shape in product(SIZES, SHAPES):
        rgb = of_shape(shape, rng)
        expected = to_pixels(Image.fromarray(rgb), size, preprocessing)
        pixels, values = in_browser(modules, rgb, size, preprocessing)
        np.testing.assert_array_equal(pixels, expected, err_msg=f"{shape} to {size}")
        np.testing.assert_array_equal(values, normalise(expected, preprocessing))


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_squashing_is_pillows_of_the_width_and_then_of_the_height(
    interpolation: Any, modules: Browser
) -> None:
    """Two calls, as Pillow 13 may begin with the height where the picture is flattened."""
    preprocessing = Preprocessing(interpolation=interpolation, crop_pct=1.0, crop_mode="squash")
    rng = np.random.default_rng(5)
    for size, shape in product(SIZES, SHAPES):
        rgb = of_shape(shape, rng)
        expected = Image.fromarray(rgb)
        for step in ((size[1], shape[0]), (size[1], size[0])):
            expected = expected.resize(step, INTERPOLATIONS[interpolation])
        pixels, _ = in_browser(modules, rgb, size, preprocessing)
        np.testing.assert_array_equal(pixels, np.array(expected), err_msg=f"{shape} to {size}")


def decoded(browser: Browser, content: bytes) -> np.ndarray:
    """RGB pixels, as the page decodes a file."""
    data, width, height = browser.call(
        TO_BASE64
        + """
        const { decode } = await import("/picture.js");
        const { data, width, height } = await decode(new Blob([bytesOf(given[0])]));
        return [text(data), width, height];
        """,
        base64.b64encode(content).decode(),
    )
    rgba = numbers(data).reshape(height, width, 4)
    assert (rgba[..., 3] == 255).all()
    return rgba[..., :3]


def picture(mode: str) -> Image.Image:
    """One with soft and hard parts, and every degree of transparency."""
    rows, columns = np.mgrid[0:40, 0:56]
    waves = [128 + 127 * np.sin(rows / a + columns / b) for a, b in ((9, 31), (17, 12), (40, 7))]
    alpha = np.clip(columns * 6 - 40, 0, 255)
    rgba = np.stack([*waves, alpha], -1).astype(np.uint8)
    rgba[10:20, 10:20, :3] = (200, 30, 90)
    image = Image.fromarray(rgba)
    return image if mode == "RGBA" else image.convert("RGB").convert(mode)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


EXACT: dict[str, Callable[[], bytes]] = {
    "PNG": lambda: saved(picture("RGB"), "PNG"),
    "greyscale PNG": lambda: saved(picture("L"), "PNG"),
    "PNG with a palette": lambda: saved(picture("P"), "PNG"),
    "PNG with a transparent colour": lambda: saved(picture("P"), "PNG", transparency=3),
    "PNG with alpha": lambda: saved(picture("RGBA"), "PNG"),
    "WebP with alpha": lambda: saved(picture("RGBA"), "WEBP", lossless=True, exact=True),
    "GIF": lambda: saved(picture("P"), "GIF"),
    "BMP": lambda: saved(picture("RGB"), "BMP"),
    "greyscale JPEG": lambda: saved(picture("L"), "JPEG"),
}


@pytest.mark.parametrize("kind", EXACT)
def test_pictures_are_decoded_as_pillow_does(kind: str, modules: Browser, tmp_path: Path) -> None:
    path = tmp_path / "picture"
    path.write_bytes(EXACT[kind]())
    np.testing.assert_array_equal(decoded(modules, path.read_bytes()), np.array(load_image(path)))


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:0"])
def test_jpegs_are_upright_and_as_pillow_decodes_them(
    subsampling: str, modules: Browser, tmp_path: Path
) -> None:
    path = tmp_path / "picture.jpg"
    exif = Image.Exif()
    for orientation in range(1, 9):
        exif[0x0112] = orientation
        image = picture("RGB")
        path.write_bytes(saved(image, "JPEG", quality=90, subsampling=subsampling, exif=exif))
        expected = np.array(load_image(path)).astype(int)
        assert np.abs(decoded(modules, path.read_bytes()) - expected).max() <= 1, orientation
