"""What `scripts/bench_peers` measures, one cell at a time, remembered in a file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar, get_args

import numpy as np
from peers.environments import TAKE_TRANSFORMERS, python_of
from peers.published import MODELS

from vit_convert.exporters.options import Precision
from vit_convert.exporters.tflite.graph_reader import TfliteGraph
from vit_convert.inference.benchmark import benchmark
from vit_convert.parity.compare import compare
from vit_convert.parity.gpu.delegate import compiled, parse_refusal
from vit_convert.parity.gpu.process import GpuError

OURS = "vit-convert"
PRECISIONS = ("float32", "int8-dynamic")
_PEAK = (
    "import numpy, time; a = numpy.ones((2048, 2048), 'f'); b = a.copy()\n"
    "def once():\n"
    "    t = time.perf_counter(); a @ b; return time.perf_counter() - t\n"
    "print(2 * 2048**3 / min(once() for _ in range(30)) / 1e9)"
)
_Value = TypeVar("_Value")


class FailedError(Exception):
    """A command failed; the message is the last line that it wrote."""


def run(command: Sequence[str | Path], **environment: str) -> dict[str, float]:
    """Wall time in seconds and peak memory in bytes of a process.

    Raises:
        FailedError: it exits with anything but 0.
    """
    started = time.perf_counter()
    child = subprocess.Popen(
        [str(part) for part in command],
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert child.stdout is not None
    said = child.stdout.read().decode(errors="replace").strip().splitlines()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if status:
        raise FailedError(said[-1][:160] if said else f"exit code {child.returncode}")
    return {"seconds": time.perf_counter() - started, "peak": 1024 * usage.ru_maxrss}


def peak_gflops() -> float:
    """Of NumPy's float32 matrix product, in a process of its own."""
    done = subprocess.run([sys.executable, "-c", _PEAK], capture_output=True, check=True)
    return float(done.stdout)


def matrix_flops(path: Path) -> float:
    """Floating point operations of one inference in matrix products and convolutions."""
    graph = TfliteGraph(path)
    total = 0.0
    for operation, node in zip(graph.operations, graph.main.operators, strict=True):
        result = np.prod(graph.main.tensors[node.outputs[0]].shape)
        shapes = [graph.main.tensors[i].shape for i in node.inputs[:2]]
        if operation.name in ("FULLY_CONNECTED", "CONV_2D"):
            total += 2 * result * np.prod(shapes[1][1:])
        elif operation.name == "BATCH_MATMUL":
            total += 2 * result * shapes[0][-2 if node.builtinOptions.adjX else -1]
    return total


