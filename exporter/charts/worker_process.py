"""A worker process for work that would make scoring wait: it has an interpreter lock of its own.

It starts with the first call, has a low priority, and ends when it is idle for ten minutes, or when the program is gone
for whatever reason: then its pipe ends.
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

from exporter.charts.chart import DisplayError

__all__ = ["WorkerProcess", "main"]

P = ParamSpec("P")
T = TypeVar("T")

_TIMEOUT = 60.0
"""Seconds that a call may take."""
_IDLE = 600.0
"""Seconds without a call after which the process ends and gives its memory back."""
_NICE = 5


class WorkerProcess:
    """Runs module-level functions in a process of its own, one at a time. Safe for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False
        self._requests: Connection
        self._results: Connection

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        process = self._process
        return process is not None and process.poll() is None

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function in the process and return its result; arguments and result are copied.

        Raises
        ------
        Unshowable
            It took too long, or the process cannot be started.
        Exception
            What the function raised.
        """
        with self._lock:
            # The process may have ended in between: it was idle, or the system needed its memory.
            for attempt in (1, 2):
                try:
                    self._start()
                    self._requests.send((function, args, kwargs))
                    if not self._results.poll(_TIMEOUT):
                        self._stop()
                        raise DisplayError("drawing takes too long and was given up", 503)
                    succeeded, result = self._results.recv()
                    break
                except (EOFError, OSError) as fault:
                    self._stop()
                    if attempt == 2:
                        raise DisplayError(f"the process that draws ended: {fault!r}", 503) from fault
        if not succeeded:
            raise cast("Exception", result)
        return cast("T", result)

    def close(self) -> None:
        """End the process; work under way is given up."""
        self._closed = True
        process = self._process
        if process is not None:
            process.kill()
        with self._lock:
            self._stop()

    def _start(self) -> None:
        if self._closed:
            raise DisplayError("the exporter is stopping", 503)
        if self.running:
            return
        self._stop()
        child_input, requests = os.pipe()
        results, child_output = os.pipe()
        # Its results and errors come through the pipe; standard error is that of the program.
        command = [
            sys.executable,
            "-W",
            "ignore",
            "-m",
            "exporter.charts.worker_process",
            str(child_input),
            str(child_output),
        ]
        # Threads of BLAS would only cost time: the arrays are small.
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
        try:
            # A session of its own: Ctrl-C in a terminal is for the program, and it ends this one.
            self._process = subprocess.Popen(  # noqa: S603 - our own command.
                command,
                pass_fds=(child_input, child_output),
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env=environment,
            )
        finally:
            os.close(child_input)
            os.close(child_output)
            self._requests, self._results = Connection(requests, readable=False), Connection(results, writable=False)

    def _stop(self) -> None:
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        self._process = None
        for connection in (self._requests, self._results):
            with contextlib.suppress(OSError):
                connection.close()


def main(requests: int, results: int) -> None:
    """Serve calls until idle, or until the program is gone. Run in the process."""
    with contextlib.suppress(OSError):  # A host may forbid even that.
        os.nice(_NICE)
    incoming, outgoing = Connection(requests, writable=False), Connection(results, readable=False)
    while incoming.poll(_IDLE):
        try:
            function, args, kwargs = incoming.recv()
        except EOFError:
            return
        try:
            result = True, function(*args, **kwargs)
        except Exception as fault:
            result = False, fault
        try:
            outgoing.send(result)
        except BrokenPipeError:
            return


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
