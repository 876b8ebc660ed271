#!/usr/bin/env python3
"""Top-1 accuracy on CIFAR-10's whole test set: the source in PyTorch and every artifact of it.

    python scripts/measure_accuracy.py --data cifar10.zip [--limit N]

The zip holds JPEGs as test/<class>/*.jpg. Converts and exports the checkpoints of weights/ in a
temporary folder.
"""

from __future__ import annotations

import argparse
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path

from vit_convert.architectures import Overrides
from vit_convert.cli import console
from vit_convert.conversion import open_source
from vit_convert.evaluation import evaluate
from vit_convert.exporters import Artifact, ExportOptions, export_all, open_artifact
from vit_convert.labels import read_labels
from vit_convert.parity.reference import TorchReference
from vit_convert.transfer import torch2keras

WEIGHTS = Path(__file__).parent.parent / "weights"
CHECKPOINTS = ("vit_cifar10.pth", "cait_cifar10.safetensors")


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
    ]
    opened = [open_artifact(path) for path in (model, *export_all(model, jobs, folder))]
    return [in_pytorch(checkpoint, opened[0]), *opened]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="cifar10.zip")
    parser.add_argument("--limit", type=int)
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as scratch, zipfile.ZipFile(arguments.data) as archive:
        folder = Path(scratch)
        archive.extractall(folder, [n for n in archive.namelist() if n.startswith("test/")])
        for name in CHECKPOINTS:
            artifacts = artifacts_of(WEIGHTS / name, folder)
            for found in evaluate(artifacts, folder / "test", limit=arguments.limit):
                rows.append(
                    (
                        found.path.name,
                        found.kind,
                        str(found.images),
                        f"{found.top1:.2f}",
                        f"{found.agreement:.2f}",
                    )
                )
    console.table(("what", "kind", "images", "top-1 %", "agrees with PyTorch %"), rows)


if __name__ == "__main__":
    main()
