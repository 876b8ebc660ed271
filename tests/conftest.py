"""What tests of several parts share. Small models are in families.py.

Where PyTorch is not installed, the test modules that compare with it are not collected; what is
left compares with its recorded results in goldens/. CI has PyTorch.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import torch

_NEEDS_PYTORCH = re.compile(
    r"^(import|from) (torch|timm|families|schemes|exporting|safetensors\.torch)\b", re.MULTILINE
)


def _has_pytorch() -> bool:
    try:
        return find_spec("torch") is not None
    except ValueError:  # blocked, as by tests of its absence
        return False


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out test modules, and folders whose conftest.py needs PyTorch, where there is none."""
    source = collection_path / "conftest.py" if collection_path.is_dir() else collection_path
    if _has_pytorch() or source == Path(__file__) or not source.is_file():
        return None
    needed = source.suffix == ".py" and _NEEDS_PYTORCH.search(source.read_text(encoding="utf-8"))
    return True if needed else None


@pytest.fixture
def randomised() -> Callable[..., torch.nn.Module]:
    """`randomised(model, seed=0)` gives every parameter and buffer a sizeable random value."""
    from families import randomise

    return randomise
