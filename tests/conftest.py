"""What tests of several parts share. Small models are in families.py."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from families import randomise


@pytest.fixture
def randomised() -> Callable[..., torch.nn.Module]:
    """`randomised(model, seed=0)` gives every parameter and buffer a sizeable random value."""
    return randomise