class Bench:
    """The files and figures of a run.

    Args:
        work: where checkpoints, .tflite files and figures are kept.
        venvs: where the peers' environments are.
        peers: their names.
        root: the repository.
    """

    def __init__(self, work: Path, venvs: Path, peers: list[str], root: Path) -> None:
        self.work, self.venvs, self.peers, self.root = work, venvs, peers, root
        self._file = work / "figures.json"
        work.mkdir(parents=True, exist_ok=True)
        self._figures = json.loads(self._file.read_text()) if self._file.exists() else {}

    def remembered(self, key: str, measure: Callable[[], _Value]) -> _Value:
        """A figure: that of an earlier call, or else a new one."""
        if key not in self._figures:
            print(f"measuring {key}", file=sys.stderr, flush=True)
            self._keep(key, measure())
        return self._figures[key]  # type: ignore[no-any-return]  # JSON

    def peak(self) -> float:
        """Of this machine, in GFLOP/s: the largest that any call found, as others may use it."""
        best = max(peak_gflops(), self._figures.get("peak", 0.0))
        self._keep("peak", best)
        return best

    def _keep(self, key: str, value: Any) -> None:
        self._figures[key] = value
        self._file.write_text(json.dumps(self._figures, indent=1))

    def results(self, model: str) -> dict[str, dict[str, Any]]:
        """Tool -> cell -> figure."""
        tools = (OURS, *self.peers)
        return {
            tool: {
                key.rsplit("/", 1)[1]: value
                for key, value in self._figures.items()
                if key.startswith(f"{model}/{tool}/")
            }
            for tool in tools
        }

    def checkpoint(self, model: str) -> Path:
        """Where its checkpoint is: a folder, where it is a model of transformers."""
        return self.work / (model if model in MODELS else f"{model}.pth")

    def peers_of(self, model: str) -> list[str]:
        """The peers that convert a model."""
        return [peer for peer in self.peers if model not in MODELS or peer in TAKE_TRANSFORMERS]

    def path(self, model: str, tool: str, precision: str) -> Path:
        """Where a tool's file of a model is."""
        return self.work / tool / f"{model}_{precision}.tflite"

    def convert(self, model: str, repeats: int) -> None:
        """Make all files of a model, tools in turn."""
        checkpoint, reference = self.checkpoint(model), self.work / f"{model}.npz"
        if not reference.exists():
            run([sys.executable, self._script("checkpoint"), model, checkpoint, reference])
        steps: dict[str, Callable[[], Any]] = {
            f"{OURS}/to_h5": lambda: self._ours(model, "torch2keras"),
            f"{OURS}/convert": lambda: self._ours(model, "export"),
        }
        for peer in self.peers_of(model):
            steps[f"{peer}/convert"] = lambda peer=peer: self._theirs(model, peer)
        for _ in range(repeats):
            for step, measure in steps.items():
                key = f"{model}/{step}"
                known = self._figures.get(key, {"runs": []})
                if len(known["runs"]) < repeats and "failed" not in known:
                    print(f"converting {key}", file=sys.stderr, flush=True)
                    try:
                        self._keep(key, {"runs": [*known["runs"], measure()]})
                    except FailedError as problem:
                        self._keep(key, {"runs": [], "failed": str(problem)})
        for tool in (OURS, *self.peers):
            if self.path(model, tool, "float32").exists():
                self.remembered(f"{model}/{tool}/quantise", lambda t=tool: self._quantise(model, t))
            for precision in PRECISIONS:
                path = self.path(model, tool, precision)
                if path.exists():
                    self._keep(f"{model}/{tool}/size {precision}", path.stat().st_size)

    def _script(self, name: str) -> Path:
        return self.root / "scripts" / "peers" / f"{name}.py"

    def _ours(self, model: str, command: str) -> dict[str, float]:
        h5 = self.work / f"{model}.h5"
        folder = self.path(model, OURS, "").parent
        folder.mkdir(exist_ok=True)
        arguments = ["export", h5, "--tflite", "-o", folder, *self._output(model)]
        if command == "torch2keras":
            arguments = ["torch2keras", self.checkpoint(model), "-o", h5]
        return run(
            [sys.executable, "-m", "vit_convert", *arguments, "--force"],
            PYTHONPATH=str(self.root),
        )

    def _output(self, model: str) -> list[str | Path]:
        """The option of `export` for what is compared."""
        output = MODELS[model].output if model in MODELS else ""
        return ["--output", output] if output else []

    def _theirs(self, model: str, peer: str) -> dict[str, float]:
        path = self.path(model, peer, "float32")
        path.parent.mkdir(exist_ok=True)
        script = self._script(peer.replace("-", "_"))
        python = python_of(peer, self.venvs)
        return run([python, script, self.root, model, self.checkpoint(model), path])

    def _quantise(self, model: str, tool: str) -> str:
        """ "", or how it failed."""
        source, output = (self.path(model, tool, p) for p in PRECISIONS)
        try:
            if tool == OURS and "int8-dynamic" in get_args(Precision):
                command = [sys.executable, "-m", "vit_convert", "export"]
                options = ["--tflite", "--precision", "int8-dynamic", "-o", output.parent]
                options += self._output(model)
                run(
                    [*command, self.work / f"{model}.h5", *options, "--force"],
                    PYTHONPATH=str(self.root),
                )
            else:
                python = python_of("litert-torch", self.venvs)
                run([python, self._script("quantise"), source, output])
        except FailedError as problem:
            return str(problem)
        return ""

    def time(self, model: str, runs: int) -> None:
        """Latency of all files of a model, interleaved."""
        for precision in PRECISIONS:
            tools = [t for t in (OURS, *self.peers) if self._runs(model, t, precision)]
            key = f"latency {precision}"
            if all(f"{model}/{tool}/{key}" in self._figures for tool in tools):
                continue
            print(f"timing {model} {precision}", file=sys.stderr, flush=True)
            paths = [self.path(model, tool, precision) for tool in tools]
            for tool, result in zip(tools, benchmark(paths, runs=runs), strict=True):
                figures = {
                    "median": result.median,
                    "minimum": result.minimum,
                    "to_ours": result.ratio,
                }
                self._keep(f"{model}/{tool}/{key}", figures)

    def _runs(self, model: str, tool: str, precision: str) -> bool:
        """Whether LiteRT takes the file; remembers its parity on the CPU."""
        path = self.path(model, tool, precision)
        if not path.exists():
            return False

        def parity() -> dict[str, Any]:
            from ai_edge_litert.interpreter import Interpreter

            try:
                interpreter = Interpreter(str(path), num_threads=os.cpu_count())
                interpreter.allocate_tensors()
            except (RuntimeError, ValueError) as problem:
                return {"failed": str(problem).strip().splitlines()[0][:160]}
            (entrance,) = interpreter.get_input_details()
            (result,) = interpreter.get_output_details()

            def once(image: np.ndarray) -> np.ndarray:
                interpreter.set_tensor(entrance["index"], image)
                interpreter.invoke()
                return interpreter.get_tensor(result["index"]).copy()  # type: ignore[no-any-return]  # NumPy's

            return {"relative": self._relative(model, once, tuple(entrance["shape"]))}

        return "failed" not in self.remembered(f"{model}/{tool}/cpu {precision}", parity)

    def _relative(
        self, model: str, once: Callable[[np.ndarray], np.ndarray], shape: tuple[int, ...]
    ) -> float:
        """|difference| / max |output| to the source, of a function of images of that shape."""
        with np.load(self.work / f"{model}.npz") as file:
            images, outputs = file["images"], file["outputs"]
        if shape[1] == 3:
            images = images.transpose(0, 3, 1, 2)
        got = np.concatenate([once(np.ascontiguousarray(image[None])) for image in images])
        return compare(outputs, got, tolerance=1.0).relative

    def check(self, model: str) -> None:
        """Operations and parity on the GPU, and how much there is to compute."""
        for tool in (OURS, *self.peers):
            if self._runs(model, tool, "float32"):
                path = self.path(model, tool, "float32")
                self.remembered(f"{model}/{tool}/flops", lambda p=path: matrix_flops(p))
                self.remembered(f"{model}/{tool}/gpu", lambda t=tool: self._gpu(model, t))

    def _gpu(self, model: str, tool: str) -> dict[str, Any]:
        path = self.path(model, tool, "float32")
        graph = TfliteGraph(path)
        count, shape = len(graph.operations), tuple(graph.main.tensors[graph.main.inputs[0]].shape)
        with ExitStack() as stack:
            process, _, failure = compiled(path, stack)
            if failure is None:

                def once(image: np.ndarray) -> np.ndarray:
                    return next(iter(process.run(image).values()))

                found: dict[str, Any] = {"operations": count, "on_gpu": count}
                try:
                    return found | {"relative": self._relative(model, once, shape)}
                except GpuError as error:  # it takes the graph, and fails when it runs
                    return found | {"refused": error.reason}
            parsed = parse_refusal(failure.log)
            if parsed is None:
                return {"operations": count, "on_gpu": 0, "refused": failure.reason}
            refused, taken, all_ = parsed
            return {"operations": all_, "on_gpu": taken, "refused": refused[0]}
