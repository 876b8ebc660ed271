#!/usr/bin/env python3
"""Cost and speed of TFLite exports: wall time and peak memory of the command, latency of the file.

    python scripts/bench_tflite.py [--models NAME,...] [--tree FOLDER]... [--precision P] [--runs N]

For each published variant a converted model with random weights is made, `vit-convert export
--tflite` is run in a process of its own, and the files are then timed on the CPU (XNNPACK, 2
threads), all interleaved so that ratios hold on a busy machine. Each --tree is a checkout whose
package is used, so that two states of the code can be compared; by default this one.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np

from vit_convert.architectures import ModelSpec, Parameter, architectures
from vit_convert.checkpoint.tensor import LazyTensor
from vit_convert.cli import console
from vit_convert.conversion.h5_file import write_h5
from vit_convert.inference.benchmark import benchmark

MODELS = (
    "vit_tiny_patch16_224",
    "vit_base_patch16_224",
    "deit_small_distilled_patch16_224",
    "cait_xxs24_224",
)
THREADS = 2
COLUMNS = ("model", "tree", "export s", "peak MB", "file MB", "ms median", "ms p20", "ms min")


@dataclass
class Result:
    model: str
    tree: Path
    path: Path
    seconds: list[float] = field(default_factory=list)
    megabytes: float = 0.0
    latencies: list[float] = field(default_factory=list)

    def row(self) -> tuple[str, ...]:
        milliseconds = 1e3 * np.array(self.latencies)
        return (
            self.model,
            self.tree.name,
            f"{median(self.seconds):.1f}",
            f"{self.megabytes:.0f}",
            f"{self.path.stat().st_size / 1e6:.1f}",
            f"{median(milliseconds):.2f}",
            f"{np.percentile(milliseconds, 20):.2f}",
            f"{milliseconds.min():.2f}",
        )


def make_model(name: str, path: Path) -> None:
    """An .h5 of a published variant with random weights, made one array at a time."""
    architecture, variant = next(
        (a, v) for a in architectures() for v in a.variants if v.name == name
    )
    spec = ModelSpec(architecture.name, variant.config, variant.preprocessing)
    rng = np.random.default_rng(0)

    def tensor(p: Parameter) -> LazyTensor:
        def read() -> np.ndarray:
            if (p.kind == "norm" and p.name.endswith("weight")) or "gamma" in p.name:
                return (1 + 0.3 * rng.standard_normal(p.shape)).astype(np.float32)
            spread = 0.3 if len(p.shape) == 1 else 1.3 * np.prod(p.shape[1:]) ** -0.5
            return (spread * rng.standard_normal(p.shape)).astype(np.float32)

        return LazyTensor(p.name, p.shape, "float32", read)

    write_h5(path, spec, {p.name: tensor(p) for p in spec.parameters()})


def run_export(tree: Path, model: Path, folder: Path, precision: str) -> tuple[Path, float, float]:
    """The file, seconds and peak megabytes of `vit-convert export --tflite`."""
    command = [sys.executable, "-m", "vit_convert", "export", str(model), "--tflite", "--force"]
    command += ["-o", str(folder), "--precision", precision]
    started = time.perf_counter()
    child = subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": str(tree)},
        cwd=folder,  # `-m` looks there first
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    path = folder / f"{model.stem}_{precision}.tflite"
    return path, time.perf_counter() - started, usage.ru_maxrss / 1e3


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--tree", type=Path, action="append")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--exports", type=int, default=2, help="median of so many exports")
    parser.add_argument("--runs", type=int, default=90, help="inferences")
    arguments = parser.parse_args()
    trees = [t.resolve() for t in arguments.tree or [Path(__file__).parent.parent]]
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for name in arguments.models.split(","):
            model = Path(scratch) / f"{name}.h5"
            make_model(name, model)
            results = []
            for index, tree in enumerate(trees):
                folder = Path(scratch) / str(index)
                folder.mkdir(exist_ok=True)
                results.append(Result(name, tree, folder))
            for _ in range(arguments.exports):
                for result in results:
                    folder = result.path if result.path.is_dir() else result.path.parent
                    path, seconds, peak = run_export(
                        result.tree, model, folder, arguments.precision
                    )
                    result.path, result.megabytes = path, max(peak, result.megabytes)
                    result.seconds.append(seconds)
            timed = benchmark([r.path for r in results], threads=THREADS, runs=arguments.runs)
            for result, figures in zip(results, timed, strict=True):
                result.latencies += figures.seconds
            rows += [result.row() for result in results]
            for path in (model, *(result.path for result in results)):
                path.unlink()
    console.table(COLUMNS, rows)


if __name__ == "__main__":
    main()
