"""Starting the process that runs .tflite files on the GPU, and talking to it."""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from vit_convert.errors import MissingDependencyError

VARIABLE = "VK_ICD_FILENAMES"
_DRIVER = "vk_swiftshader_icd.json"
# Where browsers that carry the driver keep it: Debian and Ubuntu, Fedora, Google Chrome
_FOLDERS = (
    "/usr/lib/chromium",
    "/usr/lib/chromium-browser",
    "/usr/lib64/chromium-browser",
    "/opt/google/chrome",
)
_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from vit_convert.parity.gpu_worker import main; main()"
)
_ADAPTER = re.compile(r"Selected adapter: (.+)")
_NO_ADAPTER = re.compile(r"No (?:supported )?adapters|Failed to initialize WebGPU environment")
_FATAL = re.compile(r"^F\d{4} .*?\] (.+)$", re.MULTILINE)
_NO_VULKAN = re.compile(r"Couldn't load Vulkan: .+")


class GpuError(Exception):
    """The accelerator did not do what it was asked.

    Attributes:
        log: what native code said meanwhile.
        crashed: whether its process ended.
        reason: the most telling line of what there is.
    """

    def __init__(self, message: str, log: str, crashed: bool) -> None:
        fatal = _FATAL.search(log)
        lines = (message or log).strip().splitlines()
        self.log = log
        self.crashed = crashed
        self.reason = fatal[1] if fatal else lines[-1].lstrip("└ ") if lines else "no reason given"
        super().__init__(self.reason)


class GpuProcess:
    """A process with the GPU accelerator, and the log of what native code says there.

    Args:
        environment: the process's environment variables.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment
        # In append mode, because the process shares the position in the file.
        self._log = tempfile.TemporaryFile("a+b")  # noqa: SIM115 - `close` closes it
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-c", _BOOT, json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=dict(environment),
        )

    def __enter__(self) -> GpuProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):  # it ended before it had read everything
                pipe.close()
        self._process.wait()
        self._log.close()

    @property
    def log(self) -> str:
        """All that native code said so far."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    @property
    def adapter(self) -> str:
        """The GPU by the name that its driver gives it; "" where the log does not say."""
        found = _ADAPTER.search(self.log)
        return found[1].strip() if found else ""

    def compile(self, path: Path) -> tuple[int, ...]:
        """Compile a .tflite file; the shape of its input.

        Raises:
            GpuError: an operation is refused, or the process ended.
            MissingDependencyError: there is no GPU, or no accelerator in this ai-edge-litert.
        """
        shape: tuple[int, ...] = self._ask("compile", str(path))
        return shape

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """The outputs of what was compiled, by name, for one batch of its size.

        Raises:
            GpuError: it failed while running.
        """
        outputs: dict[str, np.ndarray] = self._ask("run", images)
        return outputs

    def _ask(self, verb: str, argument: Any) -> Any:
        before = len(self.log)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            pickle.dump((verb, argument), self._process.stdin)
            self._process.stdin.flush()
            status, value = pickle.load(self._process.stdout)
        except (EOFError, BrokenPipeError):
            status, value = "ended", ""
        said = self.log[before:]
        if status == "done":
            return value
        if status == "missing":
            raise MissingDependencyError(
                f"ai-edge-litert offers no GPU accelerator: {value}",
                where="--delegate gpu",
                expected="a version whose CompiledModel takes Options",
                hint="pip install 'ai-edge-litert>=2.2'",
            )
        if _NO_ADAPTER.search(said):
            raise no_adapter(said)
        raise GpuError(value, said, crashed=status == "ended")


def software_drivers() -> list[str]:
    """The SwiftShader drivers of installed browsers."""
    drivers = (Path(folder, _DRIVER) for folder in _FOLDERS)
    return [str(driver) for driver in drivers if driver.exists()]


def environments() -> list[dict[str, str]]:
    """Environments to try in turn: as it is, and then with the SwiftShader driver of a browser,
    unless the user chose a driver. A real GPU is so preferred to SwiftShader."""
    own = dict(os.environ)
    if VARIABLE in own or "VK_DRIVER_FILES" in own:
        return [own]
    return [own, *({**own, VARIABLE: driver} for driver in software_drivers())]


def no_adapter(log: str) -> MissingDependencyError:
    """The error where there is no GPU: says how to get one made of software."""
    chosen = os.environ.get(VARIABLE)
    reason = _NO_VULKAN.search(log)
    parts = [
        "there is no GPU adapter",
        f" ({reason[0].rstrip('.')})" if reason else "",
        "" if chosen is None else f"; {VARIABLE} is {chosen!r}",
    ]
    return MissingDependencyError(
        "".join(parts),
        where="--delegate gpu",
        expected="a GPU with a Vulkan driver, or SwiftShader, a driver that needs no GPU",
        hint=(
            f"apt-get install chromium, which carries SwiftShader; it is found in {_FOLDERS[0]}, "
            f"or wherever {VARIABLE} points: `export {VARIABLE}="
            "$(dpkg -L chromium-common chromium | grep swiftshader_icd)`"
        ),
    )
