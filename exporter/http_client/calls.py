"""A call in a thread beside its caller's: its total deadline, the sockets that it uses, its end from another thread.

Socket timeouts bound one read; a server that sends a byte a second never meets them, and a name server has none. So
the caller waits for the thread until the deadline, shuts the call's sockets down, and leaves the thread to end.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from queue import Empty, SimpleQueue
from typing import TypeVar

from exporter.errors import Reason
from exporter.http_client.errors import Fault

__all__ = ["Call", "Calls", "current_call"]

T = TypeVar("T")

_REST = 75.0
"""Seconds that a thread waits for the next call: longer than between two slots of a query."""
_current: ContextVar[Call] = ContextVar("call")


class Call:
    """State of one call; every attribute may be used from any thread.

    Attributes
    ----------
    reused : bool
        Whether the request under way uses an idle connection and has no response so far.
    """

    def __init__(self) -> None:
        self.reused = False
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._failure: BaseException | None = None
        self._over = threading.Event()

    @property
    def has_failed(self) -> bool:
        """Whether it was ended before its answer was there."""
        return self._failure is not None

    def check(self) -> None:
        """Raise what ended the call, if it has failed or was ended."""
        if self._failure is not None:
            raise self._failure

    def watch(self, sock: socket.socket) -> None:
        """Shut `sock` down when the call ends; raises as `check` where it has ended already."""
        # A duplicate refers to the same connection, and stays valid when TLS takes over the original.
        duplicate = socket.socket(fileno=os.dup(sock.fileno()))
        with self._lock:
            self._sockets.append(duplicate)
            if self._failure is not None:
                _shut_down(duplicate)
        self.check()

    def wait(self, timeout: float) -> None:
        """Wait for the end, at most `timeout` seconds; raises as `check`."""
        if not self._over.wait(timeout):
            self.end(_timeout())
        self.check()

    def end(self, failure: BaseException) -> None:
        """End the call; the first failure stands."""
        with self._lock:
            if self._failure is None:
                self._failure = failure
                for sock in self._sockets:
                    _shut_down(sock)
        self._over.set()

    def release(self) -> None:
        """Release the sockets; their connections return to the pool."""
        with self._lock:
            for sock in self._sockets:
                sock.close()
            self._sockets.clear()
        self._over.set()


_Job = tuple[Call, Callable[[], None]]
_Jobs = SimpleQueue[_Job | None]


class Calls:
    """The calls under way.

    Parameters
    ----------
    idle : int
        Threads that wait for the next call when one is over.
    """

    def __init__(self, idle: int) -> None:
        self._lock = threading.Lock()
        self._active: set[Call] = set()
        self._closed = False
        self._most = idle
        self._idle: list[_Jobs] = []

    def run(self, work: Callable[[], T], timeout: float) -> T:
        """Return what `work` returns, or raise what it raises, within `timeout` seconds.

        Raises
        ------
        Fault
            TIMEOUT, or CONNECTION where the call was cancelled.
        """
        if timeout <= 0:
            raise _timeout()
        call = Call()
        with self._lock:
            if self._closed:
                raise Fault(Reason.CONNECTION, "the client is closed")
            self._active.add(call)
        results: list[T] = []

        def target() -> None:
            _current.set(call)
            try:
                results.append(work())
            except BaseException as error:
                call.end(error)

        try:
            self._start((call, target))
            # A response that was cut off by the end of the call may look complete: the failure decides.
            call.wait(timeout)
        finally:
            with self._lock:
                self._active.discard(call)
        return results[0]

    def end_all(self, *, close: bool = False) -> None:
        """Break off every call under way; with `close`, refuse new ones too."""
        with self._lock:
            self._closed = self._closed or close
            active = list(self._active)
            idle = self._idle if close else []
            self._idle = [] if close else self._idle
        for call in active:
            call.end(Fault(Reason.CONNECTION, "cancelled"))
        for jobs in idle:
            jobs.put(None)

    def _start(self, job: _Job) -> None:
        with self._lock:
            jobs = self._idle.pop() if self._idle else None
        if jobs is not None:
            jobs.put(job)
            return
        try:
            threading.Thread(target=self._work, args=(job,), name="http call", daemon=True).start()
        except RuntimeError:
            raise Fault(Reason.CONNECTION, "no thread could be started") from None

    def _work(self, first: _Job) -> None:
        jobs: _Jobs = SimpleQueue()
        job: _Job | None = first
        del first
        while job is not None:
            call, target = job
            target()
            # Before the caller goes on, so that its next call finds this thread.
            rests = self._rests(jobs, call)
            call.release()
            # A thread that waits must not keep an answer.
            del job, call, target
            job = self._next(jobs) if rests else None

    def _rests(self, jobs: _Jobs, call: Call) -> bool:
        """Let a thread wait for the next call, unless the caller has not waited for it, or others do."""
        with self._lock:
            if call.has_failed or self._closed or len(self._idle) >= self._most:
                return False
            self._idle.append(jobs)
            return True

    def _next(self, jobs: _Jobs) -> _Job | None:
        try:
            return jobs.get(timeout=_REST)
        except Empty:
            with self._lock:
                if jobs in self._idle:
                    self._idle.remove(jobs)
                    return None
            return jobs.get()  # It comes just now.


def current_call() -> Call:
    """Return the call of this thread."""
    return _current.get()


def _timeout() -> Fault:
    return Fault(Reason.TIMEOUT, "no complete answer in time")


def _shut_down(sock: socket.socket) -> None:
    # It may not be connected yet, or not any more.
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
