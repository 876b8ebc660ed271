"""Pictures are prepared exactly as timm prepares them, and bad ones are refused with a message."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vit_convert.architectures.base import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from vit_convert.errors import UsageError, VitConvertError
from vit_convert.images.decoding import ImageError, load_image
from vit_convert.images.preprocessing import (
    Size,
    normalise,
    preprocess,
    shown_part,
    to_pixels,
)
from vit_convert.parity.sources.torch_compat import import_vision

WIDE = (57, 83)  # height, width
MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr")
SIDES = st.integers(1, 90)
INPUT_SIDES = st.integers(2, 90)  # of 1 pixel, a crop_pct of 1.3 leaves none
PREPROCESSINGS = st.builds(
    Preprocessing,
    mean=st.just(IMAGENET_MEAN),
    std=st.just(IMAGENET_STD),
    interpolation=st.sampled_from(("bicubic", "bilinear")),
    crop_pct=st.sampled_from((0.875, 0.9, 0.95, 1.0, 1.3)),
    crop_mode=st.sampled_from(("center", "squash")),
)


@cache
def photograph(size: Size = WIDE, mode: str = "RGB", seed: int = 0) -> Image.Image:
    """Gradients that tell every direction apart, and noise."""
    height, width = size
    down, right = np.meshgrid(np.linspace(0, 1, height), np.linspace(0, 1, width), indexing="ij")
    smooth = np.stack([down, right, 1 - down * right, 0.2 + 0.6 * down], axis=-1)
    noise = np.random.default_rng(seed).normal(0, 0.15, smooth.shape)
    pixels = (np.clip(smooth + noise, 0, 1) * 255).astype(np.uint8)
    if mode in ("RGBA", "CMYK"):
        return Image.frombytes(mode, (width, height), pixels.tobytes())
    if mode == "LA":
        return Image.frombytes(mode, (width, height), pixels[..., 2:].tobytes())
    return Image.fromarray(pixels[..., :3]).convert(mode)


def timms(image: Image.Image, image_size: Size, preprocessing: Preprocessing) -> np.ndarray:
    """What timm's own evaluation transform makes of a picture, (height, width, 3)."""
    transform = import_vision("timm.data").create_transform(
        (3, *image_size),
        is_training=False,
        interpolation=preprocessing.interpolation,
        mean=preprocessing.mean,
        std=preprocessing.std,
        crop_pct=preprocessing.crop_pct,
        crop_mode=preprocessing.crop_mode,
    )
    result: np.ndarray = transform(image.convert("RGB")).permute(1, 2, 0).numpy()
    return result


def saved(image: Image.Image, path: Path, **options: Any) -> Path:
    image.save(path, **options)
    return path


def outcome(path: Path) -> str:
    """The mode of the picture, or the file that the error names."""
    try:
        return load_image(path).mode
    except ImageError as error:
        return error.where


# --- resizing, cropping, normalising ---


@pytest.mark.parametrize(
    ("interpolation", "crop_mode"),
    [("bicubic", "center"), ("bilinear", "center"), ("bicubic", "squash")],
)
@pytest.mark.parametrize("crop_pct", [0.875, 0.9, 1.0])
@pytest.mark.parametrize("image_size", [(224, 224), (384, 384), (32, 32), (192, 256), (160, 96)])
@pytest.mark.parametrize("picture", [(333, 500), (501, 375), (224, 224), (31, 17), (100, 1001)])
def test_a_prepared_picture_equals_timms_exactly(
    picture: Size, image_size: Size, crop_pct: float, interpolation: Any, crop_mode: Any
) -> None:
    preprocessing = Preprocessing(IMAGENET_MEAN, IMAGENET_STD, interpolation, crop_pct, crop_mode)
    ours = preprocess(photograph(picture), image_size, preprocessing)
    assert ours.dtype == np.float32
    assert ours.shape == (*image_size, 3)
    np.testing.assert_array_equal(ours, timms(photograph(picture), image_size, preprocessing))


