"""torch2keras and export of several inputs, and their JSON."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import Command

from vit_convert.checkpoint import write_torch
from vit_convert.cli import many
from vit_convert.errors import VitConvertError
from vit_convert.progress import silent

sys.path.append(str(Path(__file__).parents[2] / "scripts"))
from fuzzing.corpus import keras_archive

GOLDEN = Path(__file__).parents[1] / "goldens/dialects/timm-vit/model.pth"
HEADS = ("--num-heads", "3")


@pytest.fixture
def checkpoints(command: Command) -> tuple[str, ...]:
    """Three in this folder, the second of which is none."""
    for name in ("one.pth", "three.pth"):
        shutil.copyfile(GOLDEN, name)
    Path("two.pth").write_text("no checkpoint")
    return "one.pth", "two.pth", "three.pth"


@pytest.mark.parametrize("jobs", [(), ("--jobs", "1"), ("--jobs", "7")])
def test_the_good_ones_are_written_and_all_are_in_the_table(
    jobs: tuple[str, ...], command: Command, checkpoints: tuple[str, ...]
) -> None:
    done = command("torch2keras", *checkpoints, *HEADS, "-o", "new/folder", *jobs)
    assert done.code == 2
    assert sorted(os.listdir("new/folder")) == ["one.h5", "three.h5"]
    alone = command("torch2keras", "one.pth", *HEADS)
    assert alone.code == 0
    assert Path("one.h5").read_bytes() == Path("new/folder/one.h5").read_bytes()
    lines = [line.split() for line in done.out.splitlines()]
    rows = {line[0]: line for line in lines if line and line[0].endswith(".pth")}
    assert list(rows) == list(checkpoints)
    assert rows["one.pth"][-3:-1] == ["new/folder/one.h5", "0.1"]
    assert rows["two.pth"][1] == "failed:"
    assert "error: two.pth: this is a text" in done.err
    assert "warning: one.pth: pool is assumed" in done.err
    assert "warning: pool is assumed" in alone.err


def test_json_has_all_of_them(command: Command, checkpoints: tuple[str, ...]) -> None:
    done = command("torch2keras", *checkpoints, *HEADS, "-o", "out", "--json")
    assert done.code == 2
    found = json.loads(done.out)
    assert found["failed"] == 1
    assert [model["source"] for model in found["models"]] == list(checkpoints)
    assert "this is a text" in found["models"][1]["error"]["what"]
    alone = json.loads(command("torch2keras", "one.pth", *HEADS, "-o", "a.h5", "--json").out)
    assert alone.pop("path") == "a.h5"
    assert alone["architecture"] == "Vision Transformer"
    assert any("gelu is assumed" in line for line in alone["warnings"])
    together = found["models"][0]
    assert (together.pop("error"), together.pop("path")) == (None, "out/one.h5")
    assert together == alone
    back = json.loads(command("keras2torch", "a.h5", "-o", "a.safetensors", "--json").out)
    assert (back["source"], back["path"], back["dialect"]) == ("a.h5", "a.safetensors", "timm")
    assert back["bytes"] == Path("a.safetensors").stat().st_size


def test_one_goes_into_a_folder_too(command: Command, checkpoints: tuple[str, ...]) -> None:
    """As a pattern that only one file matches."""
    assert command("torch2keras", "one.pth", *HEADS, "-o", "out").code == 0
    assert os.listdir("out") == ["one.h5"]
    done = command("torch2keras", "two.pth", "-o", "other/folder")
    assert done.code == 2
    assert not Path("other").exists()


def test_two_outputs_of_one_name_are_refused(
    command: Command, checkpoints: tuple[str, ...]
) -> None:
    Path("sub").mkdir()
    shutil.copyfile(GOLDEN, "sub/one.safetensors")
    for arguments in (
        ("torch2keras", "one.pth", "sub/one.safetensors"),
        ("torch2keras", "one.pth", "one.pth"),
        ("export", "one.pth", "sub/one.safetensors", "--tflite"),
    ):
        done = command(*arguments, "-o", "out")
        assert (done.code, done.out) == (2, "")
        assert f"one.pth and {arguments[2]} would both be written" in done.err
        assert not Path("out").exists()


def test_several_do_not_go_into_one_file(command: Command, checkpoints: tuple[str, ...]) -> None:
    done = command("torch2keras", "one.pth", "three.pth", *HEADS, "-o", "all.h5")
    assert (done.code, done.out) == (2, "")
    assert "is the name of one file, and there are 2 checkpoints" in done.err


def test_wrong_options_are_said_once(command: Command, checkpoints: tuple[str, ...]) -> None:
    done = command("torch2keras", "one.pth", "three.pth", *HEADS, "--labels", "x.txt", "-o", "out")
    assert (done.code, done.out) == (2, "")
    assert done.err.count("error") == 1
    assert not Path("out").exists()


def test_export_takes_models_and_checkpoints(
    command: Command, checkpoints: tuple[str, ...]
) -> None:
    assert command("torch2keras", "three.pth", *HEADS, "-o", "three.h5").code == 0
    done = command("export", "three.h5", "one.pth", "two.pth", "--tflite", "-o", "a/b", "--json")
    assert done.code == 2
    found = json.loads(done.out)
    assert (found["failed"], found["passed"]) == (2, True)
    (artifact,) = found["models"][0]["artifacts"]
    assert artifact["path"] == "a/b/three_float32.tflite"
    assert artifact["bytes"] == Path(artifact["path"]).stat().st_size
    assert os.listdir("a/b") == ["three_float32.tflite"]
    # what torch2keras asks for is not an option of export
    assert "vit-convert torch2keras one.pth, then export; --num-heads" in done.err
    table = command("export", "three.h5", "two.pth", "--tflite", "-o", "c")
    assert table.code == 2
    assert "c/three_float32.tflite" in table.out
    assert "failed: is no readable HDF5 file" in table.out


def test_a_checkpoint_is_converted_first_with_the_defaults(
    command: Command,
) -> None:
    from families import small_vit

    wide = small_vit(embed_dim=128, num_heads=2, image_size=(24, 24), patch_size=(8, 8))
    write_torch(Path("wide.pth"), {n: t.read() for n, t in wide.tensors().items()}, {})
    done = command("export", "wide.pth", "--tflite", "-o", "direct")
    assert done.code == 0, done.err
    assert "assumed" in done.err
    assert command("torch2keras", "wide.pth").code == 0
    assert command("export", "wide.h5", "--tflite", "-o", "stepwise").code == 0
    name = "wide_float32.tflite"
    assert Path("direct", name).read_bytes() == Path("stepwise", name).read_bytes()
    assert not Path("direct/wide.h5").exists()


def test_a_process_that_ends_fails_one_input_alone(tmp_path: Path) -> None:
    """As when the system kills it because it needs too much memory."""
    shutil.copyfile(GOLDEN, tmp_path / "good.pth")
    from vit_convert.statements.option_file import Options

    stated = Options({"num_heads": 3})
    tasks: list[Any] = [
        (tmp_path / "good.pth", tmp_path / f"{i}.h5", stated, False) for i in range(3)
    ]
    tasks[1] = _Ends()
    names = [tmp_path / f"{i}.pth" for i in range(3)]
    results = dict(many.run_all("converting", tasks, names, 1, silent))
    assert isinstance(results[1], VitConvertError)
    assert "its process ended" in results[1].what
    assert results[1].where == str(names[1])
    assert [results[i].path.name for i in (0, 2)] == ["0.h5", "2.h5"]


class _Ends:
    """Ends the process that unpickles it."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[int]]:
        return os._exit, (9,)


