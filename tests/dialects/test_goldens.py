"""Small checkpoints of every naming scheme convert as their libraries ran them; without PyTorch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vit_convert.architectures import Overrides
from vit_convert.checkpoint import open_checkpoint
from vit_convert.conversion.files import keras2torch, torch2keras
from vit_convert.dialects import dialects
from vit_convert.exporters import export, open_artifact

FOLDER = Path(__file__).parent.parent / "goldens" / "dialects"
DOCUMENTATION = Path(__file__).parent.parent.parent / "docs" / "dialects.md"
DIALECTS = [f"{d.name}-{d.architecture}" for d in dialects()]
NAMES = sorted(path.name for path in FOLDER.iterdir())


def test_every_dialect_has_a_golden() -> None:
    """And kinds of models that share one have some of their own: `Scheme.golden`."""
    assert set(DIALECTS) <= set(NAMES)


@pytest.mark.parametrize("dialect", dialects(), ids=DIALECTS)
def test_every_dialect_has_a_row_in_the_documentation(dialect: Any) -> None:
    rows = [line for line in DOCUMENTATION.read_text().splitlines() if line.startswith("| `")]
    assert any(row.startswith(f"| `{dialect.name}` | {dialect.architecture} |") for row in rows)


@pytest.mark.parametrize("name", NAMES)
def test_a_golden_gives_what_its_library_gave(name: str, tmp_path: Path) -> None:
    expected = np.load(FOLDER / name / "expected.npz")
    about = json.loads(str(expected["about"]))
    overrides = Overrides(**about["stated"])
    source = FOLDER / name / about["checkpoint"]
    result = torch2keras(source, tmp_path / "m.h5", overrides=overrides)
    assert result.ledger.dialect.name == about["dialect"]
    assert len(result.ledger.ignored) == about["ignored"]
    (got,) = (
        open_artifact(export(tmp_path / "m.h5", ["tflite"], tmp_path)[0])
        .run(expected["images"])
        .values()
    )  # test_schemes.py has the Keras models
    outputs = expected["outputs"]
    assert got.shape == outputs.shape
    assert np.abs(got - outputs).max() < 1e-5 * np.abs(outputs).max()
    back = tmp_path / ("back.npz" if result.checkpoint.format == "npz" else "back.safetensors")
    keras2torch(tmp_path / "m.h5", back)
    again = open_checkpoint(back).tensors
    kept = set(result.checkpoint.tensors) - set(result.ledger.ignored)
    assert set(again) == kept
    for tensor in kept:
        np.testing.assert_array_equal(
            again[tensor].read(), result.checkpoint.tensors[tensor].read()
        )


@pytest.mark.slow
@pytest.mark.once
def test_they_hold_where_there_is_no_pytorch() -> None:
    """In a process of their own, in which its import fails, and with that what compares with it."""
    program = (
        "import sys; sys.modules.update(dict.fromkeys(['torch', 'timm', 'transformers']))\n"
        "import pytest; sys.exit(pytest.main(sys.argv[1:]))"
    )
    chosen = [
        "tests/dialects",
        "-k",
        "gives and timm-vit",
        "-q",
        "-p",
        "no:cacheprovider",
    ]
    done = subprocess.run(
        [sys.executable, "-c", program, *chosen],
        cwd=FOLDER.parents[2],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
