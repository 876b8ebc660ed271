"""No name in a file reaches the terminal as it is: it could move the cursor, or paste commands."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vit_convert.checkpoint import open_checkpoint, write_safetensors
from vit_convert.errors import CheckpointError, VitConvertError

ESCAPES = "\x1b]0;owned\x07\x1b[2J\r\x9b31m\u202etxt.exe"
GOLDEN = Path(__file__).parents[1] / "goldens/dialects/timm-vit/model.pth"


def shown(*arguments: str, folder: Path) -> str:
    command = [sys.executable, "-m", "vit_convert", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True)
    return (done.stdout + done.stderr).decode()


def harmless(text: str) -> bool:
    return all(char.isprintable() or char == "\n" for char in text)


def with_a_hostile_name(folder: Path) -> None:
    arrays = {name: t.read() for name, t in open_checkpoint(GOLDEN).tensors.items()}
    write_safetensors(
        folder / "x.safetensors",
        arrays | {f"extra{ESCAPES}": np.ones(2, np.float32)},
        metadata={f"key{ESCAPES}": ESCAPES},
    )


@pytest.mark.parametrize("command", ["inspect", "torch2keras"])
def test_names_of_tensors(command: str, tmp_path: Path) -> None:
    with_a_hostile_name(tmp_path)
    said = shown(command, "x.safetensors", folder=tmp_path)
    assert "owned" in said
    assert harmless(said)


def test_json_is_escaped_by_its_own_rules(tmp_path: Path) -> None:
    with_a_hostile_name(tmp_path)
    said = shown("inspect", "x.safetensors", "--json", folder=tmp_path)
    assert harmless(said)


def test_names_of_parts(tmp_path: Path) -> None:
    index = {"weight_map": {"w": f"{ESCAPES}.bin"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    said = shown("inspect", "model.safetensors.index.json", folder=tmp_path)
    assert "is not there" in said
    assert harmless(said)


def test_names_of_files(tmp_path: Path) -> None:
    (tmp_path / f"a{ESCAPES}.pth").write_text("no checkpoint")
    said = shown("inspect", f"a{ESCAPES}.pth", folder=tmp_path)
    assert "owned" in said
    assert harmless(said)


def test_labels(tmp_path: Path) -> None:
    (tmp_path / "labels.json").write_text(json.dumps([ESCAPES, 3]))
    said = shown("torch2keras", str(GOLDEN), "--labels", "labels.json", folder=tmp_path)
    assert "label 1 is not a name" in said
    assert harmless(said)


def test_texts_of_a_pickle(tmp_path: Path) -> None:
    from hostile_files import state, text, torch_zip

    path = torch_zip(tmp_path, state(text(ESCAPES)))
    assert harmless(shown("inspect", str(path), folder=tmp_path))


def test_errors_in_python_too() -> None:
    error = CheckpointError(ESCAPES, where=ESCAPES, expected=ESCAPES, hint=ESCAPES)
    assert harmless(str(error))
    assert isinstance(error, VitConvertError)
    assert "\\x1b]0;owned" in error.what
