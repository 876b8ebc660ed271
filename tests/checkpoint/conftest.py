from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from vit_convert.checkpoint import Checkpoint

if TYPE_CHECKING:
    import torch

Save = Callable[[Any], Path]
SameAs = Callable[[Checkpoint, "dict[str, torch.Tensor]"], None]


@pytest.fixture(params=["zip", "legacy"])
def save(request: pytest.FixtureRequest, tmp_path: Path) -> Save:
    """torch.save in both of its formats."""
    import torch

    def write(value: Any) -> Path:
        path = tmp_path / "file"
        torch.save(value, path, _use_new_zipfile_serialization=request.param == "zip")
        return path

    return write


def as_numpy(tensor: torch.Tensor) -> np.ndarray:
    tensor = tensor.detach()
    return (tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor).numpy()


@pytest.fixture
def same_as() -> SameAs:
    """Asserts that a checkpoint holds exactly these tensors, bit for bit."""

    def check(checkpoint: Checkpoint, state: dict[str, torch.Tensor]) -> None:
        assert list(checkpoint.tensors) == list(state)
        for name, tensor in state.items():
            lazy = checkpoint.tensors[name]
            assert lazy.name == name
            assert lazy.shape == tuple(tensor.shape)
            assert f"torch.{lazy.dtype}" == str(tensor.dtype)
            read, expected = lazy.read(), as_numpy(tensor)
            assert (read.dtype, read.shape) == (expected.dtype, expected.shape)
            assert read.tobytes() == expected.tobytes()

    return check
