"""Recorded logits come back as they were, and a broken file is refused with its reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vit_convert.errors import ArtifactError
from vit_convert.parity.recorded import read_reference, record_reference

RNG = np.random.default_rng(0)
IMAGES = RNG.standard_normal((4, 24, 50, 3), np.float32)
LOGITS = RNG.standard_normal((4, 7), np.float32)
BLOCKS = {
    name: RNG.standard_normal((2, 16, 36), np.float32)
    for name in ("embeddings", "blocks.0", "blocks.1")
}


def test_everything_comes_back_bit_for_bit(tmp_path: Path) -> None:
    path = tmp_path / "r.npz"
    record_reference(path, IMAGES, LOGITS, BLOCKS, ["a/1.jpg", "a/2.jpg", "b/1.jpg", "ä"], "x 1.0")
    found = read_reference(path)
    np.testing.assert_array_equal(found.images, IMAGES)
    np.testing.assert_array_equal(found.logits, LOGITS)
    assert list(found.blocks) == list(BLOCKS)
    for name, block in BLOCKS.items():
        np.testing.assert_array_equal(found.blocks[name], block)
    assert found.names == ("a/1.jpg", "a/2.jpg", "b/1.jpg", "ä")
    assert found.made_with == "x 1.0"


def test_the_layout_is_plain_numpy(tmp_path: Path) -> None:
    path = tmp_path / "r.npz"
    record_reference(path, IMAGES, LOGITS, BLOCKS, ["a", "b", "c", "d"])
    with np.load(path, allow_pickle=False) as file:
        assert set(file.files) == {
            "images", "logits", "names", "block:embeddings", "block:blocks.0", "block:blocks.1",
        }  # fmt: skip
        assert file["block:blocks.0"].dtype == file["images"].dtype == np.float32


def test_images_and_logits_are_enough(tmp_path: Path) -> None:
    np.savez(tmp_path / "r.npz", images=IMAGES.astype(np.float64), logits=LOGITS)
    found = read_reference(tmp_path / "r.npz")
    assert (found.blocks, found.names, found.made_with) == ({}, (), "")
    assert found.images.dtype == np.float32


def test_the_name_is_kept_whatever_its_suffix(tmp_path: Path) -> None:
    record_reference(tmp_path / "recorded", IMAGES, LOGITS)
    assert read_reference(tmp_path / "recorded").logits.shape == (4, 7)


GOOD: dict[str, Any] = {"images": IMAGES, "logits": LOGITS}
BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "no images": ({"logits": LOGITS}, "no array `images`"),
    "no logits": ({"images": IMAGES}, "no array `logits`"),
    "other names": ({"x": IMAGES, "y": LOGITS}, "no array `images`"),
    "one image": (GOOD | {"images": IMAGES[0]}, r"`images` has shape \(24, 50, 3\)"),
    "no images at all": ({"images": IMAGES[:0], "logits": LOGITS[:0]}, "`images` has shape"),
    "flat logits": (GOOD | {"logits": LOGITS[0]}, r"`logits` has shape \(7,\)"),
    "fewer logits": (GOOD | {"logits": LOGITS[:3]}, "4 images, but logits of 3"),
    "pixels": (GOOD | {"images": IMAGES.astype(np.uint8)}, "`images` is uint8"),
    "text": (GOOD | {"logits": LOGITS.astype(str)}, "`logits` is <U"),
    "NaN": (GOOD | {"logits": np.full_like(LOGITS, np.nan)}, "`logits` holds NaN"),
    "fewer names": (GOOD | {"names": np.array(["a", "b"])}, "`names` has shape"),
    "flat block": (GOOD | {"block:blocks.0": LOGITS}, "blocks' arrays do not fit"),
    "more blocks than images": (
        GOOD | {"block:blocks.0": np.zeros((5, 2, 3), np.float32)},
        "blocks' arrays do not fit",
    ),
    "blocks of different images": (
        GOOD | {f"block:blocks.{i}": np.zeros((i + 1, 2, 3), np.float32) for i in range(2)},
        "blocks' arrays do not fit",
    ),
    "objects": (GOOD | {"logits": np.array([[None]] * 4)}, "cannot be read: Object arrays"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_malformed_recording_is_refused(what: str, tmp_path: Path) -> None:
    arrays, message = BROKEN[what]
    np.savez(tmp_path / "r.npz", **arrays)
    with pytest.raises(ArtifactError, match=message) as raised:
        read_reference(tmp_path / "r.npz")
    assert raised.value.where == str(tmp_path / "r.npz")
    assert "record_reference" in raised.value.hint


@pytest.mark.parametrize(
    "what", ["missing", "folder", "text", "empty", "truncated", "damaged", "npy"]
)
def test_what_is_no_npz_is_refused(what: str, tmp_path: Path) -> None:
    path = tmp_path / "r.npz"
    record_reference(path, IMAGES, LOGITS)
    content = path.read_bytes()
    path.unlink()
    match what:
        case "folder":
            path.mkdir()
        case "text":
            path.write_text("logits: 1, 2, 3")
        case "empty":
            path.write_bytes(b"")
        case "truncated":
            path.write_bytes(content[: len(content) // 2])
        case "damaged":
            middle = len(content) // 2
            path.write_bytes(content[:middle] + bytes(64) + content[middle + 64 :])
        case "npy":
            with path.open("wb") as file:
                np.save(file, LOGITS)
    message = "there is no such file" if what == "missing" else "cannot be read"
    with pytest.raises(ArtifactError, match=message):
        read_reference(path)


def test_what_could_not_be_read_again_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="4 images, but logits of 3"):
        record_reference(tmp_path / "r.npz", IMAGES, LOGITS[:3])
    assert not list(tmp_path.iterdir())
