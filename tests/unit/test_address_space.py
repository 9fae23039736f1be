"""The program where `ulimit -v` limits its address space."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

LIMIT = 375 * 2**20
PROGRAM = """
import resource, sys, threading
resource.setrlimit(resource.RLIMIT_AS, ({limit}, {limit}))
from exporter.cli.address_space import save_address_space
if {saves}:
    save_address_space()
import exporter.app
over, threads = threading.Event(), []
for _ in range(14):
    threads.append(threading.Thread(target=lambda: (bytearray(200), over.wait()), daemon=True))
    threads[-1].start()
# As much as an answer of a million rows takes.
bytes(75 * 2**20)
over.set()
print("enough")
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="stacks and arenas are those of Linux")
@pytest.mark.parametrize("saves", [True, False])
def test_threads_and_answers_fit_into_375_mib_of_address_space(saves: bool) -> None:
    names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MALLOC_ARENA_MAX")
    environment = {name: text for name, text in os.environ.items() if name not in names}
    code = PROGRAM.format(limit=LIMIT, saves=saves)
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=120)
    assert (done.stdout == "enough\n") == saves, done.stderr[-500:]
