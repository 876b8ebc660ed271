"""Pictures as Python has them: paths, Pillow's images, arrays, bytes; one or several."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vit_convert.errors import UsageError
from vit_convert.images.decoding import ImageError, load_image
from vit_convert.images.pictures import given_pictures

EXIF_ORIENTATION = 0x0112


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """a.png; b.jpg, lying on its side; and 2 more below."""
    made = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    (made / "more").mkdir()
    for name in ("a.png", "more/c.png", "more/d.png"):
        Image.fromarray(rng.integers(0, 256, (5, 7, 3), np.uint8)).save(made / name)
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6
    lying = Image.fromarray(rng.integers(0, 256, (8, 12, 3), np.uint8))
    lying.save(made / "b.jpg", exif=exif)
    return made


def pixels(given: Any) -> list[np.ndarray]:
    found = given_pictures(given)
    return [np.asarray(found.decode(picture)) for picture in found.each]


@pytest.mark.parametrize("name", ["a.png", "b.jpg"])
def test_every_kind_is_the_same_picture(name: str, folder: Path) -> None:
    """Upright, too: the shape of b.jpg says whether it is."""
    path = folder / name
    expected = np.asarray(load_image(path))
    assert expected.shape == ((5, 7, 3) if name == "a.png" else (12, 8, 3))
    for kind in (path, str(path), path.as_uri(), path.read_bytes(), Image.open(path), expected):
        for given in (kind, [kind], (kind,), iter([kind])):
            (got,) = pixels(given)
            np.testing.assert_array_equal(got, expected)


def test_several_kinds_keep_their_order_and_have_names(folder: Path) -> None:
    path = folder / "a.png"
    alone = Image.fromarray(np.asarray(load_image(path)))
    given = [folder / "more", path.read_bytes(), alone, Image.open(path), path]
    found = given_pictures(given)
    assert len(found) == 6
    assert found.names == (
        *(str(folder / "more" / name) for name in ("c.png", "d.png")),
        "picture 1",
        "picture 2",
        str(path),
        str(path),
    )
    shown = pixels(given)
    np.testing.assert_array_equal(shown[0], np.asarray(load_image(folder / "more" / "c.png")))
    for each in shown[2:]:
        np.testing.assert_array_equal(each, np.asarray(load_image(path)))


def test_an_array_of_rank_4_is_several() -> None:
    batch = np.random.default_rng(0).integers(0, 256, (3, 5, 7, 3), np.uint8)
    assert given_pictures(batch).names == ("picture 0", "picture 1", "picture 2")
    for got, expected in zip(pixels(batch), batch, strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "I;16", "LA"])
def test_an_image_of_any_mode_enters_as_its_file_does(mode: str, tmp_path: Path) -> None:
    grey = Image.fromarray(np.random.default_rng(1).integers(0, 256, (6, 9), np.uint8))
    if mode == "I;16":
        image = Image.fromarray(np.asarray(grey).astype(np.uint16) << 8)
    else:
        image = grey.convert(mode)
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    image.save(path)
    (got,) = pixels(image)
    np.testing.assert_array_equal(got, np.asarray(load_image(path)))
    assert image.mode == mode


def test_an_image_that_is_given_stays_as_it_is(folder: Path) -> None:
    image = Image.fromarray(np.zeros((4, 6), np.uint8)).convert("P")
    image.info["transparency"] = 0
    pixels([image, image])
    assert (image.mode, image.info["transparency"]) == ("P", 0)
    array = np.zeros((4, 6, 3), np.uint8)
    given_pictures(array)
    array[:] = 9
    lying = Image.open(folder / "b.jpg")
    pixels(lying)
    assert lying.size == (12, 8)


def array(dtype: str, *shape: int) -> np.ndarray:
    return np.zeros(shape, dtype)


WRONG: dict[str, tuple[Any, str, str]] = {
    "nothing": (None, "pictures: cannot be None", ""),
    "number": (3, "pictures: cannot be the int 3", ""),
    "mapping": ({"a.png": 1}, "pictures: cannot be a dict", ""),
    "number among paths": (["a.png", 3], "pictures[1]: cannot be the int 3", ""),
    "lists in lists": ([[b""]], "pictures[0]: cannot be a list", ""),
    "float": (array("float32", 5, 7, 3), "array of float32 and shape (5, 7, 3), and noth", "255 *"),
    "float64s": ([array("float64", 5, 7, 3)], "pictures[0]: cannot be an array of float64", "255"),
    "uint16": (array("uint16", 5, 7, 3), "which value is white", ">> 8"),
    "int64": (array("int64", 5, 7, 3), "which value is white", ""),
    "channels first": (array("uint8", 3, 5, 7), "(3, 5, 7)", "moveaxis"),
    "transparent": (array("uint8", 5, 7, 4), "(5, 7, 4)", "[..., :3]"),
    "grey": (array("uint8", 5, 7), "(5, 7)", "fromarray"),
    "one channel": (array("uint8", 5, 7, 1), "(5, 7, 1)", ""),
    "empty": (array("uint8", 0, 7, 3), "(0, 7, 3)", ""),
    "rank 5": (array("uint8", 1, 2, 5, 7, 3), "(1, 2, 5, 7, 3)", ""),
    "batch of floats": (array("float32", 2, 5, 7, 3), "pictures[0]: cannot be an array", "255"),
    "file": (io.BytesIO(b""), "pictures: cannot be a _io.BytesIO", "file.read()"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_picture_is_named_with_what_is_expected(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, message, hint = WRONG[case]
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (3, 3)).save("a.png")
    with pytest.raises(UsageError) as error:
        given_pictures(given)
    assert message in str(error.value)
    assert "uint8" in error.value.expected
    assert hint in error.value.hint


def test_tensors_are_told_apart() -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(UsageError, match=r"(?s)array of torch\.uint8.*tensor\.numpy\(\)"):
        given_pictures([torch.zeros(3, 4, 5, dtype=torch.uint8)])


def test_none_at_all_is_no_error() -> None:
    assert len(given_pictures([])) == 0


def test_broken_bytes_and_images_say_which_they_are(folder: Path) -> None:
    whole = (folder / "a.png").read_bytes()
    with pytest.raises(ImageError, match="picture 1: is not a picture"):
        pixels([whole, b"text"])
    lazy = Image.open(io.BytesIO(whole[: len(whole) // 2]))
    with pytest.raises(ImageError, match="picture 0: cannot be loaded"):
        pixels(lazy)
    with pytest.raises(ImageError, match=r"picture 0: has floating-point pixels"):
        pixels(Image.new("F", (3, 3)))
    with pytest.raises(ImageError, match=r"(?s)z\.png.*expected: a picture"):
        given_pictures(folder / "z.png")
