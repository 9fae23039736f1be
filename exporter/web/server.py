"""The HTTP server: a thread with an event loop of its own.

It accepts connections itself, without asyncio's server, for three reasons: connections are counted before their TLS
handshake, certificates change without a restart, and when there are too many connections, the oldest without a
running request is closed, so that a scrape gets through a flood.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import os
import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from aiohttp import web

from exporter.errors import ExporterError, UsageError
from exporter.web.connection import Connection, Limits
from exporter.web.guard import guard, header_hook
from exporter.web.web_config import WebConfigFile

__all__ = ["WebServer", "is_loopback", "listen"]

log = logging.getLogger(__name__)

_BACKLOG = 512
_RETRY = 0.2
"""Seconds to the next attempt when the system has no descriptors or memory, and no connection can be closed."""
_CLOSING = 0.01
"""Seconds that a closed connection takes to be gone."""
# In the words of Prometheus, so that a search finds the answer.
_NOT_TLS = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"


class WebServer:
    """Serves an application within limits; see `exporter.web.routes.build_app`.

    Parameters
    ----------
    app : web.Application
        The routes. The server adds authentication, limits and headers.
    listen_address : str
        See `listen`.
    web_config : WebConfigFile, optional
        TLS, users and headers.
    host : str
        Name under which people know it, of ``--web.external-url``.
    """

    def __init__(
        self,
        app: web.Application,
        listen_address: str,
        web_config: WebConfigFile | None = None,
        *,
        limits: Limits = Limits(),  # noqa: B008 - frozen.
        host: str = "",
    ) -> None:
        self._app = app
        self._listen_address = listen_address
        self._web_config = web_config or WebConfigFile(None)
        self._limits = limits
        self._host = host
        self._open: dict[Connection, asyncio.Task[None]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._stop_timeout = 0.0
        self._thread: threading.Thread | None = None
        self._bcrypt = ThreadPoolExecutor(1, thread_name_prefix="web-bcrypt")
        self.refused = 0
        """Connections refused or closed because there were too many."""

    @property
    def connections(self) -> int:
        """Number of open connections."""
        return len(self._open)

    @property
    def alive(self) -> bool:
        """Whether the server runs."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> int:
        """Listen and serve; returns the port.

        Raises
        ------
        ExporterError
            The address cannot be listened on, or the server did not come up.
        """
        listener = listen(self._listen_address)
        started = threading.Event()
        self._thread = threading.Thread(
            target=asyncio.run, args=(self._serve(listener, started),), name="web", daemon=True
        )
        self._thread.start()
        while not started.wait(0.1):
            if not self._thread.is_alive():
                listener.close()
                raise ExporterError("the web server did not start")
        port: int = listener.getsockname()[1]
        return port

    def stop(self, timeout: float = 5.0) -> None:
        """Stop listening, wait up to `timeout` seconds for running requests, close the rest."""
        thread, loop, stopping = self._thread, self._loop, self._stopping
        if thread is None or loop is None or stopping is None or not thread.is_alive():
            return
        self._stop_timeout = timeout
        loop.call_soon_threadsafe(stopping.set)
        # Twice: a client that is being answered, then whatever aiohttp still has to end.
        thread.join(2 * timeout + 1)

    async def _serve(self, listener: socket.socket, started: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(_log_quietly)
        self._stopping = asyncio.Event()
        # Handlers may block here, and a scrape must not wait for a reload.
        self._loop.set_default_executor(ThreadPoolExecutor(8, thread_name_prefix="web-worker"))
        access = self._web_config.current
        self._app.middlewares.insert(0, guard(access, self._limits, self._bcrypt, self._host))
        self._app.on_response_prepare.append(header_hook(access))
        runner = web.AppRunner(self._app, handle_signals=False, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        server = runner.server
        assert server is not None  # noqa: S101 - for the type checker.
        accepting = asyncio.create_task(self._accept(listener, server))
        started.set()
        stopped = asyncio.create_task(self._stopping.wait())
        await asyncio.wait([stopped, accepting], return_when=asyncio.FIRST_COMPLETED)
        accepting.cancel()
        stopped.cancel()
        await asyncio.wait([stopped, accepting])
        listener.close()
        server.pre_shutdown()
        deadline = self._loop.time() + self._stop_timeout
        while any(connection.busy for connection in self._open) and self._loop.time() < deadline:
            await asyncio.sleep(0.02)
        for connection in list(self._open):
            self._close(connection)
        await runner.cleanup()
        self._bcrypt.shutdown(wait=False, cancel_futures=True)
        if not accepting.cancelled():
            # Not logged; `alive` is false then.
            accepting.result()

    async def _accept(self, listener: socket.socket, server: web.Server) -> None:
        loop = asyncio.get_running_loop()
        starved = False
        while True:
            # Established connections get their turn, before a flood evicts them.
            await asyncio.sleep(0)
            try:
                accepted, _ = await loop.sock_accept(listener)
            except OSError as error:
                if not starved:
                    # Once, and not for every waiting client.
                    log.warning("cannot accept connections: %s", error)
                starved = True
                # No descriptors are left: evict a connection, and retry.
                await asyncio.sleep(_CLOSING if self._evict() else _RETRY)
                continue
            starved = False
            if len(self._open) >= self._limits.connections and not self._evict():
                self.refused += 1
                accepted.close()
                continue
            access = self._web_config.current()
            connection = Connection(
                server, loop=loop, limits=self._limits, allowed_names=access.client_names, on_lost=self._forget
            )
            connecting = asyncio.create_task(self._connect(accepted, connection, access.tls))
            # A task that is cancelled before its first step cannot close its socket.
            connecting.add_done_callback(partial(_close_if_cancelled, accepted))
            self._open[connection] = connecting

    async def _connect(self, accepted: socket.socket, connection: Connection, tls: ssl.SSLContext | None) -> None:
        loop = asyncio.get_running_loop()
        try:
            if tls is None:
                await loop.connect_accepted_socket(lambda: connection, accepted)
            else:
                # A second descriptor, because asyncio closes the first before it reports why the handshake failed.
                with accepted.dup() as raw:
                    try:
                        await loop.connect_accepted_socket(
                            lambda: connection,
                            accepted,
                            ssl=tls,
                            ssl_handshake_timeout=self._limits.handshake,
                            ssl_shutdown_timeout=self._limits.linger,
                        )
                    except ssl.SSLError as error:
                        if error.reason == "HTTP_REQUEST":
                            raw.send(_NOT_TLS)
                        raise
        except OSError as error:
            # Plain HTTP to a TLS port, no certificate, an old version, a timeout: errors of the client.
            log.debug("connection failed: %s", error)
            self._forget(connection)
            accepted.close()

    def _forget(self, connection: Connection) -> None:
        self._open.pop(connection, None)

    def _evict(self) -> bool:
        """Close the oldest connection without a running request; False if all have one."""
        for connection in self._open:
            if not connection.busy:
                self._close(connection)
                self.refused += 1
                return True
        return False

    def _close(self, connection: Connection) -> None:
        connecting = self._open.pop(connection)
        connection.abort()
        connecting.cancel()


def listen(address: str) -> socket.socket:
    """Bind and listen.

    Parameters
    ----------
    address : str
        ``host:port``, with an IPv6 host in brackets. Without a host: all interfaces, IPv4 and IPv6.
        Port 0 takes a free one.

    Returns
    -------
    socket.socket
        Not blocking; ``getsockname()[1]`` is the port.

    Raises
    ------
    UsageError
        The address cannot be read.
    ExporterError
        It cannot be resolved or bound.
    """
    host, port = _split(address)
    try:
        if host:
            addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            # IPv4 first, as Prometheus does: most clients use the IPv4 address of localhost.
            family, _, _, _, where = min(addresses, key=lambda entry: entry[0] != socket.AF_INET)
            return _bound(family, where)
        try:
            return _bound(socket.AF_INET6, ("::", port))
        except OSError as error:
            if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                raise
            # A host without IPv6.
            return _bound(socket.AF_INET, ("0.0.0.0", port))  # noqa: S104 - asked for by leaving the host out.
    except OSError as error:
        reason = error.strerror or str(error)
        raise ExporterError(f"cannot listen on {address}: {reason}") from error


def is_loopback(address: str) -> bool:
    """Return whether an address to listen on can be reached from this host only.

    >>> is_loopback("127.0.0.1:9877"), is_loopback("[::1]:9877"), is_loopback("localhost:9877"), is_loopback(":9877")
    (True, True, True, False)
    """
    host, _ = _split(address)
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _split(address: str) -> tuple[str, int]:
    host, colon, port = address.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise UsageError(f"not an address to listen on: {address!r}; write [host]:port, such as :9877")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise UsageError(
            f"not an address to listen on: {address!r}; an IPv6 host stands in brackets, such as [::1]:9877"
        )
    return host, int(port)


def _bound(family: int, where: Any) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if where[0] == "::" else 1)
        listener.bind(where)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def _close_if_cancelled(accepted: socket.socket, connecting: asyncio.Task[None]) -> None:
    if connecting.cancelled():
        accepted.close()


def _log_quietly(_: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    log.debug("%s: %s", context.get("message"), context.get("exception"))
