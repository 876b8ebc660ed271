#!/usr/bin/env python3
"""Parity of real sizes with timm: every artifact of randomised checkpoints, in one table.

    python scripts/measure_parity.py [MODEL...] [--work FOLDER]

MODEL is a timm name; by default one of each family. Every parameter gets a sizeable random value
(tests/families.py says how), four random images are run, and the table gives |difference| and
|difference| / max |logit|. Exits with 1 if one is above 1e-5 (float16: 5e-3).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from families import randomise, timm

from vit_convert.cli import console
from vit_convert.conversion.files import torch2keras
from vit_convert.exporters import ExportOptions, export_all
from vit_convert.parity.report import columns, rows
from vit_convert.parity.verify import verify

MODELS = ("vit_base_patch16_224", "deit_base_distilled_patch16_224", "cait_s24_224")


def measure(name: str, folder: Path) -> list[tuple[str, ...]]:
    source, model = folder / f"{name}.pth", folder / f"{name}.h5"
    torch.save(randomise(timm.create_model(name, num_classes=1000)).state_dict(), source)
    torch2keras(source, model, force=True)
    jobs = [
        ("saved_model", ExportOptions()),
        ("hub", ExportOptions()),
        ("tflite", ExportOptions(precision="float32")),
        ("tflite", ExportOptions(precision="float16")),
    ]
    exported = export_all(model, jobs, folder, force=True)
    artifacts = [model, *(artifact.path for artifact in exported)]
    return rows(verify(artifact, source=source) for artifact in artifacts)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="*", default=MODELS, metavar="MODEL")
    parser.add_argument("--work", type=Path, help="where to put checkpoints and artifacts")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        table = [
            row
            for name in arguments.models
            for row in measure(name, arguments.work or Path(scratch))
        ]
    console.table(columns(), table)
    sys.exit(0 if all(row[-1] == "equal" for row in table) else 1)


if __name__ == "__main__":
    main()