def test_a_signal_ends_all_processes_and_leaves_nothing_half_written(
    command: Command,
) -> None:
    """What was whole before it stays."""
    for i in range(12):
        shutil.copyfile(GOLDEN, f"{i}.pth")
    arguments = [f"{i}.pth" for i in range(12)]
    process = subprocess.Popen(
        [sys.executable, "-m", "vit_convert", "torch2keras", *arguments, *HEADS, "-o", "out",
         "--jobs", "2"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    until = time.monotonic() + 60
    # One of each process may be taken back: it is in its place, and not yet on the disk for good.
    while len(list(Path().glob("out/*.h5"))) < 3:
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.001)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (143, "")
    assert "stopped; no output is half written" in err
    with pytest.raises(ProcessLookupError):  # nobody of its session is left
        os.killpg(process.pid, 0)
    written = list(Path("out").iterdir())
    assert 1 <= len(written) <= 12
    for path in written:
        assert command("torch2keras", f"{path.stem}.pth", *HEADS).code == 0
        assert path.read_bytes() == Path(path.name).read_bytes()


def test_export_without_a_model_takes_the_one_that_is_there(command: Command) -> None:
    command("torch2keras", GOLDEN, *HEADS, "-o", "alone.h5")
    Path("other.keras").write_bytes(keras_archive(Path("alone.h5")))
    done = command("export", "--tflite")
    assert done.code == 2
    assert "there are 2: alone.h5, other.keras" in done.err
    Path("alone.h5").unlink()
    done = command("export", "--tflite")
    assert done.code == 0, done.err
    assert Path("other_float32.tflite").is_file()
