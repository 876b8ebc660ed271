"""Operations are Pillow's and timm's, bit by bit; policies draw what the papers say."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from vit_convert.parity.sources.torch_compat import import_vision
from vit_convert.training.crops import padded_crop, random_box
from vit_convert.training.operations import OPERATIONS
from vit_convert.training.policies import RAND, TRIVIAL, fill_of, rand_augment, trivial_augment

import_vision("timm")
from timm.data import auto_augment  # noqa: E402

FILL = (124, 116, 104)
GEOMETRY = {"fillcolor": FILL, "resample": Image.Resampling.BILINEAR}
TIMMS = {
    "shear_x": (lambda i, v: auto_augment.shear_x(i, v, **GEOMETRY), 0.27),
    "shear_y": (lambda i, v: auto_augment.shear_y(i, v, **GEOMETRY), -0.27),
    "translate_x": (lambda i, v: auto_augment.translate_x_abs(i, v, **GEOMETRY), 3.4),
    "translate_y": (lambda i, v: auto_augment.translate_y_abs(i, v, **GEOMETRY), -3.4),
    "rotate": (lambda i, v: auto_augment.rotate(i, v, **GEOMETRY), 23.0),
    "brightness": (lambda i, v: auto_augment.brightness(i, 1 + v), 0.7),
    "color": (lambda i, v: auto_augment.color(i, 1 + v), -0.8),
    "contrast": (lambda i, v: auto_augment.contrast(i, 1 + v), 0.6),
    "sharpness": (lambda i, v: auto_augment.sharpness(i, 1 + v), 0.9),
    "posterize": (lambda i, v: auto_augment.posterize(i, v), 3),
    "solarize": (lambda i, v: auto_augment.solarize(i, v), 91),
    "autocontrast": (lambda i, v: auto_augment.auto_contrast(i), 0),
    "equalize": (lambda i, v: auto_augment.equalize(i), 0),
}


def picture(kind: str) -> np.ndarray:
    rng = np.random.default_rng(3)
    if kind == "noise":
        return rng.integers(0, 256, (17, 23, 3), np.uint8)
    if kind == "dull":  # few values, which autocontrast stretches and equalize spreads
        return rng.integers(90, 110, (17, 23, 3)).astype(np.uint8)
    return np.full((17, 23, 3), 77, np.uint8)


@pytest.mark.parametrize("kind", ["noise", "dull", "flat"])
@pytest.mark.parametrize("name", TIMMS)
def test_operations_are_timms(name: str, kind: str) -> None:
    pixels = picture(kind)
    timms, amount = TIMMS[name]
    for value in (amount, -amount) if name in ("brightness", "contrast", "color") else (amount,):
        expected = np.asarray(timms(Image.fromarray(pixels), value))
        found = OPERATIONS[name](pixels, value, FILL)
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == np.uint8


def test_every_operation_of_a_policy_is_there_and_compared() -> None:
    assert set(TRIVIAL) == set(RAND) == set(OPERATIONS) == {*TIMMS, "identity"}


def test_policies_change_pictures_and_repeat_themselves() -> None:
    pixels = picture("noise")
    for policy in (
        lambda rng: trivial_augment(pixels, FILL, rng),
        lambda rng: rand_augment(pixels, 2, 9, FILL, rng),
    ):
        first = [policy(np.random.default_rng(seed)) for seed in range(40)]
        again = [policy(np.random.default_rng(seed)) for seed in range(40)]
        assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
        assert len({a.tobytes() for a in first}) > 20
        assert {a.shape for a in first} == {pixels.shape}


def test_what_comes_in_is_what_normalisation_makes_zero() -> None:
    assert fill_of((0.485, 0.456, 0.406)) == (124, 116, 104)


@pytest.mark.parametrize(("width", "height"), [(40, 30), (200, 9), (1, 1)])
def test_random_parts_lie_in_the_picture(width: int, height: int) -> None:
    rng = np.random.default_rng(0)
    boxes = {random_box(width, height, 0.2, rng) for _ in range(200)}
    for left, top, right, bottom in boxes:
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
    if (width, height) == (40, 30):
        shares = [(r - x) * (b - y) / 1200 for x, y, r, b in boxes]
        assert 0.18 < min(shares) < 0.4
        assert max(shares) > 0.8


def test_shifts_show_reflections() -> None:
    pixels = picture("noise")[:16, :16]
    padded = np.pad(pixels, [(2, 2), (2, 2), (0, 0)], mode="reflect")
    windows = {padded[y : y + 16, x : x + 16].tobytes() for x in range(5) for y in range(5)}
    rng = np.random.default_rng(0)
    seen = {padded_crop(pixels, rng).tobytes() for _ in range(400)}
    assert seen == windows
