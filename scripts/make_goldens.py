#!/usr/bin/env python3
"""Make tests/goldens/dialects: a small checkpoint of every naming scheme, by the real classes.

    python scripts/make_goldens.py [GOLDEN...]

Each folder holds the checkpoint as its library saves it, and expected.npz: images, what the library
gives for them, and as JSON what must be stated. The tests that use them need no PyTorch.
"""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from schemes import SCHEMES, images, run

from vit_convert.cli import console

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "tests" / "goldens" / "dialects"


def main() -> None:
    wanted = sys.argv[1:]
    seen = set()
    for scheme in SCHEMES:
        architecture = scheme.architecture
        name = scheme.golden or f"{scheme.dialect}-{architecture}"
        if name in seen:
            continue  # one for each dialect, and those of kinds of models that say so
        seen.add(name)
        if wanted and name not in wanted:
            continue
        folder = FOLDER / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        path, model = scheme.save(folder)
        pictures = images(2)
        stated = {k: v for k, v in asdict(scheme.overrides).items() if v}
        about = {
            "checkpoint": path.name if path != folder else "",
            "dialect": scheme.dialect,
            "architecture": architecture,
            "ignored": scheme.ignored,
            "stated": stated,
        }
        np.savez_compressed(
            folder / "expected.npz",
            images=pictures,
            outputs=run(model, pictures),
            about=json.dumps(about),
        )
        size = sum(file.stat().st_size for file in folder.iterdir())
        console.out(f"{folder.relative_to(ROOT)}: {size} bytes")


if __name__ == "__main__":
    main()
