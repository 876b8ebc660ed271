#!/usr/bin/env python3
"""Top-1 accuracy on CIFAR-10's whole test set: the source in PyTorch and every artifact of it.

    python scripts/measure_accuracy.py --data cifar10.zip [--limit N]

The zip holds JPEGs as train/<class>/*.jpg and test/<class>/*.jpg. Converts and exports the
checkpoints of weights/ in a temporary folder; int8 is calibrated on 20 training images of each
class. Exits with 1 if an accuracy is further from PyTorch's than its precision may be: 0.05 points,
0.3 with weights in int8, 0.5 with activations in int8 too.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path, PurePosixPath

from vit_convert.architectures import Overrides
from vit_convert.cli import console
from vit_convert.conversion.convert import open_source
from vit_convert.conversion.files import torch2keras
from vit_convert.exporters import Artifact, ExportOptions, export_all, open_artifact
from vit_convert.inference.evaluate import evaluate
from vit_convert.labels.names import read_labels
from vit_convert.parity.sources.timm_source import TorchReference

WEIGHTS = Path(__file__).parent.parent / "weights"
CHECKPOINTS = ("vit_cifar10.pth", "cait_cifar10.safetensors")
CALIBRATION = [f"{i:04d}.jpg" for i in range(20)]  # of each class
POINTS = {"float32": 0.05, "float16": 0.05, "int8-dynamic": 0.3, "int8": 0.5}


def in_pytorch(checkpoint: Path, like: Artifact) -> Artifact:
    """The source checkpoint in timm, to be evaluated as an artifact is."""
    reference = TorchReference(like.spec, open_source(checkpoint, None, like.spec)[1].tensors)
    return replace(
        like,
        path=checkpoint,
        kind="pytorch",
        run=lambda images: {"logits": reference.run(images)},
        blocks=None,
    )


def artifacts_of(checkpoint: Path, folder: Path) -> list[Artifact]:
    model = folder / f"{checkpoint.stem}.h5"
    labels = read_labels(WEIGHTS / "cifar10_labels.txt")
    torch2keras(checkpoint, model, overrides=Overrides(crop_pct=1.0), labels=labels)
    jobs = [
        ("saved_model", ExportOptions()),
        ("hub", ExportOptions()),
        ("tflite", ExportOptions(precision="float32")),
        ("tflite", ExportOptions(precision="float16")),
        ("tflite", ExportOptions(precision="int8-dynamic", calibration=folder / "train")),
        ("tflite", ExportOptions(precision="int8", calibration=folder / "train")),
    ]
    paths = [model, *(exported.path for exported in export_all(model, jobs, folder))]
    opened = [open_artifact(path) for path in paths]
    return [in_pytorch(checkpoint, opened[0]), *opened]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="cifar10.zip")
    parser.add_argument("--limit", type=int)
    arguments = parser.parse_args()
    rows = []
    right = True
    with tempfile.TemporaryDirectory() as scratch, zipfile.ZipFile(arguments.data) as archive:
        folder = Path(scratch)
        for path in map(PurePosixPath, archive.namelist()):
            if path.parts[0] == "test" or path.name in CALIBRATION:
                archive.extract(str(path), folder)
        for name in CHECKPOINTS:
            artifacts = artifacts_of(WEIGHTS / name, folder)
            results = evaluate(artifacts, folder / "test", limit=arguments.limit)
            for artifact, found in zip(artifacts, results, strict=True):
                points = found.top1 - results[0].top1
                right &= abs(points) <= POINTS[artifact.options.precision] + 1e-9
                rows.append(
                    (
                        found.path.name,
                        found.kind,
                        str(found.images),
                        f"{found.top1:.2f}",
                        f"{points:+.2f}",
                        f"{found.agreement:.2f}",
                    )
                )
    columns = ("what", "kind", "images", "top-1 %", "to PyTorch", "agrees with PyTorch %")
    console.table(columns, rows)
    sys.exit(0 if right else 1)


if __name__ == "__main__":
    main()
