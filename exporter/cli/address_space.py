"""A process whose address space is limited, by `ulimit -v` or systemd's `LimitAS=`, reserves less of it."""

from __future__ import annotations

import ctypes
import os
import sys
import threading

from exporter.evaluation.memory_limits import address_space_limit

__all__ = ["save_address_space"]

_STACK = 2 * 2**20
"""Bytes of a thread's stack, of which 8 MiB are reserved otherwise."""
_ARENAS = 2
"""Arenas of the allocator, each of which reserves 64 MiB; otherwise up to eight for each core."""
_ARENA_MAX = -8
"""`M_ARENA_MAX` of glibc's malloc.h."""
_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")
"""Variables of numerical libraries, which reserve up to 64 MiB for a thread of each core when they are loaded."""


def save_address_space() -> None:
    """Reserve less, if there is a limit; call it before numpy is imported. What the environment says holds."""
    if address_space_limit() is None:
        return
    for name in _THREADS:
        os.environ.setdefault(name, "1")
    if not sys.platform.startswith("linux"):
        return
    threading.stack_size(_STACK)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None and "MALLOC_ARENA_MAX" not in os.environ:
        mallopt(_ARENA_MAX, _ARENAS)
