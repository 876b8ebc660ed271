"""`export --tflite` needs neither TensorFlow nor PyTorch in a precision that needs no pictures."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from exporting import FAMILIES, relative

from vit_convert.parity.compare import TOLERANCES

PRECISIONS = ("float32", "float16", "int8-dynamic")
# What is None cannot be imported. Every model is exported by the command itself, in one process.
EXPORT = """
import json, os, sys
for name in ("tensorflow", "tf_keras", "keras", "torch"):
    sys.modules[name] = None
from vit_convert.cli import cli
failed = {}
for family, model in json.loads(sys.argv[1]).items():
    os.makedirs(family)
    arguments = ["export", model, "--tflite", "-o", family]
    for precision in json.loads(sys.argv[2]):
        arguments += ["--precision", precision]
    try:
        cli(arguments)
    except SystemExit as done:
        if done.code:
            failed[family] = done.code
sys.exit(f"failed: {failed}" if failed else 0)
"""


@pytest.fixture(scope="module")
def files(sample: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each family, with the files that were exported."""
    folder = tmp_path_factory.mktemp("without_tensorflow")
    models = json.dumps({family: str(sample(family).h5) for family in FAMILIES})
    command = [sys.executable, "-c", EXPORT, models, json.dumps(PRECISIONS)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_exported_and_right(sample, files, family, precision):
    model = sample(family)
    (path,) = (files / family).glob(f"*_{precision}.tflite")
    runner = Interpreter(str(path)).get_signature_runner("serving_default")
    got = np.concatenate([runner(images=image[None])["logits"] for image in model.images])
    assert relative(model.timm_logits, got) <= TOLERANCES[precision]


def test_nothing_can_be_imported_that_is_blocked():
    """The guard itself: without it the test above would prove nothing."""
    code = EXPORT.partition("from vit_convert")[0] + "import tensorflow"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "ModuleNotFoundError" in done.stderr
