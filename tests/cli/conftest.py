"""The command line in this process, and a small project to use it on."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from commands import CLASSES, Command, Done
from PIL import Image

from vit_convert.cli import main
from vit_convert.conversion.h5_file import write_h5
from vit_convert.exporters import ExportOptions, export


@pytest.fixture
def command_in(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Done]:
    """`command_in(folder, *arguments)` runs vit-convert as `main` does, in a folder.

    A process of its own would import TensorFlow anew.
    """

    def run(folder: Path, *arguments: str | Path) -> Done:
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", ["vit-convert", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ending:
            main()
        said = capsys.readouterr()
        code = ending.value.code
        return Done(code if isinstance(code, int) else 0, said.out, said.err)

    return run


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command_in: Callable[..., Done]
) -> Command:
    """As `command_in`, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return partial(command_in, tmp_path)


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """vit.h5 with labels, vit_float32.tflite, maps/vit_float32.tflite with attention maps, and
    pictures/<class>/, of which one cannot be read."""
    from families import small_vit  # here, because the other fixtures need no PyTorch

    folder = tmp_path_factory.mktemp("project")
    family = small_vit()
    write_h5(folder / "vit.h5", replace(family.spec, labels=CLASSES), family.tensors())
    export(folder / "vit.h5", ["tflite"], folder)
    (folder / "maps").mkdir()
    export(folder / "vit.h5", ["tflite"], folder / "maps", ExportOptions(attention=True))
    rng = np.random.default_rng(0)
    for i in range(14):
        home = folder / "pictures" / CLASSES[i % 7]
        home.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (30, 60, 3), np.uint8)).save(home / f"{i}.png")
    (folder / "pictures" / "ant" / "broken.png").write_bytes(b"no picture")
    return folder
