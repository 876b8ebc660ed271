"""A short run of scripts/fuzz, and that it finds what is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts/fuzz"


def fuzz(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *arguments, "--keep", str(folder / "findings")]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.once
def test_500_broken_files_of_each_format(tmp_path: Path) -> None:
    done = fuzz("--files", "500", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]


def test_a_later_run_goes_on_where_the_last_one_ended(tmp_path: Path) -> None:
    state = str(tmp_path / "state.json")
    for files, new in (("3", 3), ("8", 5)):
        done = fuzz("--files", files, "--format", "toml", "--state", state, folder=tmp_path)
        assert f"\n{new} files in " in done.stdout


def test_what_is_wrong_is_found_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that opens another file, and fails, stands in for a defect."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import sys\n"
        "import vit_convert.dialects as dialects\n"
        "def broken(path):\n    open('/etc/hostname').close()\n    raise KeyError(path)\n"
        "dialects.rules_of = broken\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{site}:{SCRIPT.parents[1]}")
    done = fuzz("--files", "1", "--format", "toml", folder=tmp_path)
    assert done.returncode == 1
    assert "open '/etc/hostname'; escaped: KeyError" in done.stdout
    assert (tmp_path / "findings/toml-0").is_file()
