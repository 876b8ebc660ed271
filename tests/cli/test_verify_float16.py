"""vit-convert verify --arithmetic float16."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from commands import Command
from families import small_vit
from test_report import read

from vit_convert.conversion.h5_file import write_h5
from vit_convert.exporters import export


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For a model that stands float16 and one that does not: NAME.pth, NAME.h5 and
    NAME_float32.tflite."""
    folder = tmp_path_factory.mktemp("files")
    for name, factor in (("right", 1.0), ("broken", 1e4)):
        family = small_vit()
        with torch.no_grad():
            family.model.blocks[0].mlp.fc2.weight.mul_(factor)
        torch.save(family.model.state_dict(), folder / f"{name}.pth")
        write_h5(folder / f"{name}.h5", family.spec, family.tensors())
        export(folder / f"{name}.h5", ["tflite"], folder)
    return folder


def arguments(folder: Path, name: str) -> tuple[str | Path, ...]:
    file, source = folder / f"{name}_float32.tflite", folder / f"{name}.pth"
    return ("verify", file, "--source", source, "--arithmetic", "float16")


def test_it_says_how_far_the_values_are_from_the_end(command: Command, files: Path) -> None:
    done = command(*arguments(files, "right"))
    assert done.code == 0, done.err
    assert " equal " in done.out
    line = (
        r"largest \|value\|: 14\.8, 4\.44e\+03 times below 65504, where float16 ends; in blocks\.0"
    )
    assert re.search(line, done.out)
    assert "goes wrong" not in done.out


def test_it_exits_with_1_and_names_the_block(command: Command, files: Path) -> None:
    done = command(*arguments(files, "broken"))
    assert done.code == 1
    assert "DIFFERS" in done.out
    wrong = "blocks.1 (SQUARE overflows in float16, at blocks.1/norm1/square)"
    assert f"in float16, the first block that goes wrong is {wrong}" in done.out
    assert "where the difference begins" not in done.out  # said already
    assert "the same file is right in float32" in done.err
    done = command(*arguments(files, "broken"), "--json")
    assert done.code == 1
    found = json.loads(done.out)
    assert found["where"] == wrong
    assert found["float16"]["first_bad"]["name"] == "blocks.1"
    assert [block["headroom"] > 1 for block in found["float16"]["blocks"]][:3] == [
        True,
        True,
        False,
    ]


def test_float32_passes_it_and_says_nothing_of_float16(command: Command, files: Path) -> None:
    done = command(*arguments(files, "broken")[:-1], "float32", "--json")
    assert done.code == 0
    found = json.loads(done.out)
    assert (found["arithmetic"], found["float16"]) == ("float32", None)


@pytest.mark.parametrize("wrong", ["h5", "gpu"])
def test_what_cannot_be_is_refused(wrong: str, command: Command, files: Path) -> None:
    name = "right.h5" if wrong == "h5" else "right_float32.tflite"
    more = ["--delegate", "gpu"] if wrong == "gpu" else []
    source = ("--source", files / "right.pth")
    done = command("verify", files / name, *source, "--arithmetic", "float16", *more)
    assert (done.code, done.out) == (2, "")
    assert "--arithmetic float16" in done.err


def test_the_report_shows_each_block_s_range(command: Command, files: Path) -> None:
    done = command(*arguments(files, "broken"), "--report", "r.html")
    assert done.code == 1, done.err
    page = read(Path("r.html"))
    for said in (
        "computed in float16",
        "Float16, as a phone's GPU computes",
        "In float16, the first block that goes wrong is blocks.1 (SQUARE overflows",
        "float16 ends: 65504",
        "digits are lost: 0.03",
        "The range of each block",
        "the same file is right in float32",
    ):
        assert said in page.text, said
    assert "Where the difference begins" not in page.text
    assert len(page.named("svg")) == 4
    source = Path("r.html").read_text(encoding="utf-8")
    (details,) = re.findall(r"<details>.*?</details>", source, re.DOTALL)
    rows = re.findall(r"<tr><td>([\w.]+)(.*?)</tr>", details)
    assert [name for name, _ in rows] == ["embeddings", "blocks.0", "blocks.1", "blocks.2", "head"]
    assert ["badge bad" in row for _, row in rows] == [False, False, True, True, True]
    assert not re.search(r"#0[1-4]0[1-4]0[1-4]", source)  # plots have the page's colours


def test_infinite_differences_are_drawn(command: Command, files: Path) -> None:
    """Warnings of matplotlib, which would draw nothing, are errors."""
    family = small_vit()
    with torch.no_grad():
        family.model.patch_embed.proj.weight.mul_(1e6)
    torch.save(family.model.state_dict(), "wild.pth")
    write_h5(Path("wild.h5"), family.spec, family.tensors())
    export(Path("wild.h5"), ["tflite"], Path())
    done = command(*arguments(Path(), "wild"), "--report", "r.html")
    assert done.code == 1, done.err
    page = read(Path("r.html"))
    assert "embeddings (CONV_2D overflows in float16" in page.text
    assert "NaN or infinity in the artifact's output" in page.text
    assert "inf" in page.text
