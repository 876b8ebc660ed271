"""Small folders of pictures, and a small model, to train."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

COLOURS = {"blue": (40, 60, 200), "green": (50, 190, 70), "red": (210, 50, 60)}


def write_pictures(folder: Path, per_class: int, seed: int = 0, side: int = 16) -> Path:
    """Noisy pictures of three colours, `folder/<colour>/<number>.png`."""
    rng = np.random.default_rng(seed)
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for i in range(per_class):
            noise = rng.normal(0, 60, (side, side, 3))
            pixels = (np.array(colour) + noise).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.png")
    return folder


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16 pictures of each of three colours, 16 x 16 pixels."""
    return write_pictures(tmp_path_factory.mktemp("colours") / "train", 16)


@pytest.fixture(scope="session")
def held_back(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """7 other pictures of each colour."""
    return write_pictures(tmp_path_factory.mktemp("colours") / "held", 7, seed=1)
