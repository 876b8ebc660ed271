#!/usr/bin/env python3
"""Parity of every source of checkpoints with the library it comes from, in one table.

    python scripts/measure_sources.py [--only TEXT] [--gpu]

For each source a small randomised model is made by its library's own classes, saved as the library
saves it, converted and exported. The table gives |difference| / max |output| of three random images
in Keras, as SavedModel, in TFLite on the CPU and, with --gpu, on LiteRT's GPU accelerator. It is
Markdown, for docs/sources.md. Exits with 1 if a number is above 1e-5.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from schemes import SCHEMES, Scheme, images, run

from vit_convert.cli import console
from vit_convert.conversion.files import torch2keras
from vit_convert.exporters import ExportOptions, export_all, open_artifact
from vit_convert.exporters.keras_h5 import load_model
from vit_convert.parity.gpu.delegate import on_gpu

LIMIT = 1e-5


def measure(scheme: Scheme, folder: Path, gpu: bool) -> list[str]:
    source, model = scheme.save(folder)
    pictures = images()
    expected = run(model, pictures)

    def relative(got: np.ndarray) -> str:
        return f"{np.abs(got - expected).max() / np.abs(expected).max():.1e}"

    converted = torch2keras(source, folder / "converted.h5", overrides=scheme.overrides)
    jobs = [("saved_model", ExportOptions()), ("tflite", ExportOptions())]
    exports = export_all(folder / "converted.h5", jobs, folder, force=True)
    saved_model, artifact = (open_artifact(exported.path) for exported in exports)

    def outputs(runner: object) -> np.ndarray:
        parts = [next(iter(runner.run(p[None]).values())) for p in pictures]
        return np.concatenate(parts)

    row = [
        scheme.name,
        f"`{converted.ledger.dialect.name}`",
        str(len({n for names in converted.ledger.sources.values() for n in names})),
        str(len(converted.ledger.ignored)),
        relative(load_model(folder / "converted.h5")(pictures).numpy()),
        relative(outputs(saved_model)),
        relative(outputs(artifact)),
    ]
    if gpu:
        with on_gpu(artifact) as (report, accelerated):
            row.append(relative(outputs(accelerated)) if accelerated else report.problem)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="sources with this text in their name")
    parser.add_argument("--gpu", action="store_true")
    arguments = parser.parse_args()
    logging.getLogger("transformers").setLevel(logging.ERROR)
    columns = ["source", "recognised as", "read", "ignored", "Keras", "SavedModel", "TFLite CPU"]
    columns += ["TFLite GPU"] * arguments.gpu
    console.out(f"| {' | '.join(columns)} |")
    console.out(f"| {' | '.join('---' for _ in columns)} |")
    good = True
    for scheme in SCHEMES:
        if arguments.only in scheme.name:
            with tempfile.TemporaryDirectory() as scratch:
                row = measure(scheme, Path(scratch), arguments.gpu)
            console.out(f"| {' | '.join(row)} |")
            good &= all(_within(cell) for cell in row[4:])
    sys.exit(0 if good else 1)


def _within(cell: str) -> bool:
    try:
        return float(cell) <= LIMIT
    except ValueError:
        return False


if __name__ == "__main__":
    main()
