"""What is wrong with folders is said before anything runs; splits are stratified."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from vit_convert.errors import UsageError
from vit_convert.training.folders import read_folder, read_validation, split


def test_classes_are_those_of_the_folders(pictures: Path) -> None:
    found = read_folder(pictures)
    assert found.classes == ("blue", "green", "red")
    assert np.bincount(found.labels).tolist() == [16, 16, 16]
    other = found.ordered_as(("red", "blue", "green"))
    assert [other.classes[i] for i in other.labels] == [found.classes[i] for i in found.labels]


def test_an_empty_class_is_named(pictures: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(pictures, tmp_path / "train")
    (folder / "yellow").mkdir()
    with pytest.raises(UsageError, match=r"yellow: there is no picture of the class 'yellow'"):
        read_folder(folder)


def test_one_class_is_no_classification(pictures: Path, tmp_path: Path) -> None:
    shutil.copytree(pictures / "red", tmp_path / "train" / "red")
    with pytest.raises(UsageError, match="one class alone, 'red'"):
        read_folder(tmp_path / "train")


def test_a_class_in_validation_only_is_named(pictures: Path, tmp_path: Path) -> None:
    shutil.copytree(pictures / "red", tmp_path / "held" / "pink")
    with pytest.raises(UsageError, match="class 'pink' is in the validation folder only"):
        read_validation(tmp_path / "held", ("blue", "green", "red"))


def test_splits_hold_back_the_same_share_of_each_class(pictures: Path) -> None:
    found = read_folder(pictures)
    kept, held = split(found, 0.25, seed=3)
    assert np.bincount(held.labels).tolist() == [4, 4, 4]
    assert not set(kept.paths) & set(held.paths)
    assert set(kept.paths) | set(held.paths) == set(found.paths)
    again = split(found, 0.25, seed=3)[1]
    assert again.paths == held.paths
    assert split(found, 0.25, seed=4)[1].paths != held.paths


@pytest.mark.parametrize("fraction", [-0.1, 1.0, 3.0])
def test_impossible_shares_are_refused(pictures: Path, fraction: float) -> None:
    with pytest.raises(UsageError, match="cannot be held back"):
        split(read_folder(pictures), fraction, 0)


def test_a_single_picture_cannot_be_shared(pictures: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(pictures, tmp_path / "train")
    for path in sorted((folder / "red").iterdir())[1:]:
        path.unlink()
    with pytest.raises(UsageError, match="'red' has a single picture"):
        split(read_folder(folder), 0.5, 0)
