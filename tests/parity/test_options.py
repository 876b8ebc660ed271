"""What ViT's descendants added, exported: at parity with timm as a SavedModel and as TFLite, on the
CPU and on the GPU delegate with no operation left out."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from families import OPTIONS

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
    saved_model, tflite = export(model, ["saved_model", "tflite"], tmp_path, ExportOptions(), False)
    for artifact, delegate in ((saved_model, "cpu"), (tflite, "cpu"), (tflite, "gpu")):
        result = verify(artifact, source=source, delegate=delegate)
        assert result.passed, (artifact.name, delegate, result)
        assert result.comparison.relative <= LIMIT
    assert result.gpu is not None
    assert (result.gpu.on_gpu, result.gpu.refused) == (result.gpu.operations, ())
