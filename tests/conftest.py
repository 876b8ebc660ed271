"""Markers and a fixture that tests of several rooms share. Small models are in families.py.

Where PyTorch is not installed, the tests that compare with it are left out; the others compare with
its recorded results in goldens/. Where Ray is not, those that start it are. CI has both.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from markers import markers_of, needs_pytorch

if TYPE_CHECKING:
    import torch


def _has(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ValueError:  # blocked, as by tests of its absence
        return False


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out the modules, and the folders, that cannot be imported where PyTorch is missing."""
    path = collection_path / "conftest.py" if collection_path.is_dir() else collection_path
    if _has("torch") or path.suffix != ".py" or not path.is_file():
        return None
    return True if needs_pytorch(path) else None


@pytest.hookimpl(tryfirst=True)  # before pytest selects by marker
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark every test, and leave out those that need PyTorch or Ray where it is missing."""
    for item in items:
        assert isinstance(item, pytest.Function)
        for marker in sorted(markers_of(item)):
            item.add_marker(marker)
    for package in ("torch", "ray"):
        if not _has(package):
            left_out = [item for item in items if item.get_closest_marker(package)]
            items[:] = [item for item in items if not item.get_closest_marker(package)]
            config.hook.pytest_deselected(items=left_out)


@pytest.fixture
def randomised() -> Callable[..., torch.nn.Module]:
    """`randomised(model, seed=0)` gives every parameter and buffer a sizeable random value."""
    from families import randomise

    return randomise
