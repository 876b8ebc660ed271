"""`export` says which layers stay in float, how long the search for them takes, and where a file
will not run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import Command
from families import small_vit, with_outliers
from pictures import paint

from vit_convert.conversion.h5_file import write_h5

INT8 = ("--tflite", "--precision", "int8-dynamic")
REFUSED = "Per-channel image normalization is not available"


@pytest.fixture(scope="module")
def outlying(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """vit.h5, in which one layer costs too much in int8, and pictures/."""
    folder = tmp_path_factory.mktemp("outlying")
    family = small_vit(seed=1, depth=2)
    write_h5(folder / "vit.h5", family.spec, with_outliers(family, weight=1000.0, bias=-9.0))
    paint(folder / "pictures", 24)
    return folder


@pytest.mark.parametrize("amount", [(), ("--quiet",)])
def test_how_long_the_search_takes_is_said_once_and_on_stderr(
    outlying: Path, command: Command, amount: tuple[str, ...]
) -> None:
    given = ("--calibration", outlying / "pictures")
    done = command(*amount, "export", outlying / "vit.h5", *INT8, *given)
    lines = [line for line in done.err.splitlines() if "the search for layers" in line]
    assert len(lines) == (not amount)
    assert all(line.startswith("int8-dynamic agrees on ") for line in lines)
    assert all("--keep-float none does without" in line for line in lines)
    assert "computes in float: FULLY_CONNECTED blocks.1.mlp.fc2 (relative diff" in done.out
    assert "the search" not in done.out


def test_layers_that_are_asked_for_are_told_by_export_and_inspect(
    outlying: Path, command: Command
) -> None:
    kept = ("--keep-float", "blocks.1.*", "--keep-float", "head")
    done = command("export", outlying / "vit.h5", *INT8, *kept, "--json")
    assert done.code == 0, done.err
    (artifact,) = json.loads(done.out)["artifacts"]
    layers = {entry["layer"]: entry["why"] for entry in artifact["in_float"]}
    assert len(layers) == 7
    assert layers["head"] == "asked for by head"
    said = command("inspect", "vit_int8-dynamic.tflite").out
    assert "computes in float: blocks.1.mlp.fc2 (asked for by blocks.1.*)" in said
    found = json.loads(command("inspect", "vit_int8-dynamic.tflite", "--json").out)
    assert found["in_float"] == artifact["in_float"]
    done = command("export", outlying / "vit.h5", *INT8, "--keep-float", "none", "--force")
    assert (done.code, "computes in float" in done.out) == (0, False)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ((*INT8, "--keep-float", "blocks.0"), "try: --keep-float 'blocks.0.*'"),
        ((*INT8, "--keep-float", "auto", "--keep-float", "head"), "stand alone"),
        (("--tflite", "--keep-float", "none"), "none is asked for"),
        (("--saved-model", "--keep-float", "head"), "none is asked for"),
    ],
)
def test_what_cannot_be_kept_is_refused(
    outlying: Path, command: Command, given: tuple[str, ...], says: str
) -> None:
    done = command("export", outlying / "vit.h5", *given)
    assert done.code == 2
    assert says in done.err
    assert not [*Path().iterdir()]


def test_what_mediapipe_refuses_is_said_once_with_the_flag_that_helps(
    outlying: Path, command: Command
) -> None:
    wanted = ("--tflite", "--precision", "float32", "--precision", "float16")
    done = command("export", outlying / "vit.h5", *wanted)
    assert done.err.count(REFUSED) == 1
    assert "--embed-preprocessing" in done.err
    assert REFUSED not in done.out
    done = command("export", outlying / "vit.h5", *wanted, "--embed-preprocessing", "--force")
    assert (done.code, REFUSED in done.err) == (0, False)
    assert REFUSED not in command("export", outlying / "vit.h5", "--saved-model").err


def test_of_several_models_each_is_named(outlying: Path, command: Command) -> None:
    models = [Path("one.h5"), Path("two.h5")]
    for model in models:
        model.write_bytes((outlying / "vit.h5").read_bytes())
    done = command("export", *models, "--tflite", "--jobs", "1")
    assert done.code == 0
    for model in models:
        assert f"{model}: mean or std differ between the channels" in done.err
