"""The budgets of readers, and how they are raised."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vit_convert.architectures.ranges import OutOfRangeError, checked
from vit_convert.errors import ArtifactError, CheckpointError, UsageError
from vit_convert.runtime.input_file import open_input, read_head, read_input
from vit_convert.runtime.limits import LIMITS, VARIABLE, Budget, Limit

SMALL = LIMITS["labels_bytes"]
PLAIN = Limit("plain", 10, "things", "nobody has more", per_byte=0.5, most=20)


@pytest.mark.parametrize("name", LIMITS)
def test_every_limit_says_what_it_counts_and_why(name: str) -> None:
    limit = LIMITS[name]
    assert limit.name == name
    assert limit.base > 0
    assert limit.what
    assert limit.why


def test_a_limit_grows_with_the_file_up_to_a_bound() -> None:
    assert [PLAIN.allowed(size) for size in (0, 10, 1000)] == [10, 15, 20]


def test_the_error_names_the_limit_and_how_to_raise_it() -> None:
    PLAIN.check(10, "x")
    with pytest.raises(ArtifactError, match="`plain`, which is 10 things") as caught:
        PLAIN.check(11, "x", error=ArtifactError)
    assert f"{VARIABLE}=plain=100" in caught.value.hint
    assert "nobody has more" in caught.value.expected


def test_a_budget_ends() -> None:
    budget = Budget(PLAIN, size=4, where="x")
    budget.spend(12)
    with pytest.raises(CheckpointError, match=r"x: .*12 things"):
        budget.spend(1)


def test_what_the_error_says_raises_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "tensors=3, labels_bytes=1e3")
    assert SMALL.allowed(10**9) == 1000
    assert LIMITS["tensors"].allowed() == 3


@pytest.mark.parametrize("name", ["num_classes", "embed_dim"])
def test_options_have_the_limits_of_files(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a model may be is stated once."""
    limit = LIMITS["classes" if name == "num_classes" else "width"]
    assert checked(name, limit.base) == limit.base
    with pytest.raises(OutOfRangeError, match=f"to {limit.base}$"):
        checked(name, limit.base + 1)
    monkeypatch.setenv(VARIABLE, f"{limit.name}={limit.base + 1}")
    assert checked(name, limit.base + 1) == limit.base + 1


@pytest.mark.parametrize("text", ["tensors", "tensors=x", "tensors=-1", "other=3", "tensors=inf"])
def test_nonsense_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(UsageError, match="sets no limit"):
        SMALL.allowed()


def test_small_files_are_read_up_to_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "labels_bytes=4")
    path = tmp_path / "x"
    path.write_bytes(b"four")
    assert read_input(path, SMALL) == b"four"
    assert read_head(path, 2) == b"fo"
    path.write_bytes(b"fives")
    with pytest.raises(OSError, match="`labels_bytes`"):
        read_input(path, SMALL)


@pytest.mark.skipif(not Path("/proc/version").exists(), reason="Linux has files without a size")
def test_a_file_that_states_no_size_is_read_up_to_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content = Path("/proc/version").read_bytes()
    assert not Path("/proc/version").stat().st_size
    assert read_input("/proc/version", SMALL) == content
    monkeypatch.setenv(VARIABLE, f"labels_bytes={len(content) - 1}")
    with pytest.raises(OSError, match="`labels_bytes`"):
        read_input("/proc/version", SMALL)


@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "missing", "null"])
def test_only_regular_files_are_opened_and_nothing_waits(kind: str, tmp_path: Path) -> None:
    path = {"device": "/dev/zero", "folder": str(tmp_path), "null": "a\0b"}.get(kind)
    path = path or str(tmp_path / "x")
    if kind == "pipe":
        os.mkfifo(path)
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else 0
    with pytest.raises(OSError, match=r"not a regular file|No such file|no file can have"):
        open_input(path)
    if before:
        assert len(os.listdir("/proc/self/fd")) == before
