"""The process in which one artifact is timed; benchmarking.py starts it."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from vit_convert.exporters import artifact_size, target_of
from vit_convert.exporters.artifact import Inference
from vit_convert.runtime.worker_process import serve

_WARM_UP = 3  # the first inference prepares memory, a TensorFlow function is traced in it


class Timer:
    """One artifact, and how long its inferences take."""

    def __init__(self) -> None:
        self._inference: Inference | None = None

    def prepare(self, argument: tuple[str, int]) -> dict[str, Any]:
        """(path, threads) -> what is known of the artifact: fields of `Benchmark`.

        Raises:
            ArtifactError: it cannot be opened.
        """
        path, threads = Path(argument[0]), argument[1]
        target = target_of(path)
        self._inference = target.prepare(path, threads)
        for _ in range(_WARM_UP):
            self._inference.run()
        return {
            "kind": target.name,
            "size": artifact_size(path),
            "batch": self._inference.batch,
            "operations": self._inference.operations,
            "delegated": self._inference.delegated,
        }

    def time(self, count: int) -> list[float]:
        """Seconds of `count` inferences. One more goes before them, because another process has
        used the processor's caches meanwhile."""
        assert self._inference is not None
        self._inference.run()
        seconds = []
        for _ in range(count):
            started = time.perf_counter()
            self._inference.run()
            seconds.append(time.perf_counter() - started)
        return seconds

    def peak_memory(self, _argument: None) -> int:
        """Of this process so far, in bytes."""
        try:
            status = Path("/proc/self/status").read_text()
        except OSError:
            import resource  # not on Windows

            # In bytes on macOS, in kilobytes elsewhere
            scale = 1 if sys.platform == "darwin" else 1024
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale
        # On Linux, getrusage gives at least what the process that started this one had then.
        (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024


def main() -> None:
    """Answer requests until there are none."""
    serve(Timer)
