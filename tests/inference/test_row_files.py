"""Rows of pictures: one schema in three formats, and files that are gone on with after a kill."""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from odd_names import ODD_NAMES

from vit_convert.cli import main
from vit_convert.inference.unfinished import partial_folder

SLOW = """
import sys, time
from vit_convert.inference import scoring
decode = scoring.decode_picture
def slowly(*given):
    time.sleep(0.05)
    return decode(*given)
scoring.decode_picture = slowly
from vit_convert.cli import main
main()
"""


@dataclass(frozen=True)
class Done:
    code: int
    out: bytes
    err: str


Command = Callable[..., Done]


@pytest.fixture
def command(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> Command:
    """vit-convert in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path) -> Done:
        monkeypatch.setattr(sys, "argv", ["vit-convert", *map(str, arguments)])
        capfdbinary.readouterr()
        with pytest.raises(SystemExit) as ending:
            main()
        said = capfdbinary.readouterr()
        code = ending.value.code
        return Done(code if isinstance(code, int) else 0, said.out, said.err.decode())

    return run


def rows_of(text: str | bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def as_csv(rows: list[dict[str, Any]], top: int) -> list[list[str]]:
    """What a CSV file of these rows must hold, read again."""
    head = [
        "path",
        *(f"{n}_{i + 1}" for i in range(top) for n in ("class", "label", "probability")),
    ]
    cells = []
    for row in rows:
        found = [str(v) for each in zip(row["classes"], row["labels"], row["probabilities"],
                                        strict=True) for v in each]  # fmt: skip
        found += [""] * (3 * top - len(found))
        cells.append([row["path"], *found, row["error"] or ""])
    return [[*head, "error"], *cells]


def test_three_formats_hold_the_same(command: Command, model: Path, pictures: Path) -> None:
    asked = ("predict", model, pictures, "--top", "2")
    printed = command(*asked, "--format", "jsonl")
    assert printed.code == 0, printed.err
    rows = rows_of(printed.out)
    assert len(rows) == 71
    assert printed.out.isascii()
    assert {os.path.basename(row["path"]) for row in rows} >= set(ODD_NAMES)
    for row in rows:
        assert list(row) == ["path", "classes", "labels", "probabilities", "error"]
        assert os.path.lexists(row["path"])
        assert len(row["classes"]) == (0 if row["error"] else 2)
    for form in ("jsonl", "csv", "parquet"):
        done = command(*asked, "-o", f"rows.{form}")
        assert done.code == 0, done.err
        assert done.out.decode() == f"rows.{form}: 71 pictures, 4 of them not read\n"
    assert Path("rows.jsonl").read_bytes() == printed.out
    assert Path("rows.csv").read_bytes() == command(*asked, "--format", "csv").out
    with open("rows.csv", encoding="utf-8", errors="surrogateescape", newline="") as file:
        assert list(csv.reader(file)) == as_csv(rows, 2)
    table = pyarrow.parquet.read_table("rows.parquet")
    assert [str(field.type) for field in table.schema] == [
        "string", "list<element: int32>", "list<element: string>", "list<element: double>",
        "string",
    ]  # fmt: skip
    for got, expected in zip(table.to_pylist(), rows, strict=True):
        shown = expected["path"].replace("\udcff", "\\xff")  # Parquet's texts are UTF-8
        assert got == expected | {"path": shown}
    assert sorted(os.listdir()) == ["rows.csv", "rows.jsonl", "rows.parquet"]


def test_what_cannot_be_read_is_listed_and_no_cursor_moves(
    command: Command, model: Path, pictures: Path
) -> None:
    done = command("predict", model, pictures)
    assert done.code == 0
    warned = [line for line in done.err.splitlines() if line.startswith("warning")]
    assert len(warned) == 4
    assert "71 pictures, 4 of them not read" in done.err
    text = done.out.decode()
    assert "\x1b" not in text
    assert "new\\nline.png\n" in text
    assert text.count("%  ") == 67 * 5


@pytest.mark.parametrize("output", [(), ("-o", "rows.jsonl")])
def test_if_none_can_be_read_that_is_an_error(
    output: tuple[str, ...], command: Command, model: Path, pictures: Path
) -> None:
    bad = (pictures / "ant" / "empty.png", pictures / "bee" / "text.jpg")
    done = command("predict", model, *bad, *output)
    assert (done.code, done.out) == (2, b"")
    assert "none of 2 pictures can be read" in done.err
    done = command("predict", model, bad[0], *output)
    assert (done.code, done.out) == (2, b"")
    assert done.err.count("is not a picture") == 1
    assert not os.listdir()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--resume",), "expected: -o FILE"),
        (("--format", "parquet"), "expected: -o FILE"),
        (("--json", "--format", "csv"), "both say how to print"),
        (("-o", "rows.txt"), ".jsonl, .csv or .parquet"),
        (("--ray", "nonsense"), "is no address of a Ray cluster"),
        (("--ray", "-o", "rows.csv"), "Ray writes Parquet"),
        (("--ray", "--format", "jsonl"), "Ray writes Parquet"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    options: tuple[str, ...], says: str, command: Command, model: Path, pictures: Path
) -> None:
    done = command("predict", model, pictures, *options)
    assert (done.code, done.out) == (2, b"")
    assert says in done.err
    assert not os.listdir()


def test_json_sums_up_what_was_written(command: Command, model: Path, pictures: Path) -> None:
    done = command("predict", model, pictures, "-o", "rows.csv", "--json")
    found = json.loads(done.out)
    assert (found["output"], found["pictures"], found["unreadable"]) == ("rows.csv", 71, 4)
    assert found["preprocessing"]


def test_an_output_that_exists_is_kept(command: Command, model: Path, pictures: Path) -> None:
    Path("rows.csv").write_text("precious")
    done = command("predict", model, pictures, "-o", "rows.csv")
    assert done.code == 2
    assert "--force" in done.err
    assert Path("rows.csv").read_text() == "precious"
    assert command("predict", model, pictures, "-o", "rows.csv", "--force").code == 0
    assert Path("rows.csv").read_bytes().startswith(b"path,")
    assert os.listdir() == ["rows.csv"]


@pytest.fixture
def whole(command: Command, model: Path, pictures: Path) -> bytes:
    """The file of a run that nobody disturbs."""
    assert command("predict", model, pictures, "-o", "whole.jsonl").code == 0
    return Path("whole.jsonl").read_bytes()


def stopped(model: Path, pictures: Path, number: signal.Signals, rows: int) -> tuple[int, str]:
    """Stop `predict -o rows.jsonl --resume` with a signal once it has so many rows."""
    arguments = ["predict", str(model), str(pictures), "-o", "rows.jsonl", "--resume"]
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, *arguments, "--workers", "2"],
        stderr=subprocess.PIPE,
        text=True,
        # as from a terminal: a job in the background ignores SIGINT
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    file, until = Path("rows.jsonl.partial/rows.jsonl"), time.monotonic() + 60
    while not (file.exists() and file.read_bytes().count(b"\n") >= rows):
        assert process.poll() is None, "it ended before it was stopped"
        assert time.monotonic() < until
        time.sleep(0.001)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    return process.returncode, said


def test_after_kills_it_goes_on_to_the_same_file(
    command: Command, model: Path, pictures: Path, whole: bytes
) -> None:
    """Killed at seeded moments, and by Ctrl-C; no row is lost, and none is there twice."""
    moments = random.Random(5)
    done = 0
    for number in (signal.SIGKILL, signal.SIGINT, signal.SIGKILL):
        done = moments.randint(done + 1, done + 12)
        code, said = stopped(model, pictures, number, done)
        assert not Path("rows.jsonl").exists()
        if number == signal.SIGINT:
            assert code == 130
            assert "rows.jsonl.partial has what was done; the same with --resume goes on" in said
            assert "Traceback" not in said
        else:
            assert code == -number
        done = len(Path("rows.jsonl.partial/rows.jsonl").read_bytes().splitlines())
    assert done < 71
    ended = command("predict", model, pictures, "-o", "rows.jsonl", "--resume")
    assert ended.code == 0, ended.err
    assert ended.out == b"rows.jsonl: 71 pictures, 4 of them not read\n"
    assert Path("rows.jsonl").read_bytes() == whole
    assert sorted(os.listdir()) == ["rows.jsonl", "whole.jsonl"]


def leave_unfinished(
    command: Command, model: Path, pictures: Path, whole: bytes, kept: int
) -> Path:
    """What a run leaves that is killed while it writes: `kept` bytes of the rows."""
    from vit_convert.exporters import open_artifact
    from vit_convert.images.storage import find_pictures
    from vit_convert.inference.predict_rows import table_of
    from vit_convert.inference.run_identity import identity_of
    from vit_convert.inference.unfinished import Unfinished

    artifact, names = open_artifact(model), find_pictures([pictures])
    table = table_of(artifact, 5)
    identity = identity_of([model], names, table, chunk=8)
    unfinished = Unfinished(Path("rows.jsonl"), identity, names, table, 8)
    unfinished.add(rows_of(whole))
    unfinished.close()
    folder = partial_folder(Path("rows.jsonl"))
    os.truncate(folder / "rows.jsonl", kept)
    return folder


@pytest.mark.parametrize("share", [0.0, 0.003, 0.3, 0.5004, 0.97, 1.0])
@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_wherever_the_rows_end_the_rest_is_added(
    share: float, form: str, command: Command, model: Path, pictures: Path, whole: bytes
) -> None:
    kept = int(share * len(whole))
    leave_unfinished(command, model, pictures, whole, kept)
    asked = ("predict", model, pictures, "-o", "rows.jsonl", "--resume", "--format", form)
    done = command(*asked)
    assert done.code == 0, done.err
    if form == "jsonl":
        assert Path("rows.jsonl").read_bytes() == whole
    else:
        assert pyarrow.parquet.read_table("rows.jsonl").num_rows == 71
    assert sorted(os.listdir()) == ["rows.jsonl", "whole.jsonl"]


def test_another_run_s_rows_are_not_gone_on_with(
    command: Command, model: Path, pictures: Path, whole: bytes, tmp_path: Path
) -> None:
    folder = leave_unfinished(command, model, pictures, whole, 3000)
    before = (folder / "rows.jsonl").read_bytes()
    other = tmp_path / "other.tflite"
    shutil.copyfile(model, other)
    with other.open("ab") as file:
        file.write(b"\0")
    Path("names.txt").write_text("a\nb\nc\nd\ne\n")
    fewer = pictures / "ant"
    for arguments, says in (
        ((other, pictures), "the artifacts"),
        ((model, fewer), "the pictures"),
        ((model, pictures, "--top", "3"), "the options"),
        ((model, pictures, "--labels", "names.txt"), "the labels"),
    ):
        done = command("predict", *arguments, "-o", "rows.jsonl", "--resume")
        assert (done.code, done.out) == (2, b""), arguments
        assert f"another run: {says} differ" in done.err
    done = command("predict", model, pictures, "-o", "rows.jsonl")
    assert done.code == 2
    assert "--resume, or --force to begin again" in done.err
    assert (folder / "rows.jsonl").read_bytes() == before
    done = command("predict", model, pictures, "-o", "rows.jsonl", "--force")
    assert done.code == 0, done.err
    assert Path("rows.jsonl").read_bytes() == whole


def test_two_runs_do_not_write_one_file(
    command: Command, model: Path, pictures: Path, whole: bytes
) -> None:
    import fcntl

    folder = leave_unfinished(command, model, pictures, whole, 3000)
    with (folder / "rows.jsonl").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        for option in ("--resume", "--force"):
            done = command("predict", model, pictures, "-o", "rows.jsonl", option)
            assert (done.code, done.out) == (2, b"")
            assert "another process is writing it" in done.err
    assert command("predict", model, pictures, "-o", "rows.jsonl", "--resume").code == 0
    assert Path("rows.jsonl").read_bytes() == whole


def test_a_folder_of_somebody_else_is_not_removed(
    command: Command, model: Path, pictures: Path
) -> None:
    Path("rows.csv.partial").mkdir()
    Path("rows.csv.partial/thesis.tex").touch()
    for option in ("--force", "--resume"):
        done = command("predict", model, pictures, "-o", "rows.csv", option)
        assert (done.code, done.out) == (2, b"")
    assert os.listdir("rows.csv.partial") == ["thesis.tex"]


def test_an_output_that_comes_meanwhile_is_kept_and_so_are_the_rows(
    command: Command, model: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vit_convert.inference import unfinished

    write = unfinished.write_rows

    def late(*given: Any) -> None:
        write(*given)
        Path("rows.csv").write_text("precious")

    monkeypatch.setattr(unfinished, "write_rows", late)
    done = command("predict", model, pictures, "-o", "rows.csv")
    assert (done.code, done.out) == (2, b"")
    assert "rows.csv.partial has what was done" in done.err
    assert Path("rows.csv").read_text() == "precious"
    assert len(Path("rows.csv.partial/rows.jsonl").read_text().splitlines()) == 71
    monkeypatch.undo()


def test_without_pyarrow_parquet_is_refused_before_anything_is_done(
    command: Command, model: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    done = command("predict", model, pictures, "-o", "rows.parquet")
    assert (done.code, done.out) == (2, b"")
    assert 'try: pip install "vit-convert[parquet]", or --format jsonl' in done.err
    assert not os.listdir()


EVALUATED = ["path", "class", "artifact", "classes", "labels", "probabilities", "error"]


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_evaluate_writes_rows_and_goes_on(
    form: str, command: Command, model: Path, pictures: Path, tmp_path: Path
) -> None:
    """The accuracy is that of an undisturbed run, though half of it was counted from the file."""
    names = tmp_path / "labelled"
    for i, home in enumerate(sorted(p for p in pictures.iterdir() if p.is_dir())):
        (names / f"class {i}").mkdir(parents=True)
        for file in home.iterdir():
            shutil.copy2(file, names / f"class {i}" / file.name, follow_symlinks=False)
    for i in (3, 4):  # the model has 5 classes
        (names / f"class {i}").mkdir()
    asked = ("evaluate", model, model, names, "--json", "-o", f"rows.{form}")
    done = command(*asked)
    assert done.code == 0, done.err
    undisturbed = json.loads(done.out)["artifacts"]
    assert undisturbed[0]["images"] == 67
    if form == "parquet":
        rows = pyarrow.parquet.read_table("rows.parquet").to_pylist()
    else:
        rows = rows_of(Path("rows.jsonl").read_text())
    assert len(rows) == 2 * 71
    assert list(rows[0]) == EVALUATED
    first = [row for row in rows[::2] if not row["error"]]
    right = sum(row["classes"][0] == int(row["class"].split()[1]) for row in first)
    assert undisturbed[0]["top1"] == pytest.approx(100 * right / 67)
    if form == "jsonl":
        content = Path("rows.jsonl").read_bytes()
        Path("rows.jsonl").unlink()
        stop_evaluating(command, asked, content)
        done = command(*asked, "--resume")
        assert done.code == 0, done.err
        again = json.loads(done.out)["artifacts"]
        for each in (*undisturbed, *again):
            del each["images_per_second"]
        assert again == undisturbed
        assert Path("rows.jsonl").read_bytes() == content


def stop_evaluating(command: Command, asked: tuple[Any, ...], content: bytes) -> None:
    """Leave what a run leaves that is killed in the middle of a row."""
    from vit_convert.inference import evaluate

    class Killed(BaseException):
        pass

    def fail(*_: object) -> None:
        raise Killed

    finish = evaluate.Unfinished.finish
    evaluate.Unfinished.finish = fail  # type: ignore[method-assign, assignment]  # put back below
    try:
        with pytest.raises(Killed):
            command(*asked)
    finally:
        evaluate.Unfinished.finish = finish  # type: ignore[method-assign]  # as it was
    assert Path("rows.jsonl.partial/rows.jsonl").read_bytes() == content
    os.truncate("rows.jsonl.partial/rows.jsonl", len(content) // 2)


def test_without_ray_the_extra_is_named(
    command: Command, model: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vit_convert.inference import ray_run

    monkeypatch.setattr(ray_run, "find_spec", lambda _: None)
    done = command("predict", model, pictures, "-o", "rows", "--ray")
    assert (done.code, done.out) == (2, b"")
    assert 'try: pip install "vit-convert[ray]"' in done.err
    assert not os.listdir()