@given(
    picture=st.tuples(SIDES, SIDES),
    image_size=st.tuples(INPUT_SIDES, INPUT_SIDES),
    how=PREPROCESSINGS,
)
@settings(max_examples=300, deadline=None)
def test_any_shape_equals_timms_exactly(
    picture: Size, image_size: Size, how: Preprocessing
) -> None:
    ours = preprocess(photograph(picture), image_size, how)
    np.testing.assert_array_equal(ours, timms(photograph(picture), image_size, how))


@given(picture=st.tuples(SIDES, SIDES), side=INPUT_SIDES, how=PREPROCESSINGS)
@settings(max_examples=200, deadline=None)
def test_any_shape_equals_timms_exactly_for_square_inputs(
    picture: Size, side: int, how: Preprocessing
) -> None:
    ours = preprocess(photograph(picture), (side, side), how)
    np.testing.assert_array_equal(ours, timms(photograph(picture), (side, side), how))


@pytest.mark.parametrize("mode", MODES)
def test_pictures_of_any_mode_equal_timms(mode: str) -> None:
    how = Preprocessing(crop_pct=0.9)
    image = photograph(WIDE, mode)
    assert image.mode == mode
    np.testing.assert_array_equal(preprocess(image, (40, 40), how), timms(image, (40, 40), how))


@pytest.mark.parametrize(
    ("changed", "least"),
    [({"interpolation": "bilinear"}, 0.02), ({"crop_pct": 1.0}, 0.02), ({"mean": (0, 0, 0)}, 0.4),
     ({"std": (0.5, 0.5, 0.25)}, 0.1)],
)  # fmt: skip
def test_every_part_of_preprocessing_matters(changed: dict[str, Any], least: float) -> None:
    how = Preprocessing(IMAGENET_MEAN, IMAGENET_STD, "bicubic", 0.875)
    other = Preprocessing(**{**vars(how), **changed})
    ours, theirs = (preprocess(photograph(), (48, 48), each) for each in (how, other))
    assert np.abs(ours - theirs).mean() > least


def test_pixels_are_what_is_normalised() -> None:
    how = Preprocessing(IMAGENET_MEAN, IMAGENET_STD, "bicubic", 0.9)
    pixels = to_pixels(photograph(), (32, 48), how)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (32, 48, 3)
    pixels[0, 0] = 0  # the array belongs to the caller
    pixels = to_pixels(photograph(), (32, 48), how)
    np.testing.assert_array_equal(normalise(pixels, how), preprocess(photograph(), (32, 48), how))


def test_normalising_a_batch_scales_subtracts_and_divides_channel_by_channel() -> None:
    pixels = np.array([[[[0, 128, 255]]], [[[255, 0, 51]]]], np.uint8)
    how = Preprocessing(mean=(0.5, 0.25, 0.1), std=(0.5, 0.2, 0.3))
    normalised = normalise(pixels, how)
    assert normalised.dtype == np.float32
    expected = [[[[-1, (128 / 255 - 0.25) / 0.2, 3]]], [[[1, -1.25, 1 / 3]]]]
    np.testing.assert_allclose(normalised, expected, rtol=1e-6)


@pytest.mark.parametrize("crop_pct", [0.0, -0.5, float("nan"), float("inf")])
def test_an_impossible_crop_is_refused(crop_pct: float) -> None:
    with pytest.raises(UsageError, match=r"crop_pct of .* is impossible"):
        preprocess(photograph(), (32, 32), Preprocessing(crop_pct=crop_pct))


@pytest.mark.parametrize(("image_size", "crop_pct"), [((0, 32), 1.0), ((32, -1), 1.0), ((8, 8), 9)])
def test_an_impossible_size_is_refused(image_size: Size, crop_pct: float) -> None:
    with pytest.raises(UsageError, match="cannot be resized"):
        preprocess(photograph(), image_size, Preprocessing(crop_pct=crop_pct))


def test_an_unknown_interpolation_is_refused() -> None:
    how = Preprocessing(interpolation="lanczos")  # type: ignore[arg-type]  # as from a damaged file
    with pytest.raises(UsageError, match="unknown interpolation 'lanczos'"):
        preprocess(photograph(), (32, 32), how)


