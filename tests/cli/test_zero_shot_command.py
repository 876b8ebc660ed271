"""vit-convert zero-shot: options, what it prints, and what it leaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import Command
from words.towers import made

from vit_convert.conversion.h5_file import open_keras


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("towers") / "clip"
    made("clip", folder)
    return folder


def test_it_makes_a_classifier(command: Command, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("bird\ngreat crane\ncat\n")
    done = command("zero-shot", clip, "--classes", "classes.txt")
    assert done.code == 0, done.err
    assert done.out.startswith("clip_zero_shot.h5: 3 classes in 1 template, ")
    with open_keras(tmp_path / "clip_zero_shot.h5") as (spec, _):
        assert spec.labels == ("bird", "great crane", "cat")
        assert spec.source.templates == ("a photo of a {}.",)


def test_it_says_in_json_what_it_made(command: Command, clip: Path) -> None:
    given = ("--class", "bird", "--class", "cat", "--imagenet-templates")
    done = command("zero-shot", clip, *given, "-o", "two.h5", "--json")
    assert done.code == 0, done.err
    said = json.loads(done.out)
    assert (said["path"], said["classes"]) == ("two.h5", ["bird", "cat"])
    assert len(said["templates"]) == 80


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((), "no classes are given"),
        (("--class", "bird", "--classes", "classes.txt"), "both are given"),
        (("--classes", "classes.txt"), "'bird' is there twice"),
        (("--class", "bird", "--class", ""), "has no name"),
        (("--class", "bird", "--template", "a bird"), "no place for the class"),
        (("--class", "bird", "--template", "a {}", "--imagenet-templates"), "both are given"),
        (("--class", "bird " * 90), "is too long"),
        (("--class", "bird", "-o", "words.tflite"), "a name that ends in .h5"),
    ],
)
def test_bad_words_end_with_2_and_leave_nothing(
    given: tuple[str, ...], message: str, command: Command, clip: Path, tmp_path: Path
) -> None:
    (tmp_path / "classes.txt").write_text("bird\ncat\nbird\n")
    done = command("zero-shot", clip, *given)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["classes.txt"]
