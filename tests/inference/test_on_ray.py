"""On Ray, as on one machine: the same rows, whatever happens to the workers."""

from __future__ import annotations

import fcntl
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
from PIL import Image

from vit_convert.exporters import open_artifact
from vit_convert.inference.evaluate import evaluate

pytestmark = [pytest.mark.ray, pytest.mark.slow]
VIT_CONVERT = [sys.executable, "-m", "vit_convert"]
SECONDS = 240  # no run may take longer


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Ray's processes and folders are gone when a test ends; one test at a time, because those of
    another would be seen."""
    with open(Path(tempfile.gettempdir(), "vit_convert_ray_tests.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = leftovers()
        yield
        until = time.monotonic() + 30
        while left := leftovers() - before:
            assert time.monotonic() < until, left
            time.sleep(0.2)


def leftovers() -> set[str]:
    """Processes of Ray's, by their numbers, and folders for it."""
    folders = {str(path) for path in Path(tempfile.gettempdir()).glob("vc-ray-*")}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if b"/ray/" in command or command.startswith(b"ray::"):
            folders.add(f"{entry.name} {command[:60]!r}")
    return folders


def run(*command: str | Path, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command that must end in time; otherwise it goes with all that it started."""
    with subprocess.Popen(
        [*map(str, command)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | environment,
    ) as process:
        try:
            out, err = process.communicate(timeout=SECONDS)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def rows_of(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pyarrow.parquet.read_table(folder).to_pylist()
    return rows


def local_rows(model: Path, folder: Path, *paths: str | Path) -> list[dict[str, Any]]:
    """What the local path writes."""
    command = (*VIT_CONVERT, "predict", model, *paths, "-o", "local.parquet")
    done = run(*command, folder=folder)
    assert done.returncode == 0, done.stderr
    return rows_of(folder / "local.parquet")


def test_rows_are_those_of_the_local_path(model: Path, pictures: Path, tmp_path: Path) -> None:
    """From object storage, as pyarrow sees it, and from a path; with odd names."""
    shutil.copytree(pictures, tmp_path / "pictures", symlinks=True)
    for name in ("new\nline.png", "not-text-\udcff.png"):  # none that an address could have
        (found,) = (tmp_path / "pictures").glob(f"*/{name}")
        found.unlink()
    (tmp_path / "pictures/cat/gone.png").unlink()  # pyarrow does not list it
    address = f"fsspec+file://{tmp_path}/pictures"
    expected = local_rows(model, tmp_path, address, "pictures/ant")
    command = (*VIT_CONVERT, "predict", model, address, "pictures/ant", "-o", "rows", "--ray")
    done = run(*command, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"rows: {len(expected)} pictures, 4 of them not read\n"
    assert rows_of(tmp_path / "rows") == expected
    assert len(list((tmp_path / "rows").glob("part-*.parquet"))) >= 4
    types = [
        pyarrow.parquet.read_schema(file)
        for file in (tmp_path / "local.parquet", tmp_path / "rows/part-000000.parquet")
    ]
    assert types[0] == types[1]
    for noise in ("ray", "Ray", "INFO", "WARNING", "raylet", "Dataset"):
        assert noise not in done.stderr.replace("starting Ray", "")
    again = run(*command, folder=tmp_path)
    assert again.returncode == 2
    assert "exists already, and is kept" in again.stderr


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 pictures in 5 classes that take long to decode; some are the same."""
    folder = tmp_path_factory.mktemp("large")
    rng = np.random.default_rng(1)
    for i in range(120):
        home = folder / f"class {i % 5}"
        home.mkdir(exist_ok=True)
        if i < 6:
            grid = Image.fromarray(rng.integers(0, 256, (7, 9, 3), np.uint8))
            grid.resize((1500, 1100), Image.Resampling.BICUBIC).save(home / f"{i}.jpg")
        else:
            (home / f"{i}.jpg").hardlink_to(folder / f"class {i % 6 % 5}" / f"{i % 6}.jpg")
    return folder


@pytest.mark.once
def test_a_node_that_is_killed_loses_nothing(model: Path, large: Path, tmp_path: Path) -> None:
    """Two nodes with an actor each; one is killed at a seeded moment."""
    expected = local_rows(model, tmp_path, large)
    moment = random.Random(7).randint(2, 5)
    command = (*VIT_CONVERT, "predict", model, large, "-o", "rows", "--ray", "ADDRESS")
    ray_folder = tempfile.mkdtemp(prefix="vc-ray-")  # short: names of sockets are limited
    try:
        done = run(
            *(sys.executable, Path(__file__).with_name("ray_cluster.py")),
            *(str(moment), "--", *command),
            folder=tmp_path,
            RAY_TMPDIR=ray_folder,
        )
    finally:
        shutil.rmtree(ray_folder, ignore_errors=True)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["running"], "it had ended before the node was killed"
    assert seen["killed"], "no actor was on the node"
    assert moment <= seen["parts"] < 15
    assert seen["code"] == 0, seen["err"]
    assert seen["out"] == "rows: 120 pictures\n"
    assert rows_of(tmp_path / "rows") == expected
    assert not (tmp_path / "rows.partial").exists()


CRASHING = """
import os, signal
import PIL.Image

opened = PIL.Image.open

def crash(file, *arguments, **options):
    if file.getvalue().endswith(b"crash"):
        os.kill(os.getpid(), signal.SIGKILL)
    return opened(file, *arguments, **options)

PIL.Image.open = crash
"""


@pytest.mark.once
def test_a_picture_at_which_workers_crash_ends_the_run(
    model: Path, pictures: Path, tmp_path: Path
) -> None:
    """A decoder that crashes stands for a defect of Pillow's."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(CRASHING)
    (tmp_path / "bad").mkdir()
    whole = (pictures / "ant" / "0.png").read_bytes()
    (tmp_path / "bad" / "1.png").write_bytes(whole + b"crash")
    (tmp_path / "bad" / "2.png").write_bytes(whole)
    command = (*VIT_CONVERT, "predict", model, "bad", "-o", "rows", "--ray", "--workers", "1")
    path = os.pathsep.join([str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")])
    done = run(*command, folder=tmp_path, PYTHONPATH=path.rstrip(os.pathsep))
    assert done.returncode == 2, done.stderr
    assert "5 workers died at the same pictures" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "rows").exists()


@pytest.mark.once
def test_a_run_that_is_killed_goes_on(model: Path, large: Path, tmp_path: Path) -> None:
    """By SIGTERM, which leaves nothing running, and by SIGKILL; then `evaluate` counts the same
    from the parts of before and from those that it adds."""
    command = (*VIT_CONVERT, "evaluate", model, large, "-o", "rows", "--json")
    ray = (*command, "--ray", "--workers", "1", "--resume")
    parts = 0
    for number in (signal.SIGTERM, signal.SIGKILL):
        with subprocess.Popen(
            [*map(str, ray)], cwd=tmp_path, start_new_session=True, stderr=subprocess.PIPE
        ) as process:
            until = time.monotonic() + 100
            partial = tmp_path / "rows.partial"
            while len(list(partial.glob("part-*.parquet"))) <= parts:
                assert process.poll() is None
                assert time.monotonic() < until
                time.sleep(0.002)
            process.send_signal(number)
            _, said = process.communicate(timeout=60)
        assert process.returncode == (143 if number == signal.SIGTERM else -number)
        if number == signal.SIGTERM:
            assert b"--resume goes on" in said
        parts = len(list(partial.glob("part-*.parquet")))
        assert parts < 15
    done = run(*ray, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    (ours,) = json.loads(done.stdout)["artifacts"]
    (local,) = evaluate([open_artifact(model)], large)
    theirs = json.loads(local.to_json())
    assert (ours.pop("images_per_second"), theirs.pop("images_per_second") is None) == (None, False)
    assert ours == theirs
    rows = rows_of(tmp_path / "rows")
    assert len(rows) == 120
    assert len({row["path"] for row in rows}) == 120
    assert {row["artifact"] for row in rows} == {str(model)}


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://nowhere.invalid:1"])
def test_a_cluster_that_is_not_there_is_said(
    address: str, model: Path, pictures: Path, tmp_path: Path
) -> None:
    command = (*VIT_CONVERT, "predict", model, pictures, "-o", "rows", "--ray", address)
    done = run(*command, folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"--ray {address}: cannot be reached" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())
