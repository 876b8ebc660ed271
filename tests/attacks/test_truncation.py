"""A .tflite file that another process truncates while it is in use: nothing crashes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

GOLDEN = Path(__file__).parents[1] / "goldens/artifacts_0_1/vit.tflite"
# Opens and reads a file in every way, truncates it, and does everything with it.
PROGRAM = """
import os, sys
from pathlib import Path
import numpy as np
from vit_convert.exporters.tflite.file_reader import read_file
from vit_convert.exporters.tflite.graph_reader import TfliteGraph
from vit_convert.exporters.tflite.opening import open_file, prepare_file

path = Path(sys.argv[1])
artifact, timed = open_file(path), prepare_file(path, 1)
file, graph = read_file(path), TfliteGraph(path)
images = np.random.default_rng(0).random((1, *artifact.spec.config.image_size, 3), np.float32)
before = artifact.run(images)
whole = file.data.sum()
os.truncate(path, int(sys.argv[2]))
assert all((artifact.run(images)[name] == value).all() for name, value in before.items())
timed.run()
assert file.data.sum() == whole
assert graph.model.subgraphs
print("as before")
"""


def test_what_was_opened_is_as_before(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    for size in (0, 5000):
        shutil.copy(GOLDEN, path)
        command = [sys.executable, "-W", "error", "-c", PROGRAM, str(path), str(size)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert (done.returncode, done.stdout) == (0, "as before\n"), done.stderr
