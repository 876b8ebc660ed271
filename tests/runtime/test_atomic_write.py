"""Outputs appear whole or not at all, the old one is never lost, and no run disturbs another."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from vit_convert.errors import OutputError
from vit_convert.runtime import atomic_write as atomic_write_module
from vit_convert.runtime import renames, scratch
from vit_convert.runtime.atomic_write import atomic_write, atomic_writes
from vit_convert.runtime.scratch import Scratch, remove_abandoned
from vit_convert.runtime.signals import Stopped, stoppable

MARK = "saved_model.pb"


@pytest.fixture(params=["exchange", "no exchange"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A system with renameat2, and one without."""
    if request.param == "no exchange":
        monkeypatch.setattr(renames, "_renameat2", lambda: None)
    else:
        assert sys.platform != "linux" or renames._renameat2() is not None
    return request.param


def make_folder(path: Path, text: str) -> None:
    path.mkdir()
    (path / MARK).write_text(text)
    (path / "variables").mkdir()
    (path / "variables" / "data").write_text(text)


def write(path: Path, text: str, force: bool = False, folder: bool = False) -> None:
    with atomic_write(path, force, MARK if folder else "") as inside:
        make_folder(inside, text) if folder else inside.write_text(text)


def content(path: Path) -> str:
    return (path / "variables" / "data" if path.is_dir() else path).read_text()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("folder", [False, True])
def test_an_output_takes_its_place(folder: bool, system: str, tmp_path: Path) -> None:
    write(tmp_path / "x", "old", folder=folder)
    with pytest.raises(OutputError, match="exists already"):
        write(tmp_path / "x", "new", folder=folder)
    assert content(tmp_path / "x") == "old"
    write(tmp_path / "x", "new", force=True, folder=folder)
    assert content(tmp_path / "x") == "new"
    assert names(tmp_path) == ["x"]


@pytest.mark.parametrize("folder", [False, True])
def test_of_two_runs_without_force_the_first_wins(
    folder: bool, system: str, tmp_path: Path
) -> None:
    def late() -> None:
        with atomic_write(tmp_path / "x", False, MARK if folder else "") as inside:
            write(tmp_path / "x", "first", folder=folder)
            make_folder(inside, "second") if folder else inside.write_text("second")

    with pytest.raises(OutputError, match="exists already, and is kept"):
        late()
    assert content(tmp_path / "x") == "first"
    assert names(tmp_path) == ["x"]


