"""Folders of pictures: the same ones in the same order as torchvision finds them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from vit_convert.images.decoding import ImageError
from vit_convert.images.folders import SUFFIXES, ImageFolder, find_images
from vit_convert.parity.sources.torch_compat import import_vision


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Classes whose sorted order is neither that of creation nor case-insensitive."""
    root = tmp_path / "dataset"
    for name in (
        "zebra/1.png", "Yak/2.JPG", "ant/b/1.webp", "ant/b-2/0.png", "ant/a10.jpeg", "ant/a9.jpeg",
        "ant/notes.txt", "zebra/.hidden.png", ".cache/1.png", "picture.png", "readme.md",
    ):  # fmt: skip
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def test_classes_and_pictures_are_in_torchvisions_order(dataset: Path) -> None:
    ours = ImageFolder(dataset)
    assert ours.classes == ("Yak", "ant", "zebra")
    assert [(str(path.relative_to(dataset)), name) for path, name in ours] == [
        ("Yak/2.JPG", "Yak"),
        ("ant/a10.jpeg", "ant"),
        ("ant/a9.jpeg", "ant"),
        ("ant/b/1.webp", "ant"),
        ("ant/b-2/0.png", "ant"),
        ("zebra/1.png", "zebra"),
    ]
    assert len(ours) == 6
    for hidden in (".cache/1.png", "zebra/.hidden.png"):  # the one thing torchvision would add
        (dataset / hidden).unlink()
    shutil.rmtree(dataset / ".cache")
    theirs = import_vision("torchvision.datasets").ImageFolder(str(dataset))
    assert theirs.classes == list(ours.classes)
    assert [(Path(path), theirs.classes[index]) for path, index in theirs.samples] == list(ours)


def test_suffixes_are_torchvisions() -> None:
    assert set(import_vision("torchvision.datasets.folder").IMG_EXTENSIONS) == SUFFIXES


def test_a_class_without_pictures_keeps_its_place(dataset: Path) -> None:
    (dataset / "bee").mkdir()
    folder = ImageFolder(str(dataset))
    assert folder.classes == ("Yak", "ant", "bee", "zebra")
    assert len(folder) == 6


def test_find_images_gives_every_picture_sorted(dataset: Path) -> None:
    found = find_images(dataset)
    assert found == sorted(found)
    assert [str(path.relative_to(dataset)) for path in found] == [
        "Yak/2.JPG", "ant/a10.jpeg", "ant/a9.jpeg", "ant/b/1.webp", "ant/b-2/0.png",
        "picture.png", "zebra/1.png",
    ]  # fmt: skip
    assert find_images(str(dataset / "ant" / "b")) == [dataset / "ant" / "b" / "1.webp"]


def test_links_are_followed_but_not_in_circles(dataset: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "7.png").touch()
    (dataset / "zebra" / "more").symlink_to(elsewhere)
    (dataset / "zebra" / "up").symlink_to(dataset)
    (elsewhere / "again").symlink_to(dataset / "zebra")
    found = [str(path.relative_to(dataset)) for path in find_images(dataset / "zebra" / "more")]
    assert found[0] == "zebra/more/7.png"
    names = [path.name for path in find_images(dataset)]
    assert names.count("7.png") == 1
    assert names.count("1.png") == 1


def test_a_folder_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    for reader in (find_images, ImageFolder):
        with pytest.raises(ImageError, match="there is no such folder"):
            reader(tmp_path / "missing")
        file = tmp_path / "file.png"
        file.touch()
        with pytest.raises(ImageError, match="is not a folder"):
            reader(file)
    with pytest.raises(ImageError, match="holds no labelled pictures"):
        ImageFolder(tmp_path)
    file.unlink()
    with pytest.raises(ImageError, match="holds no pictures"):
        find_images(tmp_path)
