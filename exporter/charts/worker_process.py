"""A process beside the program, for work that would make scoring wait: it has an interpreter lock of its own.

It starts with the first work, yields to everything else on the machine, and ends when nobody has asked for a while, or
when the program is gone, however it went: then its pipe ends.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import ParamSpec, TypeVar, cast

from exporter.charts.chart import Unshowable

__all__ = ["WorkerProcess", "main"]

P = ParamSpec("P")
T = TypeVar("T")

_PATIENCE = 60.0
"""Seconds that one work may take."""
_IDLE = 600.0
"""Seconds without work after which the process ends and gives its memory back."""
_NICE = 5


class WorkerProcess:
    """Runs functions of modules in a process of its own, one at a time. Safe for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False
        self._ask: Connection
        self._answer: Connection

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        process = self._process
        return process is not None and process.poll() is None

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function there and return what it returns; arguments and result are copied.

        Raises
        ------
        Unshowable
            It took too long, or the process cannot be started.
        Exception
            What the function raised.
        """
        with self._lock:
            # The process may have ended in between: for want of work, or because the system wanted its memory.
            for attempt in (1, 2):
                try:
                    self._begin()
                    self._ask.send((function, args, kwargs))
                    if not self._answer.poll(_PATIENCE):
                        self._end()
                        raise Unshowable("drawing takes too long and was given up", 503)
                    good, result = self._answer.recv()
                    break
                except (EOFError, OSError) as fault:
                    self._end()
                    if attempt == 2:
                        raise Unshowable(f"the process that draws ended: {fault!r}", 503) from fault
        if not good:
            raise cast("Exception", result)
        return cast("T", result)

    def close(self) -> None:
        """End the process; work under way is given up."""
        self._closed = True
        process = self._process
        if process is not None:
            process.kill()
        with self._lock:
            self._end()

    def _begin(self) -> None:
        if self._closed:
            raise Unshowable("the exporter is stopping", 503)
        if self.running:
            return
        self._end()
        theirs, ask = os.pipe()
        answer, ours = os.pipe()
        # What it has to say it answers; standard error is for the log.
        command = [sys.executable, "-W", "ignore", "-m", "exporter.charts.worker_process", str(theirs), str(ours)]
        # Threads of its own would only be waited for: its arrays are small.
        surroundings = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
        try:
            # A session of its own: Ctrl-C in a terminal is for the program, and it ends this one.
            self._process = subprocess.Popen(  # noqa: S603 - our own words.
                command, pass_fds=(theirs, ours), stdin=subprocess.DEVNULL, start_new_session=True, env=surroundings
            )
        finally:
            os.close(theirs)
            os.close(ours)
            self._ask, self._answer = Connection(ask, readable=False), Connection(answer, writable=False)

    def _end(self) -> None:
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        self._process = None
        for connection in (self._ask, self._answer):
            with contextlib.suppress(OSError):
                connection.close()


def main(ask: int, answer: int) -> None:
    """Work until there is nothing to do, or nobody to do it for."""
    with contextlib.suppress(OSError):  # A host may forbid even that.
        os.nice(_NICE)
    asked, answers = Connection(ask, writable=False), Connection(answer, readable=False)
    while asked.poll(_IDLE):
        try:
            function, args, kwargs = asked.recv()
        except EOFError:
            return
        try:
            result = True, function(*args, **kwargs)
        except Exception as fault:
            result = False, fault
        try:
            answers.send(result)
        except BrokenPipeError:
            return


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
