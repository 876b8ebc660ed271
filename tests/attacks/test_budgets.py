"""No hostile file takes long or much memory, opens another file, makes one, or starts a process;
and each error is one that a user can act on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from confined import Confined
from hostile_files import HOSTILE


@pytest.fixture(scope="module")
def confined() -> Iterator[Confined]:
    process = Confined()
    yield process
    process.close()


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_costs_little(name: str, confined: Confined, tmp_path: Path) -> None:
    reader, make = HOSTILE[name]
    outcome = confined.run(reader, make(tmp_path))
    assert not outcome.problems, outcome.message
