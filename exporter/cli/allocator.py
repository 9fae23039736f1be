"""glibc's allocator keeps what arrays of one slot took for those of the next, where memory is not tight.

By itself it gives the end of its heap back to the system whenever some hundred kilobytes to a few megabytes of it are
free, and a slot takes and frees that much many times: a fifth of the CPU of an evaluation was spent on pages that had
just been given back.
"""

from __future__ import annotations

import ctypes
import os
import sys

from exporter.evaluation.memory_limits import address_space_limit, memory_limit

__all__ = ["keep_freed_memory"]

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""`M_TRIM_THRESHOLD` and `M_MMAP_THRESHOLD` of glibc's malloc.h."""
_VALUES = {_TRIM_THRESHOLD: 32 * 2**20, _MMAP_THRESHOLD: 16 * 2**20}
"""Bytes; those that it comes to by itself after it freed an array of 16 MiB."""
_NAMES = {_TRIM_THRESHOLD: "MALLOC_TRIM_THRESHOLD_", _MMAP_THRESHOLD: "MALLOC_MMAP_THRESHOLD_"}
_TIGHT = 2**31
"""Bytes of a process below which freed memory is worth more than the time."""


def keep_freed_memory() -> None:
    """Keep freed memory in this process and those that it starts. What the environment says holds."""
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    if not sys.platform.startswith("linux") or "malloc" in tunables or any(map(os.environ.get, _NAMES.values())):
        return
    if address_space_limit() is not None or (memory_limit() or _TIGHT) < _TIGHT:
        return
    # There are other C libraries, which have neither.
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for number, value in _VALUES.items():
            mallopt(number, value)
            os.environ[_NAMES[number]] = str(value)
