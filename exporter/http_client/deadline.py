"""One call: its total deadline, the sockets it uses, and how to end it from another thread.

Socket timeouts bound one read; a server that sends a byte a second never meets them. So a timer shuts the
call's sockets down at the deadline, whatever the call is doing: connecting, shaking hands, sending, reading
headers or reading the body.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from exporter.errors import Reason
from exporter.http_client.errors import Fault

__all__ = ["Call", "Calls", "start"]


class Call:
    """One request with everything it needs: name resolution, redirects, a retry.

    Parameters
    ----------
    seconds : float
        From now until `remaining` raises.
    """

    def __init__(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds
        self._lock = threading.Lock()
        self._handles: list[socket.socket] = []
        self._why: Fault | None = None
        self.woken = threading.Event()
        self.connected = False
        """Whether this call opened a connection, instead of finding one in the pool."""

    def check(self) -> None:
        """Raise the `Fault` that ended this call, if one did."""
        if self._why is not None:
            raise Fault(self._why.reason, self._why.message)

    def remaining(self) -> float:
        """Return the seconds left, more than 0, or raise the `Fault` that ended the call."""
        self.check()
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise _too_late()
        return left

    def watch(self, sock: socket.socket) -> None:
        """End with this call what `sock` does; close it as you like."""
        # A duplicate refers to the same connection and outlives what TLS does to the original object.
        handle = socket.socket(fileno=os.dup(sock.fileno()))
        with self._lock:
            if self._why is None:
                self._handles.append(handle)
                return
        _shut(handle)
        handle.close()
        self.check()

    def expire(self) -> None:
        """End the call because its time is up."""
        self.end(_too_late())

    def end(self, why: Fault) -> None:
        """Break off whatever the call is doing; the first reason given stands."""
        with self._lock:
            if self._why is None:
                self._why = why
                for handle in self._handles:
                    _shut(handle)
        self.woken.set()

    def release(self) -> None:
        """Let go of the sockets; the connections live on in the pool."""
        with self._lock:
            for handle in self._handles:
                handle.close()
            self._handles.clear()


class Calls:
    """The calls under way, and which one this thread is in."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._live: set[Call] = set()
        self._here = threading.local()
        self._closed = False

    @property
    def current(self) -> Call:
        """The call of this thread."""
        call: Call = self._here.call
        return call

    @contextmanager
    def begin(self, seconds: float) -> Iterator[Call]:
        """Make this thread's next requests one call of at most `seconds`."""
        if seconds <= 0:
            raise _too_late()
        call = Call(seconds)
        timer = threading.Timer(seconds, call.expire)
        timer.daemon = True
        with self._lock:
            if self._closed:
                raise Fault(Reason.CONNECTION, "the client is closed")
            self._live.add(call)
        self._here.call = call
        try:
            start(timer)
            yield call
            # An answer that was cut off by the end of the call may look complete.
            call.check()
        finally:
            timer.cancel()
            with self._lock:
                self._live.discard(call)
            call.release()

    def end_all(self, *, close: bool = False) -> None:
        """Break off every call under way; with `close`, refuse new ones too."""
        with self._lock:
            self._closed = self._closed or close
            live = list(self._live)
        for call in live:
            call.end(Fault(Reason.CONNECTION, "cancelled"))


def start(thread: threading.Thread) -> None:
    """Start a thread, or raise a `Fault` where the system allows no more of them."""
    try:
        thread.start()
    except RuntimeError:
        raise Fault(Reason.CONNECTION, "no thread could be started") from None


def _too_late() -> Fault:
    return Fault(Reason.TIMEOUT, "no complete answer in time")


def _shut(handle: socket.socket) -> None:
    # Not connected yet, or already gone: then there is nothing to break off.
    with suppress(OSError):
        handle.shutdown(socket.SHUT_RDWR)
