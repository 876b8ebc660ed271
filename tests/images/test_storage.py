"""Pictures of this machine and of object storage have one name each, and are read by it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from vit_convert.errors import MissingDependencyError
from vit_convert.images import storage
from vit_convert.images.decoding import ImageError
from vit_convert.images.storage import find_labelled, find_pictures, storage_of
from vit_convert.runtime.limits import VARIABLE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b/2.PNG", "b/1 %20,.jpg", "a/3.webp", "a/.hidden.png", ".b/4.png", "a/notes.txt"):
        path = tmp_path / "top" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path / "top"


@pytest.fixture
def memory() -> Iterator[str]:
    """An object storage in memory, by fsspec, with the same in it."""
    files = fsspec.filesystem("memory")
    for name in ("b/2.PNG", "b/1 %20,.jpg", "a/3.webp", "a/.hidden.png", ".b/4.png", "a/notes.txt"):
        files.pipe(f"/top/{name}", name.encode())
    yield "fsspec+memory://top"
    files.rm("/top", recursive=True)
    storage.file_system.cache_clear()


SHOWN = ["a/3.webp", "b/1 %20,.jpg", "b/2.PNG"]


def test_a_folder_means_all_pictures_in_it_sorted(folder: Path) -> None:
    alone = folder / "a" / "notes.txt"  # what is named is taken, whatever its suffix
    found = find_pictures([alone, folder])
    assert found == [str(alone), *(str(folder / name) for name in SHOWN)]


def test_object_storage_gives_the_same(memory: str) -> None:
    found = find_pictures([memory])
    assert found == [f"{memory}/{name}" for name in SHOWN]
    reading = storage_of([f"{memory}/"])
    assert [reading.read(name).decode() for name in found] == SHOWN
    assert find_pictures([f"{memory}/a/3.webp"]) == [f"{memory}/a/3.webp"]


def test_labelled_pictures_are_the_same_in_both(folder: Path, memory: str) -> None:
    classes, items = find_labelled(folder)
    assert classes == ("a", "b")
    remote, remote_items = find_labelled(memory)
    assert remote == classes
    assert [(name.removeprefix(f"{memory}/"), c) for name, c in remote_items] == [
        (os.path.relpath(name, folder), c) for name, c in items
    ]


def test_a_file_address_is_a_path(folder: Path) -> None:
    (address,) = find_pictures([(folder / "b" / "1 %20,.jpg").as_uri()])
    assert address == str(folder / "b" / "1 %20,.jpg")
    assert storage_of([folder.as_uri()]).addresses == ()


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("nowhere", "cannot be read"),
        ("fsspec+memory://nowhere", "there is no such folder"),
        ("nonsense://x/y", "cannot be opened"),
    ],
)
def test_what_is_not_there_is_said(address: str, says: str) -> None:
    with pytest.raises(ImageError, match=says):
        find_pictures([address])


def test_an_object_that_is_gone_or_too_large_is_an_error_of_that_picture(
    memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = storage_of([memory])
    with pytest.raises(ImageError, match="cannot be read"):
        reading.read(f"{memory}/a/gone.png")
    monkeypatch.setenv(VARIABLE, "image_file_bytes=3")
    with pytest.raises(ImageError, match="image_file_bytes"):
        reading.read(f"{memory}/a/3.webp")


def test_relative_paths_begin_at_the_folder_that_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Ray, whose processes have another current folder."""
    from dataclasses import replace

    monkeypatch.chdir(folder.parent)
    names = find_pictures(["top/b"])
    there = replace(storage_of(["top/b"]), folder=str(folder.parent))
    monkeypatch.chdir("/")
    assert [there.read(name) for name in names] == [b"b/1 %20,.jpg", b"b/2.PNG"]


def test_without_pyarrow_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    storage.file_system.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingDependencyError, match=r"vit-convert\[parquet\]"):
        find_pictures(["s3://bucket/folder"])
