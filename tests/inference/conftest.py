"""A small artifact and pictures of it, made without PyTorch and TensorFlow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from odd_names import ODD_NAMES
from PIL import Image

from vit_convert.conversion.files import torch2keras
from vit_convert.exporters import export
from vit_convert.statements.option_file import Options

GOLDEN = Path(__file__).parents[1] / "goldens/dialects/timm-vit/model.pth"


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A .tflite of 16 x 24 pixels."""
    folder = tmp_path_factory.mktemp("model")
    stated = Options({"num_heads": 3, "image_size": (16, 24)})
    torch2keras(GOLDEN, folder / "vit.h5", **stated.arguments())
    return export(folder / "vit.h5", ["tflite"], folder)[0]


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """67 pictures in 3 folders: 7 with odd names, and of 4 more none can be read."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(3)
    names = [f"{i}.png" for i in range(60)] + list(ODD_NAMES)
    for i, name in enumerate(names):
        home = folder / ("ant", "bee", "cat")[i % 3]
        home.mkdir(exist_ok=True)
        grid = Image.fromarray(rng.integers(0, 256, (4, 5, 3), np.uint8))
        grid.resize((31, 22), Image.Resampling.BICUBIC).save(home / name)
    (folder / "ant" / "empty.png").touch()
    (folder / "bee" / "text.jpg").write_text("no picture")
    whole = (folder / "cat" / "2.png").read_bytes()
    (folder / "cat" / "half.png").write_bytes(whole[: len(whole) // 2])
    (folder / "cat" / "gone.png").symlink_to("nowhere")
    return folder
