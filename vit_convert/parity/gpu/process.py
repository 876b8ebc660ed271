"""Starting the process that runs .tflite files on the GPU, and talking to it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vit_convert.errors import MissingDependencyError
from vit_convert.runtime.worker_process import Worker, WorkerError

VARIABLE = "VK_ICD_FILENAMES"
_DRIVER = "vk_swiftshader_icd.json"
# Where browsers that carry the driver keep it: Debian and Ubuntu, Fedora, Google Chrome
_FOLDERS = (
    "/usr/lib/chromium",
    "/usr/lib/chromium-browser",
    "/usr/lib64/chromium-browser",
    "/opt/google/chrome",
)
_ADAPTER = re.compile(r"Selected adapter: (.+)")
_NO_ADAPTER = re.compile(r"No (?:supported )?adapters|Failed to initialize WebGPU environment")
_FATAL = re.compile(r"^F\d{4} .*?\] (.+)$", re.MULTILINE)
_NO_VULKAN = re.compile(r"Couldn't load Vulkan: .+")


class GpuError(WorkerError):
    """The accelerator did not do what it was asked; `reason` is the most telling line of what
    there is."""

    def __init__(self, message: str, log: str, crashed: bool) -> None:
        super().__init__(message, log, crashed)
        fatal = _FATAL.search(log)
        self.reason = fatal[1] if fatal else str(self).lstrip("└ ")


class GpuProcess(Worker):
    """A process with the GPU accelerator, and the log of what native code says there.

    Args:
        environment: the process's environment variables.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment
        super().__init__("vit_convert.parity.gpu.worker", environment)

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
        shape: tuple[int, ...] = self.ask("compile", str(path))
        return shape

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """The outputs of what was compiled, by name, for one batch of its size.

        Raises:
            GpuError: it failed while running.
        """
        outputs: dict[str, np.ndarray] = self.ask("run", images)
        return outputs

    def ask(self, verb: str, argument: Any = None, seconds: float | None = None) -> Any:
        """As any worker; the errors are those of `compile` and `run`."""
        try:
            return super().ask(verb, argument, seconds)
        except WorkerError as error:
            if _NO_ADAPTER.search(error.log):
                raise no_adapter(error.log) from error
            raise GpuError(error.message, error.log, error.crashed) from error


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
    """The error for a machine without a GPU. It says how to install a software driver."""
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
