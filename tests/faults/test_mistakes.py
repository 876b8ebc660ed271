"""The tests can fail: mistakes in the numerics are noticed. `scripts/mutate` makes all of them, and
`scripts/mutate_code` changes the code of three rooms at random places.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

pytestmark = pytest.mark.once  # it reads source
ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "scripts"))
from mutants_explained import EXPLAINED  # noqa: E402  # from scripts/
from mutations import AREAS, MISTAKES, Mistake  # noqa: E402


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda m: f"{m.area}: {m.what}")
def test_a_mistake_can_be_made(mistake: Mistake) -> None:
    """The source has that piece of text once, and is still Python when it is wrong."""
    text = (ROOT / "vit_convert" / mistake.file).read_text(encoding="utf-8")
    assert text.count(mistake.right) == 1
    wrong = text.replace(mistake.right, mistake.wrong)
    assert ast.dump(ast.parse(wrong)) != ast.dump(ast.parse(text))


def test_every_area_has_mistakes_and_tests() -> None:
    counted = Counter(mistake.area for mistake in MISTAKES)
    assert counted.keys() == AREAS.keys()
    assert min(counted.values()) >= 3
    assert counted.total() >= 60
    assert all((ROOT / path).is_file() for files in AREAS.values() for path in files)


@pytest.mark.parametrize("mutant", EXPLAINED, ids=" ".join)
def test_a_mutant_that_is_explained_can_be_made(mutant: tuple[str, str, str]) -> None:
    file, was, becomes = mutant
    lines = (ROOT / "vit_convert" / file).read_text(encoding="utf-8").splitlines()
    assert was in map(str.strip, lines)
    assert becomes != was
    assert len(EXPLAINED[mutant]) > 20


@pytest.mark.torch
def test_mistakes_are_noticed() -> None:
    command = [sys.executable, "scripts/mutate", "--area", "resampling", "--sample", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("1 of 1 mistakes were noticed\n")
