"""vit-convert attention."""

from __future__ import annotations

from pathlib import Path

from commands import Command
from PIL import Image


def test_it_writes_a_picture_named_after_the_picture(command: Command, project: Path) -> None:
    done = command("attention", project / "vit.h5", project / "pictures/bee/1.png")
    assert done.code == 0, done.err
    assert done.out == "1_attention.png: block 2, mean of 4 heads, class token\n"
    with Image.open("1_attention.png") as image:
        assert image.format == "PNG"


def test_every_choice_gives_another_picture(command: Command, project: Path) -> None:
    seen = set()
    for choice in ((), ("--block", "0"), ("--head", "2"), ("--rollout",), ("--block", "last")):
        done = command(
            "attention",
            project / "maps/vit_float32.tflite",
            project / "pictures/bee/1.png",
            *choice,
            *("-o", "map.png", "--force"),
        )
        assert done.code == 0, done.err
        seen.add(Path("map.png").read_bytes())
    assert len(seen) == 4  # the last block is the default


def test_an_existing_picture_is_kept(command: Command, project: Path) -> None:
    Path("1_attention.png").write_text("precious")
    done = command("attention", project / "vit.h5", project / "pictures/bee/1.png")
    assert done.code == 2
    assert "--force" in done.err
    assert Path("1_attention.png").read_text() == "precious"


def test_what_cannot_be_shown_is_explained_and_nothing_written(
    command: Command, project: Path
) -> None:
    picture = project / "pictures/bee/1.png"
    for arguments, says in (
        ((project / "vit_float32.tflite", picture), "export MODEL.h5 --attention"),
        ((project / "vit.h5", project / "pictures/ant/broken.png"), "is not a picture"),
        ((project / "vit.h5", picture, "--block", "3"), "0 to 2, or last"),
        ((project / "vit.h5", picture, "--block", "first"), "'last'"),
        ((project / "vit.h5", picture, "--head", "4"), "has 4"),
        ((project / "vit.h5", "nowhere.png"), "nowhere.png"),
        ((project / "nowhere.h5", picture), "nowhere.h5"),
    ):
        done = command("attention", *arguments)
        assert (done.code, done.out) == (2, ""), arguments
        assert says in done.err
    assert not list(Path().iterdir())
