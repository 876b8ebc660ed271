"""vit-convert verify --report: one file, whole or not at all, that needs nothing else."""

from __future__ import annotations

import base64
import io
import json
import re
import warnings
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from commands import Command
from families import small_vit
from PIL import Image

from vit_convert.architectures import Output
from vit_convert.architectures.outputs import OutputKind
from vit_convert.conversion.h5_file import write_h5
from vit_convert.exporters import ExportOptions, export
from vit_convert.parity.compare import BlockDifference
from vit_convert.parity.verify import verify
from vit_convert.reporting.page import ONE_OF
from vit_convert.reporting.plots import block_plot, output_plot

NASTY = '<script>alert("1")</script>'
VOID = {"meta", "img", "br", "wbr"}


@dataclass
class Page(HTMLParser):
    """What is in a page; fails on tags that do not match."""

    text: str = ""
    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style":
            self.text += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def read(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    page.close()
    return page


@pytest.fixture(scope="module")
def models(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """vit.pth, nasty.h5 and nasty_float32.tflite with nasty labels, reference.npz."""
    folder = tmp_path_factory.mktemp("models")
    family = small_vit()
    torch.save(family.model.state_dict(), folder / "vit.pth")
    labels = (NASTY, *"bcdefg")
    spec = replace(family.spec, labels=labels)
    spec = replace(
        spec, source=replace(spec.source, file=f"{NASTY[:8]}.pth", provenance={"gelu": "given"})
    )
    write_h5(folder / "nasty.h5", spec, family.tensors())
    export(folder / "nasty.h5", ["tflite"], folder, ExportOptions(attention=True))
    images = family.images(3)
    np.savez(folder / "reference.npz", images=images, logits=family.logits(images))
    return folder


def test_it_shows_all_that_is_found(command: Command, models: Path, project: Path) -> None:
    done = command(
        *("verify", models / "nasty_float32.tflite", "--source", models / "vit.pth"),
        *("--images", project / "pictures/bee", "--report", "report.html"),
    )
    assert done.code == 0, done.err
    assert "report.html: report" in done.out
    page = read(Path("report.html"))
    for said in (
        "equal to its source",
        "on 2 images",
        "timm",
        "<script>.pth",  # the file's name, as text
        "gelu",
        "given",
        "a default, which the checkpoint cannot confirm" if "assumed" in page.text else "gelu",
        "FULLY_CONNECTED",
        "run on XNNPACK's kernels",
        "median of one inference",
        "and 3 attention maps",
        "--attention",
        "vit-convert verify",
        "numpy ",
        "Python 3",
    ):
        assert said in page.text, said
    assert len(page.named("svg")) == 2
    assert "embeddings" in page.text
    assert "allowed: 1.0e-05" in page.text
    (picture,) = page.named("img")
    kind, _, content = str(picture["src"]).partition(",")
    assert kind == "data:image/png;base64"
    assert Image.open(io.BytesIO(base64.b64decode(content))).width > 800


def test_there_is_a_word_for_each_kind_of_output() -> None:
    assert {*ONE_OF} == {*get_args(OutputKind)}


@pytest.mark.parametrize(
    ("output", "word"), [("sigmoid", "probability"), ("embedding", "value of the vector")]
)
def test_it_names_what_is_compared(
    command: Command, models: Path, tmp_path: Path, output: Output, word: str
) -> None:
    (path,) = export(models / "nasty.h5", ["tflite"], tmp_path, ExportOptions(output=output))
    done = command("verify", path, "--source", models / "vit.pth", "--report", "report.html")
    assert done.code == 0, done.err
    assert f"Of each {word}, the largest" in read(Path("report.html")).text


def test_it_needs_nothing_else_and_trusts_nobody(command: Command, models: Path) -> None:
    """No scripts, nothing loaded, and the strings of files are text."""
    arguments = ("verify", models / "nasty.h5", "--reference", models / "reference.npz")
    done = command(*arguments, "--report", "r.html")
    assert done.code == 0, done.err
    page = read(Path("r.html"))
    assert not page.named("script")
    assert not page.named("link")
    assert NASTY in page.text
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "xlink:href", "srcset", "data", "action"):
            value = attributes.get(name) or "#"
            assert value.startswith(("#", "data:image/png")), (tag, value)
    source = Path("r.html").read_text(encoding="utf-8")
    assert "url(" not in re.sub(r"url\(#\w+\)", "", source)
    assert "@import" not in source
    assert "prefers-color-scheme: dark" in source
    assert not re.search(r"#0[1-4]0[1-4]0[1-4]", source)  # plots have the page's colours


@pytest.mark.gpu
def test_of_the_gpu_it_says_what_ran_there(command: Command, models: Path) -> None:
    arguments = ("verify", models / "nasty_float32.tflite", "--delegate", "gpu")
    reference = ("--reference", models / "reference.npz")
    done = command(*arguments, *reference, "--report", "r.html", "--json")
    assert done.code == 0, done.err
    gpu = json.loads(done.out)["gpu"]
    page = read(Path("r.html"))
    assert "equal to its source" in page.text
    assert f"run on the GPU, {gpu['adapter']}" in page.text
    assert f"On the GPU, {gpu['operations']} of {gpu['operations']} operations run" in page.text
    assert "|logits| on the GPU" in page.text
    assert "median of one inference on the CPU" in page.text
    assert len(page.named("svg")) == 1  # no blocks were recorded


@pytest.mark.gpu
def test_what_the_gpu_does_not_run_is_no_difference(command: Command, models: Path) -> None:
    export(models / "nasty.h5", ["tflite"], Path(), ExportOptions(batch_size="dynamic"))
    done = command(
        *("verify", "nasty_float32.tflite", "--delegate", "gpu"),
        *("--reference", models / "reference.npz", "--report", "r.html"),
    )
    assert done.code == 1, done.err
    page = read(Path("r.html"))
    assert "the GPU does not run it" in page.text
    assert "not run" in page.text
    assert "export with --batch-size 1" in page.text
    for wrong in ("differs", "equal to", "inf", "nan"):
        assert wrong not in page.text.lower().replace("inference", ""), wrong


def test_where_a_difference_begins_is_shown(command: Command, models: Path) -> None:
    family = small_vit()
    with torch.no_grad():
        family.model.blocks[1].mlp.fc2.weight[3, 5] += 1
    torch.save(family.model.state_dict(), "other.pth")
    done = command(
        *("verify", models / "nasty_float32.tflite", "--source", "other.pth"),
        *("--report", "r.html"),
    )
    assert done.code == 1
    page = read(Path("r.html"))
    assert "differs from its source" in page.text
    assert re.search(r"first block that differs is blocks\.1 ", page.text)
    assert "there is no picture" in page.text


def test_every_block_and_output_of_an_equal_artifact_is_equal(models: Path, project: Path) -> None:
    result = verify(
        models / "nasty_float32.tflite",
        source=models / "vit.pth",
        images=project / "pictures/bee",
        profile=True,
    )
    assert result.profile is not None
    names = [block.name for block in result.profile.blocks]
    assert names == ["embeddings", "blocks.0", "blocks.1", "blocks.2"]
    assert all(block.passed for block in result.profile.blocks)
    assert len(result.profile.outputs) == 7
    assert max(result.profile.outputs) == pytest.approx(result.comparison.relative)


@pytest.mark.parametrize("worst", [0.0, 1e-7, 0.3, float("inf")])
@pytest.mark.parametrize("best", [0.0, 1e-7, 0.3])
def test_plots_have_room_for_any_difference(best: float, worst: float) -> None:
    """Warnings of matplotlib, which would draw nothing, are errors."""
    blocks = [BlockDifference(name, 0, best, 2e-6) for name in ("embeddings", "blocks.0")]
    blocks.append(BlockDifference("blocks_token_only.0", 0, worst, 2e-6))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot = block_plot(blocks, 2e-6)
        assert "blocks_token_only.0" in plot
        assert "allowed: 2.0e-06" in plot
        if np.isfinite(worst):
            for count, most in ((3, 30_000), (1000, 200_000)):
                labels = [NASTY] * count
                plot = output_plot([best] * (count - 1) + [worst], labels, 1e-5)
                assert plot.startswith("<svg ")
                assert NASTY[:8] not in plot
                assert len(plot) < most


def test_several_artifacts_are_compared_in_one_table(command: Command, models: Path) -> None:
    artifacts = (models / "nasty.h5", models / "nasty_float32.tflite")
    arguments = ("verify", *artifacts, "--reference", models / "reference.npz")
    done = command(*arguments, "--report", "r.html", "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert [Path(a["artifact"]).name for a in found["artifacts"]] == [a.name for a in artifacts]
    assert found["passed"] is True
    page = read(Path("r.html"))
    assert [s["id"] for s in page.named("section") if "id" in s] == ["artifact-1", "artifact-2"]
    assert page.text.count("equal") >= 5
    assert command(*arguments, "--tolerance", "1e-12").code == 1


def test_a_report_appears_whole_or_not_at_all(command: Command, models: Path) -> None:
    arguments = ("verify", models / "nasty.h5", "--reference", models / "reference.npz")
    Path("r.html").write_text("precious")
    done = command(*arguments, "--report", "r.html")
    assert (done.code, done.out) == (2, "")
    assert Path("r.html").read_text() == "precious"
    done = command(*arguments, "--report", "nowhere/r.html")
    assert (done.code, done.out) == (2, "")
    assert "mkdir -p nowhere" in done.err
    done = command("verify", "nowhere.h5", "--reference", "no.npz", "--report", "new.html")
    assert done.code == 2
    assert [p.name for p in Path().iterdir()] == ["r.html"]
