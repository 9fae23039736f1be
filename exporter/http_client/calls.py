"""One call in a thread of its own: its total deadline, the sockets that it uses, and its end from another thread.

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
from typing import TypeVar

from exporter.errors import Reason
from exporter.http_client.errors import Fault

__all__ = ["Call", "Calls", "current_call"]

T = TypeVar("T")

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


class Calls:
    """The calls under way."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._active: set[Call] = set()
        self._closed = False

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
            finally:
                call.release()

        try:
            _start(target)
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
        for call in active:
            call.end(Fault(Reason.CONNECTION, "cancelled"))


def current_call() -> Call:
    """Return the call of this thread."""
    return _current.get()


def _start(target: Callable[[], None]) -> None:
    try:
        threading.Thread(target=target, name="http call", daemon=True).start()
    except RuntimeError:
        raise Fault(Reason.CONNECTION, "no thread could be started") from None


def _timeout() -> Fault:
    return Fault(Reason.TIMEOUT, "no complete answer in time")


def _shut_down(sock: socket.socket) -> None:
    # It may not be connected yet, or not any more.
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
