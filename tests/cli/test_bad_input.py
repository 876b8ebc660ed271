"""Bad input: a clear message, exit code 2, and nothing written or lost."""

from __future__ import annotations

import errno
import resource
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import Command
from families import small_vit

STATED = ("--num-heads", "4", "--image-size", "24x50")


def process(folder: Path, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run vit-convert in a folder, as a user would."""
    command = [sys.executable, "-m", "vit_convert", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, **options)


def state() -> dict[str, torch.Tensor]:
    return dict(small_vit().model.state_dict())


def write_text(path: Path) -> None:
    path.write_text("this is no checkpoint")


def write_truncated(path: Path) -> None:
    torch.save(state(), path)
    path.write_bytes(path.read_bytes()[:-5000])


def write_resnet(path: Path) -> None:
    from vit_convert.parity.sources.torch_compat import import_vision

    torch.save(import_vision("torchvision.models").resnet18().state_dict(), path)


def write_missing(path: Path) -> None:
    torch.save({k: v for k, v in state().items() if k != "blocks.1.attn.qkv.bias"}, path)


def write_extra(path: Path) -> None:
    torch.save(state() | {"rope.freqs": torch.ones(3)}, path)


def write_misshapen(path: Path) -> None:
    torch.save(state() | {"blocks.1.mlp.fc1.weight": torch.ones(36, 63)}, path)


def write_nan(path: Path) -> None:
    torch.save(state() | {"norm.bias": torch.full((36,), torch.nan)}, path)


def write_nothing(path: Path) -> None:
    torch.save({"epoch": 3}, path)


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (write_text, "source.pth"),
        (write_truncated, "truncated"),
        (write_resnet, "a ResNet"),
        (write_missing, "blocks.1.attn.qkv.bias"),
        (write_extra, "rope.freqs"),
        (write_misshapen, "blocks.1.mlp.fc1.weight"),
        (write_nan, "36 of 36 values are NaN"),
        (write_nothing, "source.pth"),
    ],
    ids=lambda x: x.__name__ if callable(x) else "",
)
def test_unusable_checkpoint(
    write: Callable[[Path], None], says: str, command: Command, tmp_path: Path
) -> None:
    write(tmp_path / "source.pth")
    done = command("torch2keras", "source.pth", *STATED)
    assert done.code == 2
    assert done.out == ""
    assert "error" in done.err
    assert "expected:" in done.err
    assert says in done.err
    assert "Traceback" not in done.err
    assert [p.name for p in tmp_path.iterdir()] == ["source.pth"]


def test_missing_file(command: Command, tmp_path: Path) -> None:
    for name in ("inspect", "torch2keras", "keras2torch", "export", "verify"):
        extra = ("--reference", "x.npz") if name == "verify" else ()
        done = command(name, "nowhere", *extra)
        assert (done.code, done.out) == (2, ""), name
        assert "nowhere" in done.err
    assert not list(tmp_path.iterdir())


def test_existing_output_is_kept(command: Command, tmp_path: Path) -> None:
    torch.save(state(), tmp_path / "source.pth")
    (tmp_path / "source.h5").write_text("precious")
    done = command("torch2keras", "source.pth", *STATED)
    assert done.code == 2
    assert "--force" in done.err
    assert (tmp_path / "source.h5").read_text() == "precious"
    assert command("torch2keras", "source.pth", *STATED, "--force").code == 0
    assert (tmp_path / "source.h5").stat().st_size > 1000


def test_no_space_left(tmp_path: Path) -> None:
    """A limit on the size of files stands for a full disk; the failing call is a real write."""
    torch.save(state(), tmp_path / "source.pth")

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    done = process(tmp_path, "torch2keras", "source.pth", *STATED, preexec_fn=limit)
    assert done.returncode == 2
    assert "cannot be written" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["source.pth"]


def test_full_disk(tmp_path: Path) -> None:
    """What is known before writing, and what the system says while writing."""
    from vit_convert.errors import OutputError
    from vit_convert.runtime.atomic_write import atomic_write, check_space

    with pytest.raises(OutputError, match="no space left") as error:
        check_space(tmp_path, 2**62)
    assert "MB free" in error.value.expected

    def write() -> None:
        with atomic_write(tmp_path / "x", force=False) as path:
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OutputError, match="no space left"):
        write()
    assert not list(tmp_path.iterdir())


def test_folder_that_does_not_exist(command: Command, tmp_path: Path) -> None:
    torch.save(state(), tmp_path / "source.pth")
    done = command("torch2keras", "source.pth", *STATED, "-o", "nowhere/model.h5")
    assert done.code == 2
    assert "mkdir -p nowhere" in done.err


def test_export_without_model(command: Command, tmp_path: Path) -> None:
    done = command("export", "--tflite")
    assert done.code == 2
    assert "there is none" in done.err
    torch.save(state(), tmp_path / "source.pth")
    for name in ("a.h5", "b.h5"):
        assert command("torch2keras", "source.pth", *STATED, "-o", name).code == 0
    done = command("export", "--tflite")
    assert done.code == 2
    assert "there are 2: a.h5, b.h5" in done.err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.h5", "b.h5", "source.pth"]


@pytest.mark.parametrize(
    "options",
    [
        ("--image-size", "0"),
        ("--image-size", "24x50x3"),
        ("--mean", "0.5,0.5"),
        ("--gelu", "relu"),
        ("--norm-eps", "0"),
        ("--num-heads", "5", "--image-size", "24x50"),
        ("--variant", "vit_enormous"),
        ("--crop-pct", "1.5"),
        ("--key", "ema"),
        ("--labels", "nowhere.txt", *STATED),
    ],
    ids=" ".join,
)
def test_bad_options(options: tuple[str, ...], command: Command, tmp_path: Path) -> None:
    torch.save(state(), tmp_path / "source.pth")
    done = command("torch2keras", "source.pth", *options)
    assert done.code == 2
    assert "rror" in done.err
    assert "Traceback" not in done.err
    assert [p.name for p in tmp_path.iterdir()] == ["source.pth"]


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    write_text(tmp_path / "source.pth")
    done = process(tmp_path, "--debug", "inspect", "source.pth")
    assert "Traceback" in done.stderr
    assert done.returncode != 0


def test_labels_must_match_the_classes(command: Command, tmp_path: Path) -> None:
    torch.save(state(), tmp_path / "source.pth")
    (tmp_path / "labels.txt").write_text("a\nb\n")
    done = command("torch2keras", "source.pth", *STATED, "--labels", "labels.txt")
    assert done.code == 2
    assert "7" in done.err
    assert not (tmp_path / "source.h5").exists()


def test_verify_needs_something_to_compare_with(command: Command, tmp_path: Path) -> None:
    torch.save(state(), tmp_path / "source.pth")
    assert command("torch2keras", "source.pth", *STATED).code == 0
    done = command("verify", "source.h5")
    assert done.code == 2
    np.savez(tmp_path / "empty.npz", nothing=np.ones(3))
    done = command("verify", "source.h5", "--reference", "empty.npz")
    assert done.code == 2
    assert "images" in done.err


@pytest.mark.slow
def test_a_name_that_is_nearly_right_is_told(command: Command, tmp_path: Path) -> None:
    for name in ("model.pth", "model.h5", "vit_float32.tflite", "picture.jpg", "reference.npz"):
        (tmp_path / name).touch()
    (tmp_path / "pictures").mkdir()
    torch.save(state(), tmp_path / "source.pth")
    assert command("torch2keras", "source.pth", *STATED, "-o", "real.h5").code == 0
    for arguments, there in (
        (("inspect", "modle.pth"), "model.pth"),
        (("export", "mode.h5"), "model.h5"),
        (("benchmark", "vit_float16.tflite"), "vit_float32.tflite"),
        (("predict", "real.h5", "Picture.jpg"), "picture.jpg"),
        (("verify", "real.h5", "--reference", "referense.npz"), "reference.npz"),
        (("evaluate", "real.h5", "picture"), "pictures"),
    ):
        done = command(*arguments)
        assert (done.code, done.out) == (2, ""), arguments
        assert f"try: {there}, which is there" in done.err, done.err


def test_another_kind_of_file_is_told_by_its_kind(command: Command, tmp_path: Path) -> None:
    torch.save(state(), tmp_path / "source.pth")
    (tmp_path / "photo.h5").write_bytes(b"\xff\xd8\xff and so on")
    (tmp_path / "half.h5").write_bytes(b"\x89HDF\r\n\x1a\n and so on")
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        archive.writestr("model.weights.h5", "weights")
    (tmp_path / "half.keras").write_bytes((tmp_path / "model.keras").read_bytes()[:-9])
    np.savez(tmp_path / "arrays.npz", images=np.ones(3))
    for arguments, says in (
        (("export", "source.pth"), "the number of attention heads is not known"),
        (("export", "half.h5"), "an HDF5 file, but truncated or damaged"),
        (("export", "model.keras"), "it is a .keras archive, a Keras model"),
        (("predict", "half.keras", "x.jpg"), "the zip archive is truncated or damaged"),
        (("predict", "arrays.npz", "x.jpg"), "it is an .npz file of arrays"),
        (("export", "source.pth"), "try: vit-convert torch2keras source.pth"),
        (("keras2torch", "photo.h5"), "it is a JPEG picture"),
        (("predict", "source.pth", "x.jpg"), "try: vit-convert torch2keras source.pth, then"),
        (("verify", "photo.h5", "--source", "source.pth"), "it is a JPEG picture"),
    ):
        done = command(*arguments)
        assert (done.code, done.out) == (2, ""), arguments
        assert says in done.err, done.err


def test_a_folder_is_not_replaced_by_something_else(tmp_path: Path) -> None:
    """Not even with --force, unless it is what the command writes."""
    from vit_convert.errors import OutputError
    from vit_convert.runtime.atomic_write import atomic_write, check_output

    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    for mark in ("", "saved_model.pb"):
        with pytest.raises(OutputError, match="is kept"):
            check_output(tmp_path / "mine", force=True, folder_with=mark)
    (tmp_path / "mine" / "saved_model.pb").touch()
    with pytest.raises(OutputError, match="is a folder"):
        check_output(tmp_path / "mine", force=True)
    with pytest.raises(OutputError, match="--force"):
        check_output(tmp_path / "mine", force=False, folder_with="saved_model.pb")
    with atomic_write(tmp_path / "mine", force=True, folder_with="saved_model.pb") as scratch:
        scratch.mkdir()
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]
    assert not list((tmp_path / "mine").iterdir())


def test_an_output_is_a_file_of_the_right_name(command: Command, tmp_path: Path) -> None:
    torch.save(state(), tmp_path / "source.pth")
    (tmp_path / "results").mkdir()
    done = command("torch2keras", "source.pth", *STATED, "-o", "model.txt", "--force")
    assert (done.code, done.out) == (2, "")
    assert "-o model.h5" in done.err
    done = command("keras2torch", "source.pth", "-o", "results", "--force")
    assert (done.code, done.out) == (2, "")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["results", "source.pth"]
    assert not list((tmp_path / "results").iterdir())


def as_from_a_terminal() -> None:
    """In a child process: SIGINT arrives, as in a program that a terminal starts.

    A shell that starts the tests in the background makes them ignore it, and children inherit that.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def interrupted(prepare: Callable[[], object]) -> subprocess.CompletedProcess[str]:
    """A command that sends itself SIGINT, and then waits for two seconds to be stopped."""
    work = (
        "import os, signal, sys, time; from vit_convert.cli import cli, main\n"
        "@cli.command()\n"
        "def wait(): os.kill(os.getpid(), signal.SIGINT); time.sleep(2); print('not stopped')\n"
        "sys.argv = ['vit-convert', 'wait']; main()"
    )
    return subprocess.run(
        [sys.executable, "-c", work],
        capture_output=True,
        text=True,
        preexec_fn=prepare,
        timeout=60,
    )


def test_ctrl_c_ends_as_it_ends_other_programs() -> None:
    done = interrupted(as_from_a_terminal)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "stopped; no output is half written\n"


def test_ctrl_c_is_ignored_where_it_was_before() -> None:
    """As by a job that a shell runs in the background: Ctrl-C is meant for others."""
    done = interrupted(partial(signal.signal, signal.SIGINT, signal.SIG_IGN))
    assert (done.returncode, done.stdout, done.stderr) == (0, "not stopped\n", "")
