"""Code that `scripts/mutate` and `scripts/mutate_code` share.

A copy of the project has something wrong in it, and its tests run in forks of a process that has
imported what takes seconds.
"""

from __future__ import annotations

import compileall
import importlib
import os
import py_compile
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 900.0  # for the tests of one area
# imported once, in the process that all tests are forks of
KEPT: list[ModuleType] = []
LIBRARIES = ("numpy", "h5py", "PIL.Image", "torch", "tensorflow", "tf_keras")


def import_libraries() -> None:
    """Import what takes seconds, without what TensorFlow says meanwhile."""
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            for library in LIBRARIES:
                __import__(library)
            # as the tests do, with what may be missing for a CUDA build of torchvision
            sys.path.insert(0, str(ROOT))
            compat = importlib.import_module("vit_convert.parity.sources.torch_compat")
            for library in ("timm", "transformers"):
                compat.import_vision(library)
            sys.path.remove(str(ROOT))
            for name in [n for n in sys.modules if n.partition(".")[0] == "vit_convert"]:
                del sys.modules[name]
            KEPT.append(compat)  # and the operators that it has declared
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def copy_project(place: Path) -> None:
    """Copy what the tests need."""
    for name in ("vit_convert", "tests"):
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    # of all but the file with a mistake, whose hash is another
    compileall.compile_dir(
        place, quiet=1, invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH
    )
    for name in ("weights", "scripts", "docs", "examples"):
        (place / name).symlink_to(ROOT / name)
    for name in ("pyproject.toml", "README.md", "CHANGELOG.md", "CONTRIBUTING.md"):
        shutil.copy(ROOT / name, place / name)


@contextmanager
def changed(file: Path, source: str) -> Iterator[None]:
    """Have a file of the copy hold another source."""
    text = file.read_text(encoding="utf-8")
    file.write_text(source, encoding="utf-8")
    try:
        yield
    finally:
        file.write_text(text, encoding="utf-8")


def run_tests(
    place: Path, arguments: Sequence[str], seconds: float = SECONDS, plugins: Sequence[object] = ()
) -> tuple[bool, str]:
    """Run tests in a copy: do they pass, and what is their last line, or the first that fails?

    Args:
        place: the copy.
        arguments: of pytest.
        seconds: after which it is a "TIMEOUT".
        plugins: of pytest, besides.
    """
    with tempfile.TemporaryFile("w+") as output:
        child = os.fork()
        if child == 0:
            _be_pytest(place, arguments, output.fileno(), plugins)
        status = _wait(child, seconds)
        output.seek(0)
        said = output.read()
    failed = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", said, re.MULTILINE)
    if status is None:
        return False, "TIMEOUT"
    return status == 0, failed[1] if failed else (said.strip().splitlines() or ["nothing"])[-1]


def _be_pytest(
    place: Path, arguments: Sequence[str], output: int, plugins: Sequence[object]
) -> None:
    """In a fork: run pytest and exit."""
    code = 70
    try:
        os.setpgid(0, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir(place)
        sys.dont_write_bytecode = True
        os.environ |= {"PYTHONPATH": str(place), "PYTHONDONTWRITEBYTECODE": "1"}
        sys.path[:0] = [str(place)]
        import pytest
        from hypothesis import Phase, settings

        # one example that fails is enough; making it small takes minutes
        settings.register_profile("mutants", phases=(Phase.explicit, Phase.generate))
        settings.load_profile("mutants")
        options = ("-x", "-q", "-p", "no:cacheprovider", "--timeout=300")
        # of a plugin of anyio's, which a library has imported already
        options += ("-W", "ignore::pytest.PytestAssertRewriteWarning")
        code = pytest.main([*options, *arguments], plugins)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def _wait(child: int, seconds: float) -> int | None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None
