"""What ViT's descendants added, exported: at parity with timm as a SavedModel and as TFLite, on the
CPU and on the GPU delegate with no operation left out."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from families import OPTIONS, covering

from vit_convert.conversion.h5_file import write_h5
from vit_convert.exporters import ExportOptions, export
from vit_convert.parity.verify import verify

LIMIT = 1e-5


@pytest.mark.usefixtures("driver")
@pytest.mark.parametrize("name", OPTIONS)
def test_artifacts_give_what_timm_gives(name: str, tmp_path: Path) -> None:
    family = OPTIONS[name]()
    source, model = tmp_path / "source.pth", tmp_path / "model.h5"
    torch.save({k: torch.from_numpy(v) for k, v in family.arrays().items()}, source)
    write_h5(model, family.spec, family.tensors())
    # a SavedModel is the graph of the Keras model: models/test_parity_with_timm.py has all of these
    targets = ["saved_model", "tflite"] if name in covering(OPTIONS) else ["tflite"]
    *saved_models, tflite = export(model, targets, tmp_path, ExportOptions(), False)
    tried = [*((path, "cpu") for path in saved_models), (tflite, "cpu"), (tflite, "gpu")]
    for artifact, delegate in tried:
        result = verify(artifact, source=source, delegate=delegate)
        assert result.passed, (artifact.name, delegate, result)
        assert result.comparison.relative <= LIMIT
    assert result.gpu is not None
    assert (result.gpu.on_gpu, result.gpu.refused) == (result.gpu.operations, ())