def test_a_picture_that_would_become_enormous_is_refused() -> None:
    thin = Image.new("RGB", (30_000, 1))
    with pytest.raises(ImageError, match="30000 x 1 pixels is too long and thin"):
        preprocess(thin, (224, 224), Preprocessing())


# --- decoding ---


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [("RGB", ".jpg"), ("L", ".jpg"), ("CMYK", ".jpg"), ("YCbCr", ".jpg"), ("1", ".png"),
     ("L", ".png"), ("LA", ".png"), ("P", ".png"), ("RGB", ".png"), ("RGBA", ".png"),
     ("RGB", ".webp"), ("RGBA", ".webp"), ("P", ".gif"), ("CMYK", ".tif"), ("RGB", ".bmp"),
     ("RGB", ".ppm")],
)  # fmt: skip
def test_files_decode_as_pillow_converts_them(tmp_path: Path, mode: str, suffix: str) -> None:
    path = saved(photograph(WIDE, mode), tmp_path / f"picture{suffix}")
    ours = load_image(path)
    assert ours.mode == "RGB"
    assert (ours.height, ours.width) == WIDE
    with Image.open(path) as theirs:
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs.convert("RGB")))
    np.testing.assert_array_equal(np.asarray(ours), np.asarray(load_image(str(path))))


def test_a_transparent_palette_decodes_without_a_warning(tmp_path: Path) -> None:
    palette = photograph(WIDE, "P")
    path = saved(palette, tmp_path / "picture.png", transparency=bytes(range(256)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours = load_image(path)
    np.testing.assert_array_equal(np.asarray(ours), np.asarray(palette.convert("RGB")))


def test_transparency_is_dropped_not_composited(tmp_path: Path) -> None:
    glass = Image.new("RGBA", (3, 2), (10, 200, 30, 0))
    assert load_image(saved(glass, tmp_path / "glass.png")).getpixel((1, 1)) == (10, 200, 30)


def test_of_an_animation_the_first_frame_is_taken(tmp_path: Path) -> None:
    first, second = Image.new("RGB", (9, 7), "red"), Image.new("RGB", (9, 7), "blue")
    options = {"save_all": True, "append_images": [second], "lossless": True}
    path = saved(first, tmp_path / "film.webp", **options)
    assert load_image(path).getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, suffix: str) -> None:
    """The corner that a camera says is top left (TIFF 6.0, tag 274) comes to lie there."""
    upright = np.zeros((24, 40, 3), np.uint8)
    upright[:12, :20], upright[:12, 20:], upright[12:, :20] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: upright.transpose(1, 0, 2)[::-1],
        7: upright.transpose(1, 0, 2)[::-1, ::-1],
        8: upright.transpose(1, 0, 2)[:, ::-1],
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(Image.fromarray(stored), tmp_path / f"picture{suffix}", exif=exif, quality=95)
    ours = np.asarray(load_image(path)).astype(int)
    assert ours.shape == upright.shape
    for row, column in ((3, 5), (3, 35), (20, 5), (20, 35)):
        assert np.abs(ours[row, column] - upright[row, column]).max() < 20


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_means_nothing_is_passed_over(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(photograph(), tmp_path / "picture.png", exif=exif)
    np.testing.assert_array_equal(np.asarray(load_image(path)), np.asarray(photograph()))


def test_damaged_exif_does_not_spoil_a_picture(tmp_path: Path) -> None:
    path = saved(photograph(), tmp_path / "picture.png", exif=b"Exif\0\0MM\0*\xff\xff\xff")
    np.testing.assert_array_equal(np.asarray(load_image(path)), np.asarray(photograph()))


@pytest.mark.parametrize("suffix", [".png", ".tif", ".pgm"])
def test_16_bit_greyscale_keeps_its_shades(tmp_path: Path, suffix: str) -> None:
    shades = np.array([[0, 255, 256, 32768], [40000, 65279, 65280, 65535]], np.uint16)
    path = tmp_path / f"picture{suffix}"
    if suffix == ".pgm":  # not every version of Pillow writes it
        path.write_bytes(b"P5 4 2 65535\n" + shades.astype(">u2").tobytes())
    else:
        Image.fromarray(shades).save(path)
    expected = [[0, 0, 1, 128], [156, 254, 255, 255]]
    np.testing.assert_array_equal(np.asarray(load_image(path)), np.dstack([expected] * 3))


def test_16_bit_colour_keeps_its_shades(tmp_path: Path) -> None:
    rows = np.array([[[0, 256, 65535]], [[32768, 511, 1]]], ">u2")
    header = struct.pack(">IIBBBBB", 1, 2, 16, 2, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    chunks = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    ]
    path = tmp_path / "picture.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    np.testing.assert_array_equal(np.asarray(load_image(path)), [[[0, 1, 255]], [[128, 1, 0]]])


def test_floating_point_pixels_are_refused(tmp_path: Path) -> None:
    path = saved(Image.new("F", (4, 3), 0.5), tmp_path / "picture.tif")
    with pytest.raises(ImageError, match="floating-point pixels"):
        load_image(path)


# --- what is no picture ---


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04 a checkpoint", b"<html></html>", b"\x89PNG\r\n\x1a\n"]
)
def test_what_is_no_picture_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(content)
    with pytest.raises(ImageError) as error:
        load_image(path)
    assert error.value.what == "is not a picture"
    assert error.value.where == str(path)
    assert "JPEG" in error.value.expected


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_a_truncated_picture_is_refused(tmp_path: Path, suffix: str) -> None:
    path = saved(photograph((211, 307)), tmp_path / f"picture{suffix}")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ImageError, match=r"truncated or damaged|is not a picture"):
        load_image(path)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".gif", ".tif", ".bmp", ".ppm"])
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_damaged_bytes_give_a_picture_or_an_image_error(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, data: st.DataObject
) -> None:
    buffer = io.BytesIO()
    photograph((13, 21)).save(buffer, Image.registered_extensions()[suffix])
    content = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / f"damaged{suffix}"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    assert outcome(path) in ("RGB", str(path))


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"missing\.png: cannot be read: No such file"):
        load_image(tmp_path / "missing.png")
    with pytest.raises(ImageError, match="is a folder"):
        load_image(tmp_path)
    assert issubclass(ImageError, VitConvertError)


