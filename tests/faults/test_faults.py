"""Commands that are broken off in the middle leave the old artifact or the new one, and no litter.

The long form, with every target and hundreds of moments, is `scripts/faults`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from nursery import Commands, commands
from recovery import CASES, Trials

QUICK = CASES[:2]  # those that need no TensorFlow


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    imports = tuple(name for case in QUICK for name in case.imports)
    with commands(tmp_path_factory.mktemp("faults"), imports) as made:
        yield made


@pytest.fixture(params=QUICK, ids=lambda case: case.name)
def trials(request: pytest.FixtureRequest, run: Commands, tmp_path: Path) -> Trials:
    run.folder = tmp_path
    return Trials(request.param, run, tmp_path)


def test_a_killed_or_terminated_run(trials: Trials) -> None:
    trials.signals(24, seed=1, after=0.12)
    assert len(trials.counted) >= 4, trials.counted


def test_a_call_that_fails(trials: Trials) -> None:
    trials.failures(every=8)
    assert len(trials.counted) >= 2, trials.counted


def test_a_disk_that_is_full(trials: Trials) -> None:
    size = trials.output.stat().st_size
    trials.full_disks(iter([0, 1, size // 3, size - 1]))
    assert any(ending.startswith("exit 2") for ending in trials.counted), trials.counted
