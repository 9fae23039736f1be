"""A process that forks children which are killed: imports are paid for once, and no thread is copied."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from types import TracebackType
from typing import Self

from tests.store_values import ROOT

# `child` writes lines to descriptor 1 until it is killed; the nursery says when it started and when it is dead.
NURSERY = """
import os, signal, sys
{imports}

def child(argument):
{body}

for line in sys.stdin:
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        # It must not outlive a test that failed for long.
        signal.alarm(120)
        try:
            child(line.strip())
        except BaseException:
            import traceback
            os.write(1, ("error " + traceback.format_exc().replace(chr(10), "|") + chr(10)).encode())
        # It stays until it is killed: its number must not be free for another process before that.
        os.write(1, b"end\\n")
        while True:
            signal.pause()
    os.write(1, b"pid %d\\n" % pid)
    os.waitpid(pid, 0)
    os.write(1, b"dead\\n")
"""


class Nursery:
    """Starts children of one kind and kills each after a while."""

    def __init__(self, imports: str, body: str) -> None:
        text = NURSERY.format(imports=imports, body=body)
        self._process = subprocess.Popen(
            [sys.executable, "-c", text], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        self._rest = b""

    def run(self, argument: str, delay: float) -> list[str]:
        """Start a child, kill it `delay` seconds after its first line, and return all lines that it wrote.

        A child that is done before that is killed at once.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(f"{argument}\n".encode())
        pid = 0
        until: float | None = None
        lines: list[str] = []
        deadline = time.monotonic() + 60
        while True:
            now = time.monotonic()
            assert now < deadline, "the child does not answer"
            if until is not None and now >= until and pid:
                os.kill(pid, signal.SIGKILL)
                pid = 0
            wait = 60.0 if until is None or not pid else max(0.0, until - now)
            for line in self._read(wait):
                word, _, rest = line.partition(" ")
                if word == "pid":
                    pid = int(rest)
                    continue
                if word == "dead":
                    return lines
                assert word != "error", rest.replace("|", "\n")
                if word == "end":
                    until = 0.0
                    continue
                lines.append(line)
                if until is None:
                    until = time.monotonic() + delay

    def _read(self, wait: float) -> list[str]:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], wait)
        if not ready:
            return []
        data = os.read(self._process.stdout.fileno(), 65536)
        assert data, "the nursery has ended"
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [line.decode() for line in lines]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        if kind is not None:
            self._process.kill()
        self._process.wait(60)
        self._process.stdout.close()
