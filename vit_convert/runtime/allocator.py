"""The allocator of this process's memory."""

from __future__ import annotations

import ctypes
import platform

# parameters of glibc's mallopt, malloc.h; what freed memory it gives back to the system
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_NEVER = 2**31 - 1


def keep_freed_memory() -> None:
    """Keep memory that is freed for what is allocated next, from now on and in the whole process.

    A training step allocates and frees the same large blocks over and over. glibc gives such blocks
    back to the system, which clears every page when it is asked for the next: a tenth of all work
    in a step on two cores. Other C libraries are left as they are.

    Source: mallopt(3), `M_MMAP_THRESHOLD` and `M_TRIM_THRESHOLD`.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    for parameter in (_TRIM_THRESHOLD, _MMAP_THRESHOLD):
        mallopt(parameter, _NEVER)
