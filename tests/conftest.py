"""What tests of several rooms share: their markers, and a fixture. Small models are in families.py.

Where PyTorch is not installed, the tests that compare with it are left out; the others compare with
its recorded results in goldens/. CI has PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from markers import file_needs_pytorch, markers_of

if TYPE_CHECKING:
    import torch


def _has_pytorch() -> bool:
    try:
        return find_spec("torch") is not None
    except ValueError:  # blocked, as by tests of its absence
        return False


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out test modules that cannot be imported where PyTorch is missing."""
    is_module = collection_path.name.startswith("test_") and collection_path.suffix == ".py"
    if not is_module or _has_pytorch():
        return None
    return True if file_needs_pytorch(collection_path) else None


@pytest.hookimpl(tryfirst=True)  # before pytest selects by marker
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark every test, and leave out those that need PyTorch where it is missing."""
    for item in items:
        assert isinstance(item, pytest.Function)
        for marker in sorted(markers_of(item)):
            item.add_marker(marker)
    if not _has_pytorch():
        left_out = [item for item in items if item.get_closest_marker("torch")]
        items[:] = [item for item in items if not item.get_closest_marker("torch")]
        config.hook.pytest_deselected(items=left_out)


@pytest.fixture
def randomised() -> Callable[..., torch.nn.Module]:
    """`randomised(model, seed=0)` gives every parameter and buffer a sizeable random value."""
    from families import randomise

    return randomise
