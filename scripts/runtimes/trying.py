"""Trying a file on a runtime: a process of its own, which may crash or hang, and what it said."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from runtimes.files import Tried

from vit_convert.exporters.tflite.graph_reader import TfliteGraph
from vit_convert.exporters.tflite.lint import findings
from vit_convert.exporters.tflite.lint.matching import CLASSIC
from vit_convert.parity.compare import TOLERANCES
from vit_convert.parity.gpu.delegate import parse_refusal
from vit_convert.parity.gpu.process import environments

Task = Literal["classifier", "embedder"]
ROOT = Path(__file__).resolve().parent.parent.parent
LOGITS = ("logits", "output_1")  # the names of the first output, without and with maps
TIMEOUT = 120  # seconds for one file on one runtime
# Mesa in place of a GPU; MediaPipe refuses renderers that are made of software by their names
_MESA = {
    "EGL_PLATFORM": "surfaceless",
    "LIBGL_ALWAYS_SOFTWARE": "1",
    "force_gl_renderer": "Mali-G710",
}
_REPLACED = re.compile(r"Replacing (\d+) out of (\d+) node\(s\) with delegate")
_REFUSED_AT_THE_FRONT = "Conversion from TfLite model failed"
_BEHIND_THE_FRONT = "lite/delegates/gpu/gl/"  # where the error came from: from OpenGL


@dataclass(frozen=True)
class Result:
    """The outcome of a file on a runtime.

    Attributes:
        verdict: "right", "accepted" (by a front end that runs nothing), "wrong", "refused" or
            "failed".
        difference: max |difference| / max |logit| to the source; None where nothing was computed.
        reason: in the runtime's words, where it is not right.
    """

    verdict: str
    difference: float | None = None
    reason: str = ""

    @property
    def good(self) -> bool:
        return self.verdict in ("right", "accepted")

    def __str__(self) -> str:
        number = "" if self.difference is None else f"{self.difference:.1e}"
        if self.verdict == "right":
            return number
        return " ".join(filter(None, (self.verdict, number, self.reason)))


def on_litert(python: Path, tried: Tried, where: str) -> Result:
    """Run a file on a version of LiteRT, on "cpu" or "gpu"."""
    with tempfile.TemporaryDirectory() as folder:
        images, output = Path(folder, "images.npy"), Path(folder, "outputs.npz")
        np.save(images, tried.images)
        script = Path(__file__).with_name("litert_worker.py")
        environment = {**environments()[-1], "PYTHONPATH": str(ROOT)}
        command = [python, script, tried.path, images, output, where]
        code, log = _run([*map(str, command)], environment)
        if code == 0 and output.exists():
            return _judged(tried, dict(np.load(output)), where, log)
    return _failure(code, log)


def on_classic(python: Path, tried: Tried) -> Result:
    """Offer a file to the front end of the classic delegate."""
    pictures = np.random.default_rng(0).integers(0, 256, tried.images.shape, np.uint8)
    code, log = on_mediapipe(python, tried.path, pictures, "gpu")
    if _REFUSED_AT_THE_FRONT in log:  # it does not say which operation it means
        known = [
            f.rule.name for f in findings(TfliteGraph(tried.path)) if CLASSIC in f.rule.runtimes
        ]
        suspected = f", perhaps for: {', '.join(known)}" if known else ""
        return Result("refused", reason=f"by the front end{suspected}")
    if code == 0 or _BEHIND_THE_FRONT in log:
        return Result("accepted")
    return _failure(code, log)


def on_mediapipe(
    python: Path, path: Path, pictures: np.ndarray, where: str, task: Task = "classifier"
) -> tuple[int, str]:
    """Have MediaPipe's ImageClassifier or ImageEmbedder run a file.

    Args:
        python: of its environment.
        path: the .tflite file.
        pictures: (n, height, width, 3) uint8.
        where: "cpu" or "gpu".
        task: which of them.

    Returns:
        exit status, and all that was said: where it ran, the last line is JSON, for each picture
        {class: score} or {output: vector}.
    """
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder, "pictures.npy")
        np.save(saved, pictures)
        worker = Path(__file__).with_name("mediapipe_worker.py")
        command = [python, worker, path, saved, where, task]
        return _run([*map(str, command)], {**os.environ, **_MESA})


def _run(command: list[str], environment: dict[str, str]) -> tuple[int, str]:
    """Exit status, and all that was said."""
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return -1, f"did not end within {TIMEOUT} s"
    return done.returncode, done.stdout.decode(errors="replace")


def _judged(tried: Tried, outputs: dict[str, np.ndarray], where: str, log: str) -> Result:
    """The logits are held to the source's, other outputs of the GPU to those of the CPU."""
    pairs = [
        (tried.expected if name in LOGITS else outputs[f"cpu/{name}"], outputs[f"{where}/{name}"])
        for name in (key.partition("/")[2] for key in outputs if key.startswith("cpu/"))
    ]
    difference = max(float(np.abs(got - right).max() / np.abs(right).max()) for right, got in pairs)
    parts = _REPLACED.search(log) if where == "gpu" else None
    if parts is not None and parts[1] != parts[2]:
        return Result("refused", difference, f"{parts[1]} of {parts[2]} operations on the GPU")
    right = np.isfinite(difference) and difference <= TOLERANCES[tried.precision]
    return Result("right" if right else "wrong", difference)


def _failure(code: int, log: str) -> Result:
    parsed = parse_refusal(log)
    if parsed is not None:
        return Result("refused", reason=f"by the delegate ({parsed[0][0]})")
    lines = [line for line in log.strip().splitlines() if line.strip()]
    crashed = f"ended by signal {-code}: " if code < -1 else ""
    return Result("failed", reason=crashed + _shortened(lines[-1] if lines else "no reason given"))


def _shortened(text: str) -> str:
    text = " ".join(text.split()).replace("|", "/")
    return text if len(text) <= 90 else text[:87] + "..."
