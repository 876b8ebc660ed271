"""Small checkpoints of every naming scheme convert as their libraries ran them; without PyTorch."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vit_convert.architectures import Overrides, architecture
from vit_convert.checkpoint import open_checkpoint
from vit_convert.conversion.convert import recognise
from vit_convert.conversion.files import keras2torch, torch2keras
from vit_convert.dialects import dialects
from vit_convert.errors import UsageError
from vit_convert.exporters import export, open_artifact

FOLDER = Path(__file__).parent.parent / "goldens" / "dialects"
DOCUMENTATION = Path(__file__).parent.parent.parent / "docs" / "dialects.md"
DIALECTS = [f"{d.name}-{d.architecture}" for d in dialects()]
OPTIONS: dict[str, Any] = {  # a value of each that some model has
    "variant": "vit_tiny_patch16_224",
    "num_heads": 2,
    "gelu": "erf",
    "norm": "layer",
    "norm_eps": 1e-5,
    "norm_position": "pre",
    "position": "all",
    "rotary": "none",
    "rotary_base": 50.0,
    "rotary_grid": (3, 4),
    "pool": "avg",
    "pool_heads": 3,
    "pool_prefix": True,
    "taps": (0, 1),
    "depth_activation": "relu",
    "max_depth": 9.0,
    "image_size": (32, 48),
    "num_classes": 5,
    "mean": (0.1, 0.2, 0.3),
    "std": (0.4, 0.5, 0.6),
    "interpolation": "bilinear",
    "crop_pct": 0.8,
    "crop_mode": "squash",
}
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


@pytest.mark.parametrize("name", NAMES)
def test_an_option_that_changes_nothing_is_refused(name: str) -> None:
    """One of another architecture, or one that such a model does not read."""
    assert {*OPTIONS, "stated", "scheme"} == {field.name for field in fields(Overrides)}
    about = json.loads(str(np.load(FOLDER / name / "expected.npz")["about"]))
    checkpoint = open_checkpoint(FOLDER / name / about["checkpoint"])
    known = Overrides(**about["stated"])
    found = recognise(checkpoint, known)
    family, unused = architecture(found.spec.architecture), found.recognition.unused
    foreign = {option for option in OPTIONS if option not in family.options(family.config_class)}
    assert family.name == "dense" or {"taps", "depth_activation", "max_depth"} <= foreign
    for option in sorted(foreign | (unused & set(OPTIONS))):
        value = OPTIONS[option] if option in foreign else getattr(found.spec.config, option)
        value = OPTIONS[option] if value is None else value
        with pytest.raises(UsageError, match=f"^--{option.replace('_', '-')}"):
            recognise(checkpoint, replace(known, **{option: value}))
