"""Freed memory is kept where that saves the system's work."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

_COUNT = """
import resource, sys
import numpy as np
from vit_convert.runtime.allocator import keep_freed_memory

if sys.argv[1] == "keep":
    keep_freed_memory()

def use():
    for _ in range(10):
        np.ones(12_000_000, np.float32)  # 48 MB

use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    """Pages that the system had to clear."""
    found = subprocess.run(
        [sys.executable, "-c", _COUNT, how], capture_output=True, text=True, check=True, timeout=120
    )
    return int(found.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library's allocator")
def test_freed_blocks_are_used_again() -> None:
    assert faults("leave") > 100
    assert faults("keep") < 50
