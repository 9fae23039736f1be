"""Memory that a slot frees is there for the next one."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = """
import resource
from exporter.cli.allocator import keep_freed_memory
{before}
keep_freed_memory()
for _ in range(8):
    bytes(3 * 2**20)
first = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(60):
    b"".join([bytes(3 * 2**20), b"1"])
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - first)
"""
NAMES = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


def faults(before: str = "", **more: str) -> int:
    """Return how many pages a process was given while it took and freed the same memory again and again."""
    environment = {name: text for name, text in os.environ.items() if name not in NAMES} | more
    command = [sys.executable, "-c", PROGRAM.format(before=before)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True, timeout=120)
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the allocator is that of Linux")
def test_freed_memory_is_kept_unless_it_is_tight_or_the_environment_says_otherwise() -> None:
    kept = faults()
    limit = "resource.setrlimit(resource.RLIMIT_AS, (2**33, 2**33))"
    given_back = [
        faults(limit),
        faults(MALLOC_TRIM_THRESHOLD_="131072"),
        faults(GLIBC_TUNABLES="glibc.malloc.mmap_threshold=131072"),
    ]
    assert kept < min(given_back) / 10, (kept, given_back)
    group = "import exporter.cli.allocator as it; it.memory_limit = lambda: {}"
    assert faults(group.format(2**30)) > 10 * kept
    assert faults(group.format(2**32)) < 10 * kept
