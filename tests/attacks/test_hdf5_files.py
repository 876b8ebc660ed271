"""libhdf5 fails or hangs in a process of its own, and no other file is ever read through it."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from confined import Confined
from hostile_files import hdf5

from vit_convert.conversion.h5_file import open_keras
from vit_convert.conversion.h5_reading import H5File
from vit_convert.errors import ArtifactError, VitConvertError
from vit_convert.runtime.limits import VARIABLE

GOLDEN = Path(__file__).parents[1] / "goldens/artifacts_0_1/vit.h5"
HANGS = (929, 8)  # libhdf5 of h5py 3.14 never ends when this byte has this value


@pytest.fixture
def confined() -> Iterator[Confined]:
    process = Confined()
    yield process
    process.close()


def changed(path: Path, *changes: tuple[int, int]) -> Path:
    content = bytearray(hdf5().getvalue())
    for place, value in changes:
        content[place] = value
    path.write_bytes(content)
    return path


def test_a_byte_that_keeps_libhdf5_busy_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "h5_seconds=1")
    path = changed(tmp_path / "x.h5", HANGS)
    started = time.monotonic()
    try:
        with pytest.raises(ArtifactError, match="does not come to an end") as caught:
            H5File(path)
    finally:
        assert time.monotonic() - started < 20
    assert "h5_seconds" in caught.value.hint


def test_after_that_the_next_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "h5_seconds=1")
    with pytest.raises(ArtifactError):
        H5File(changed(tmp_path / "x.h5", HANGS))
    monkeypatch.delenv(VARIABLE)
    with open_keras(GOLDEN) as (spec, tensors):
        assert {name: t.read().shape for name, t in tensors.items()} == {
            p.name: p.shape for p in spec.parameters()
        }


def test_200_changed_bytes(tmp_path: Path, confined: Confined) -> None:
    rng = random.Random(12)
    size = len(hdf5().getvalue())
    for _ in range(200):
        change = rng.randrange(size), rng.choice((0, 1, 8, 127, 128, 255))
        outcome = confined.run("h5", changed(tmp_path / "x.h5", change))
        assert not outcome.problems, (change, outcome.message)


@pytest.mark.parametrize("packing", [{}, {"chunks": (4, 5)}, {"compression": "gzip"}, {"order": 1}])
def test_arrays_are_read_however_they_are_stored(
    packing: dict[str, object], tmp_path: Path
) -> None:
    array = (
        np.random.default_rng(3)
        .standard_normal((13, 7))
        .astype(">f4" if packing.pop("order", 0) else "<f8")
    )
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("a/b", data=array, **packing)
    found = H5File(tmp_path / "x.h5")
    assert np.array_equal(found.read("a/b"), array)


def secret(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_bytes(np.arange(8.0).tobytes())
    return tmp_path / "secret"


def external(file: h5py.File, other: Path) -> None:
    file.create_dataset("w", (8,), "f8", external=[(str(other), 0, 64)])


def external_link(file: h5py.File, other: Path) -> None:
    file["w"] = h5py.ExternalLink(str(other), "/x")


def virtual(file: h5py.File, other: Path) -> None:
    layout = h5py.VirtualLayout((8,), "f8")
    layout[:] = h5py.VirtualSource(str(other), "x", (8,))
    file.create_virtual_dataset("w", layout)


def soft_link(file: h5py.File, other: Path) -> None:
    file["w"] = h5py.SoftLink("/elsewhere")


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (external, "an array in the file .*secret"),
        (external_link, "a link to the file .*secret"),
        (virtual, "parts of other files"),
        (soft_link, "a soft link"),
    ],
)
def test_what_leads_out_of_the_file_is_refused_by_name(make, named, tmp_path: Path) -> None:
    other = secret(tmp_path)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        make(file, other)
    with pytest.raises(ArtifactError, match=named):
        H5File(tmp_path / "x.h5")


def test_a_missing_filter_is_named(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("w", data=np.arange(4000.0), compression="gzip")
    content = (tmp_path / "x.h5").read_bytes()
    # the filter's number in its message: 1 is gzip; its name follows
    place = content.index(b"deflate") - 8
    assert content[place] == 1
    (tmp_path / "x.h5").write_bytes(content[:place] + b"\xe7" + content[place + 1 :])
    with pytest.raises(VitConvertError, match="filter 231"):
        H5File(tmp_path / "x.h5")


def test_no_process_is_left_behind(tmp_path: Path) -> None:
    """The worker ends with the process that started it, even if that is killed."""
    import subprocess
    import sys

    code = (
        "import os, signal; from pathlib import Path\n"
        "from vit_convert.conversion import h5_reading\n"
        f"h5_reading.H5File(Path({str(GOLDEN)!r}))\n"
        "print(h5_reading._worker[1]._process.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    pid = int(done.stdout)
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        if Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":
            return
        time.sleep(0.1)
    pytest.fail("the worker is still there")
