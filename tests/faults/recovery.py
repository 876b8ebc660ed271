"""What must hold when a command is broken off: the old artifact or the new one, and nothing else.

The tests here take a few moments of each kind; `scripts/faults` takes as many as it is told.
"""

from __future__ import annotations

import errno
import hashlib
import random
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from nursery import Commands, Ended
from PIL import Image

ROOT = Path(__file__).parents[2]
CHECKPOINT = ROOT / "tests/goldens/dialects/timm-vit/model.pth"
SCRATCH = ".vit-convert-"
OLD_MARK = "--mean=0.1,0.2,0.3"  # an option that makes another artifact
# calls that a command may see fail, and errors that they fail with
FAILING = {
    "os.rename": (errno.EIO, errno.EACCES),
    "renameat2": (errno.EIO, errno.EXDEV, errno.EINVAL),  # EINVAL: the file system cannot do it
    "os.mkdir": (errno.ENOSPC, errno.EROFS, errno.EDQUOT),
    "os.link": (errno.EIO, errno.EPERM),
    "os.remove": (errno.EIO,),
    "fsync": (errno.EIO, errno.ENOSPC),
    "open to write": (errno.ENOSPC, errno.EMFILE),
    "open": (errno.EIO, errno.EMFILE),
    "mmap.__new__": (errno.ENOMEM,),
    "fcntl.flock": (errno.ENOLCK, errno.EINTR),
}


@dataclass(frozen=True)
class Case:
    """A command that writes something.

    Attributes:
        arguments: of vit-convert, without --force.
        output: what it writes.
        other: an argument that has it write something else there.
        imports: what it imports, so that a nursery can do so beforehand.
        resumed: a folder beside the output that it leaves, and where there is what `--resume` goes
            on from: (folder, file in it). All other commands begin anew.
    """

    arguments: tuple[str, ...]
    output: str
    other: tuple[str, ...]
    imports: tuple[str, ...] = ()
    resumed: tuple[str, str] | None = None

    @property
    def name(self) -> str:
        """What a test is called."""
        return self.output.replace("model_", "")


CONVERT = ("torch2keras", str(CHECKPOINT), "--num-heads=3")
LIGHT = (
    "vit_convert.cli",
    "vit_convert.conversion.files",
    "vit_convert.exporters",
    "vit_convert.labels.names",
    "vit_convert.runtime.scratch",
)
TENSORFLOW = (*LIGHT, "tensorflow", "tf_keras", "vit_convert.models.vit")
CASES = (
    Case((*CONVERT, "-o", "model.h5"), "model.h5", (OLD_MARK,), LIGHT),
    Case(
        ("export", "model.h5", "--tflite", "-o", "out"),
        "out/model_float32.tflite",
        ("--embed-preprocessing",),
        LIGHT,
    ),
    Case(
        ("export", "model.h5", "--saved-model", "-o", "out"),
        "out/model_saved_model",
        ("--embed-preprocessing",),
        TENSORFLOW,
    ),
    Case(
        ("export", "model.h5", "--hub", "-o", "out"), "out/model_hub", ("--attention",), TENSORFLOW
    ),
    Case(
        (
            *("finetune", "model.h5", "pictures", "-o", "out/tuned.h5", "--validation=0.25"),
            *("--epochs=3", "--head-epochs=1", "--batch-size=4"),
        ),
        "out/tuned.h5",
        ("--seed=1",),
        (
            *(*TENSORFLOW, "matplotlib.pyplot", "vit_convert.training.pipeline"),
            *("vit_convert.training.run", "vit_convert.reporting.training_report"),
        ),
        ("out/tuned_training", "state.npz"),
    ),
)


def write_pictures(folder: Path) -> None:
    """4 pictures of each of 3 classes."""
    rng = np.random.default_rng(5)
    for i in range(12):
        home = folder / f"class {i % 3}"
        home.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (16, 24, 3), np.uint8)).save(home / f"{i}.png")


def fingerprint(path: Path) -> str:
    """What tells two artifacts apart; "" where there is none.

    Of a folder: its files, and the content of those of weights. What else is in a SavedModel holds
    numbers that differ from run to run.
    """
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")):
        digest.update(str(file.relative_to(path)).encode())
        if "variables.data" in file.name or file.suffix == ".json":
            digest.update(file.read_bytes())
        elif file.is_file():
            assert file.stat().st_size or file.name.endswith(".txt"), f"{file} is empty"
    return digest.hexdigest() if path.is_dir() else ""