@pytest.mark.parametrize("crop_mode", ["center", "squash"])
def test_what_people_are_shown_is_what_the_model_sees(crop_mode: str) -> None:
    """With more pixels where the picture has more: their means are the model's pixels."""
    how = Preprocessing(
        IMAGENET_MEAN, IMAGENET_STD, interpolation="bilinear", crop_pct=0.9, crop_mode=crop_mode
    )
    size, seen, times = (24, 28), (20, 28), 6
    image = photograph((times * 24 + 3, times * 28 + 41))
    shown = shown_part(image, size, seen, how)
    assert shown.shape == (times * seen[0], times * seen[1], 3)
    means = shown.reshape(seen[0], times, seen[1], times, 3).mean(axis=(1, 3))
    wanted = to_pixels(image, size, how)[:20].astype(float)
    noise = 0.15 * 255 / times  # of a mean
    assert np.abs(means - wanted).mean() < noise
    moved = np.abs(np.roll(means, 3, axis=0) - wanted).mean()
    assert moved > 20  # it could fail


def test_a_small_picture_is_shown_as_the_model_sees_it() -> None:
    how = Preprocessing(IMAGENET_MEAN, IMAGENET_STD)
    image = photograph((47, 71))
    assert (
        shown_part(image, (40, 36), (32, 36), how) == to_pixels(image, (40, 36), how)[:32]
    ).all()


def test_no_more_is_shown_than_a_screen_needs() -> None:
    shown = shown_part(
        photograph((1300, 1400)), (224, 200), (224, 200), Preprocessing(IMAGENET_MEAN, IMAGENET_STD)
    )
    assert shown.shape == (672, 600, 3)