@pytest.mark.parametrize("folder", [False, True])
def test_of_eight_runs_at_once_exactly_one_wins(folder: bool, system: str, tmp_path: Path) -> None:
    endings: list[str] = []
    together = threading.Barrier(8)

    def run(text: str) -> None:
        try:
            with atomic_write(tmp_path / "x", False, MARK if folder else "") as inside:
                make_folder(inside, text) if folder else inside.write_text(text)
                together.wait()
            endings.append(text)
        except OutputError as error:
            endings.append(error.what)

    threads = [threading.Thread(target=run, args=(str(i),)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [ending for ending in endings if ending.isdigit()]
    assert [content(tmp_path / "x")] == winners
    assert endings.count("exists already, and is kept") == 7
    assert names(tmp_path) == ["x"]


def failing_rename(
    monkeypatch: pytest.MonkeyPatch, fails: Callable[[str, str], object]
) -> list[str]:
    """Have os.rename and os.replace fail with EIO, or do something, before some renames."""
    failed: list[str] = []
    for name in ("rename", "replace"):
        original = getattr(os, name)

        def call(source: Any, target: Any, original: Any = original) -> None:
            if fails(str(source), str(target)):
                failed.append(str(source))
                raise OSError(errno.EIO, os.strerror(errno.EIO), source)
            original(source, target)

        monkeypatch.setattr(os, name, call)
    return failed


@pytest.mark.parametrize("folder", [False, True])
def test_the_old_output_survives_where_the_new_one_cannot_be_put_in_its_place(
    folder: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old way: the old folder stepped aside, the second rename failed, and it was deleted."""
    monkeypatch.setattr(renames, "_renameat2", lambda: None)
    write(tmp_path / "x", "old", folder=folder)
    failed = failing_rename(
        monkeypatch, lambda source, target: "/new/" in source and target.endswith("/x")
    )
    with pytest.raises(OutputError, match="cannot be written: Input/output error"):
        write(tmp_path / "x", "new", force=True, folder=folder)
    assert failed
    assert content(tmp_path / "x") == "old"
    assert names(tmp_path) == ["x"]


def test_where_even_the_way_back_fails_the_message_and_the_next_run_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renames, "_renameat2", lambda: None)
    write(tmp_path / "x", "old", folder=True)
    with monkeypatch.context() as patch:
        failing_rename(patch, lambda _source, target: target.endswith(f"{tmp_path.name}/x"))
        with pytest.raises(OutputError, match="what was there is ") as error:
            write(tmp_path / "x", "new", force=True, folder=True)
    kept = Path(error.value.what.partition("what was there is ")[2])
    assert content(kept) == "old"
    write(tmp_path / "other", "new")
    assert content(tmp_path / "x") == "old"
    assert names(tmp_path) == ["other", "x"]


def test_several_outputs_appear_together_or_not_at_all(
    system: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a", "old")
    write(tmp_path / "b", "old", folder=True)
    outputs = [(tmp_path / "a", ""), (tmp_path / "b", MARK), (tmp_path / "c", "")]

    def all_of_them(text: str) -> None:
        with atomic_writes(outputs, force=True) as (a, b, c):
            a.write_text(text)
            make_folder(b, text)
            c.write_text(text)

    synced = scratch.sync_folder
    with monkeypatch.context() as patch:

        def fail(folder: Path) -> None:
            synced(folder)
            if folder == tmp_path:
                assert content(tmp_path / "c") == "new"  # all are in place
                raise OSError(errno.EIO, os.strerror(errno.EIO))

        patch.setattr("vit_convert.runtime.atomic_write.sync_folder", fail)
        with pytest.raises(OutputError):
            all_of_them("new")
    assert (content(tmp_path / "a"), content(tmp_path / "b")) == ("old", "old")
    assert names(tmp_path) == ["a", "b"]
    all_of_them("newer")
    assert {content(tmp_path / name) for name in "abc"} == {"newer"}
    assert names(tmp_path) == ["a", "b", "c"]


@pytest.mark.parametrize("folder", [False, True])
def test_a_signal_between_two_renames_changes_nothing(
    folder: bool, system: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "x", "old", folder=folder)
    sent: list[str] = []

    def interrupt(*_: Any) -> bool:
        if not sent:
            sent.append("SIGINT")
            os.kill(os.getpid(), signal.SIGINT)
        return False

    failing_rename(monkeypatch, interrupt)
    if system == "exchange":
        rename = renames._renameat2()
        assert rename is not None
        monkeypatch.setattr(
            renames, "_renameat2", lambda: lambda *given: interrupt() or rename(*given)
        )
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            write(tmp_path / "x", "new", force=True, folder=folder)
    finally:
        signal.signal(signal.SIGINT, before)
    assert sent
    assert content(tmp_path / "x") == "old"
    assert names(tmp_path) == ["x"]


def stop_at(step: int) -> Callable[[FrameType, str, Any], Any]:
    """A trace function that sends SIGTERM before that line of those that write, clean up, and
    handle signals."""
    sources = (atomic_write_module.__file__, scratch.__file__, contextlib.__file__)
    steps = count()

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if frame.f_code.co_filename not in sources:
            return None
        if event == "line" and next(steps) == step:
            signal.raise_signal(signal.SIGTERM)
        return trace

    return trace


# A trace function can raise before a file's own __exit__, where no signal can.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("fails", [False, True])
def test_a_signal_at_any_line_leaves_the_old_or_the_new_and_nothing_beside_it(
    fails: bool, tmp_path: Path
) -> None:
    left = []
    for step in count():
        folder = tmp_path / str(step)
        folder.mkdir()
        write(folder / "x", "old")
        stopped = False
        before = sys.gettrace()
        try:
            with stoppable():
                sys.settrace(stop_at(step))
                try:
                    with atomic_write(folder / "x", force=True) as inside:
                        inside.write_text("new")
                        if fails:
                            raise OSError(errno.EIO, os.strerror(errno.EIO))
                finally:
                    sys.settrace(before)
        except Stopped:
            stopped = True
        except OutputError:
            assert fails
        if names(folder) != ["x"]:
            left.append(step)
        assert content(folder / "x") in (["old"] if fails else ["old", "new"])
        if not stopped:
            break
    assert left == []
    assert step > 50


def test_the_scratch_folder_of_a_killed_run_goes_with_the_next_run(tmp_path: Path) -> None:
    code = (
        "import os, signal; from pathlib import Path\n"
        "from vit_convert.runtime.atomic_write import atomic_write\n"
        "with atomic_write(Path('x'), False) as inside:\n"
        "    inside.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path)
    assert done.returncode == -signal.SIGKILL
    assert [name.startswith(".vit-convert-") for name in names(tmp_path)] == [True]
    write(tmp_path / "other", "new")
    assert names(tmp_path) == ["other"]


def test_the_scratch_folder_of_a_run_that_lives_is_left_alone(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "x", False) as inside:
        inside.write_text("first")
        write(tmp_path / "y", "second")
        remove_abandoned(tmp_path)
        assert inside.read_text() == "first"
    assert names(tmp_path) == ["x", "y"]


def test_folders_of_others_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = tmp_path / ".vit-convert-theirs"
    theirs.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".vit-convert-link").symlink_to("elsewhere")
    (tmp_path / ".vit-convert-file").write_text("a file")
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: os.stat(theirs).st_uid + 1)
        remove_abandoned(tmp_path)
    before = [".vit-convert-file", ".vit-convert-link", ".vit-convert-theirs", "elsewhere"]
    assert names(tmp_path) == before
    remove_abandoned(tmp_path)  # ours, and nobody holds it
    before.remove(".vit-convert-theirs")
    assert names(tmp_path) == before


def test_where_nothing_can_be_locked_nothing_is_cleared_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with atomic_write(tmp_path / "x", False) as inside:
        inside.write_text("x")
        write(tmp_path / "y", "y")
    assert names(tmp_path) == ["x", "y"]


def test_a_link_is_replaced_and_not_what_it_points_to(system: str, tmp_path: Path) -> None:
    (tmp_path / "real").write_text("real")
    (tmp_path / "x").symlink_to("real")
    write(tmp_path / "x", "new", force=True)
    assert (content(tmp_path / "x"), content(tmp_path / "real")) == ("new", "real")
    (tmp_path / "y").symlink_to("nowhere")
    with pytest.raises(OutputError, match="exists already"):
        write(tmp_path / "y", "new")
    assert names(tmp_path) == ["real", "x", "y"]


def test_a_folder_that_may_not_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o555)
    code = (
        "import os, sys; from pathlib import Path\n"
        "from vit_convert.runtime.atomic_write import atomic_write\n"
        "os.geteuid() or os.setuid(65534)\n"  # root may write everywhere
        "with atomic_write(Path(sys.argv[1]), False) as inside: inside.write_text('x')"
    )
    for parent in tmp_path.parents:  # pytest keeps others out of its folders
        if parent.stat().st_uid == os.getuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o011)
    tmp_path.chmod(0o755)
    command = [sys.executable, "-c", code, str(tmp_path / "locked" / "x")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "cannot be written: Permission denied" in done.stderr
    assert names(tmp_path / "locked") == []


def test_what_is_written_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that loses power must not come back with a name of an empty file."""
    steps: list[str] = []
    fsync, rename = os.fsync, renames._renameat2()
    assert rename is not None

    def told_fsync(descriptor: int) -> None:
        steps.append(f"sync {os.path.basename(os.readlink(f'/proc/self/fd/{descriptor}'))}")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", told_fsync)
    monkeypatch.setattr(
        renames, "_renameat2", lambda: lambda *given: steps.append("rename") or rename(*given)
    )
    write(tmp_path / "x", "new", folder=True)
    assert steps[:-2] == ["sync data", "sync variables", f"sync {MARK}", "sync x"] or steps[
        :-2
    ] == [f"sync {MARK}", "sync data", "sync variables", "sync x"]
    assert steps[-2:] == ["rename", f"sync {tmp_path.name}"]


def test_a_scratch_folder_that_cannot_be_filled_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mkdir = Path.mkdir

    def refuse(path: Path, *given: Any, **named: Any) -> None:
        if path.name == "old":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        mkdir(path, *given, **named)

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(OSError, match="No space left"):
        Scratch(tmp_path, "x")
    assert names(tmp_path) == []