class Trials:
    """Runs a case with faults, in a folder, and checks what each leaves behind.

    Attributes:
        output: what the command writes.
        new: its fingerprint.
        counted: how often each ending was seen.
        events: the calls that touch files which the command makes where nothing is broken, once
            where nothing is there and once with --force.
        seconds: that it takes, as `events`.
    """

    def __init__(self, case: Case, run: Commands, folder: Path) -> None:
        self.case, self._run, self.folder = case, run, folder
        self.output = folder / case.output
        self.counted: Counter[str] = Counter()
        (folder / "out").mkdir()
        if case.arguments[0] != "torch2keras":
            self._must_end_well(run(*CONVERT, "-o", "model.h5"))
        if case.arguments[0] == "finetune":
            write_pictures(folder / "pictures")
        self._must_end_well(run(*case.arguments, *case.other))
        self._old = self._keep("old")
        fresh = run(*case.arguments)
        self._must_end_well(fresh)
        self.new = self._keep("new")
        self._put("old")
        forced = run(*case.arguments, "--force")
        self._must_end_well(forced)
        assert fingerprint(self.output) == self.new != self._old
        self.events = {False: fresh.events, True: forced.events}
        self.seconds = {False: fresh.seconds, True: forced.seconds}

    def signals(self, moments: int, seed: int, after: float) -> None:
        """Send SIGKILL and SIGTERM, half of them at calls that touch files, half at any time.

        Args:
            moments: how many.
            seed: chooses them.
            after: seconds that the command takes.
        """
        rng = random.Random(seed)
        for i in range(moments):
            number = (signal.SIGKILL, signal.SIGTERM)[i % 2]
            force = rng.random() < 0.6
            # most calls come before anything is written
            last = len(self.events[force]) - 1
            at = {"at": max(0, last - int(rng.expovariate(0.08)))} if i % 4 < 2 else {}
            when = at or {"after": rng.uniform(0, after)}
            ended = self._trial(force, signal=int(number), **when)
            expected = {0, -number} | ({143} if number == signal.SIGTERM else set())
            self._check(ended, expected, force, f"{number.name} {when}")

    def failures(self, every: int = 1) -> None:
        """Fail each call that can fail, one in each run, with and without renameat2.

        Args:
            every: take only each so-many-th of them.
        """
        index = 0
        for force in (False, True):
            for without in ("", "exchange"):
                events = self.events[force]
                if without:
                    self._put("old" if force else "")
                    ended = self._trial(force, without=without)
                    assert ended.code == 0, ended.err
                    events = ended.events
                for call, numbers in FAILING.items():
                    for at in range(Counter(events)[call]):
                        for number in numbers:
                            index += 1
                            if index % every:
                                continue
                            fault = {"call": call, "at": at, "errno": number, "without": without}
                            ended = self._trial(force, **fault)
                            self._check(ended, {0, 2}, force, str(fault))

    def full_disks(self, sizes: Iterator[int]) -> None:
        """Let no file grow beyond each of these sizes in bytes."""
        for size in sizes:
            for force in (False, True):
                ended = self._trial(force, file_size=size)
                self._check(ended, {0, 2}, force, f"disk full at {size}")

    def run_once(self) -> Ended:
        """Run the command where nothing is broken."""
        return self._run(*self.case.arguments)

    def _trial(self, force: bool, **fault: object) -> Ended:
        self._put("old" if force else "")
        return self._run(*self.case.arguments, *(("--force",) if force else ()), **fault)

    def _check(self, ended: Ended, codes: set[int], force: bool, fault: str) -> None:
        about = f"{self.case.name}, {fault}, force {force}: exit {ended.code}\n{ended.err}"
        assert ended.code in codes, about
        assert "Traceback" not in ended.err, about
        assert "bug in vit-convert" not in ended.err, about
        found = fingerprint(self.output)
        before = self._old if force else ""
        if ended.code == 0 and "warning: not read: pictures/" in ended.err:
            # a picture that cannot be read is left out, and said; the model is another one
            assert found != before, about
            self._must_end_well(self._run("inspect", self.case.output))
        elif ended.code == 0:
            assert found == self.new, about
        elif ended.code == 2:
            # what is written after the model may fail: --resume goes on there
            assert found == before or (found == self.new and self.resumable), about
            said = [line for line in ended.err.splitlines() if line.startswith("error:")]
            assert len(said) == 1, about
        else:
            left = self._left()
            if found not in (before, self.new):
                # a folder stands aside for a moment where the system has no exchange of names
                assert any(left), about
            if ended.code != -signal.SIGKILL:
                assert not left, about
        if ended.code not in (0, -signal.SIGKILL):
            assert not self._left(), about
        if self._left():
            self.counted["scratch of a killed run was cleared by the next"] += 1
        if self._left() or (self.case.resumed and ended.code != 0):
            again = "--resume" if self.resumable else "--force"
            self._must_end_well(self._run(*self.case.arguments, again))
            assert not self._left(), about
            assert not self.resumable, about
            assert fingerprint(self.output) == self.new, about
            if self.case.resumed:
                self.counted[f"{again} then gave the same"] += 1
        known = {self.new: "new", self._old: "old", "": "nothing"}
        kept = known.get(found, "a model without the picture that could not be read")
        self.counted[f"exit {ended.code}, {kept}"] += 1

    @property
    def beside(self) -> set[Path]:
        """The folders that a stopped run may leave beside its output."""
        return {self.folder / self.case.resumed[0]} if self.case.resumed else set()

    @property
    def resumable(self) -> bool:
        """Whether there is something to go on from."""
        return bool(self.case.resumed) and self.folder.joinpath(*self.case.resumed).exists()

    def _left(self) -> list[Path]:
        folders = {self.output.parent, *self.beside}
        return [p for folder in folders for p in folder.glob(f"{SCRATCH}*")]

    def _must_end_well(self, ended: Ended) -> None:
        assert ended.code == 0, ended.err

    def _keep(self, name: str) -> str:
        """Move the output away, and give its fingerprint."""
        self.output.rename(self.folder / name)
        self._remove_beside()
        return fingerprint(self.folder / name)

    def _put(self, name: str) -> None:
        """Have a kept output at its place; nothing for ""."""
        if self.output.is_dir():
            shutil.rmtree(self.output)
        self.output.unlink(missing_ok=True)
        self._remove_beside()
        if name:
            kept = self.folder / name
            (shutil.copytree if kept.is_dir() else shutil.copy)(kept, self.output)

    def _remove_beside(self) -> None:
        for folder in self.beside:
            shutil.rmtree(folder, ignore_errors=True)
