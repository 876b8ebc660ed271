"""The processors that this process may use."""

from __future__ import annotations

import os
from pathlib import Path

_CPU_INFO = Path("/proc/cpuinfo")


def cores() -> int:
    """How many cores this process may use, which can be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def instruction_sets() -> frozenset[str]:
    """Names of the processor's extensions, such as "avx512_bf16", as Linux on x86 tells them; empty
    where nothing tells them."""
    if not _CPU_INFO.is_file():
        return frozenset()
    for line in _CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "flags":
            return frozenset(value.split())
    return frozenset()
