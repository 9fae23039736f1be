"""The HTTP server: a thread with an event loop of its own.

Accepting is done here and not by asyncio's server, for three reasons: connections are counted before
their TLS handshake, certificates change without a restart, and when there are too many connections
the one that has kept us waiting longest makes room, so that a scrape gets through a flood.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from socket import socket

from aiohttp import web

from exporter.errors import ExporterError
from exporter.web.connection import Connection, Limits
from exporter.web.guard import guard, header_hook
from exporter.web.listen import listen
from exporter.web.web_config import WebConfigFile

__all__ = ["WebServer"]

log = logging.getLogger(__name__)

# When the system has run out of descriptors or memory, and nobody can make room.
_PAUSE = 0.2
# How long a connection that is cut takes to be gone.
_ROOM = 0.01
# In the words of Prometheus, so that whoever looks for them finds the answer.
_NOT_TLS = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"


class WebServer:
    """Serves an application within limits; see `exporter.web.routes.build_app`.

    Parameters
    ----------
    app : web.Application
        The routes. The server adds what all of them need: credentials, limits, headers.
    listen_address : str
        See `exporter.web.listen.listen`.
    web_config : WebConfigFile, optional
        TLS, users and headers.
    limits : Limits
    """

    def __init__(
        self,
        app: web.Application,
        listen_address: str,
        web_config: WebConfigFile | None = None,
        *,
        limits: Limits = Limits(),  # noqa: B008 - frozen.
    ) -> None:
        self._app = app
        self._listen_address = listen_address
        self._web_config = web_config or WebConfigFile(None)
        self._limits = limits
        self._open: dict[Connection, asyncio.Task[None]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._stop_timeout = 0.0
        self._thread: threading.Thread | None = None
        self._bcrypt = ThreadPoolExecutor(1, thread_name_prefix="web-bcrypt")
        self.refused = 0
        """Connections refused or cut because there were too many."""

    @property
    def connections(self) -> int:
        """How many connections are open."""
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
        """Stop listening, let requests that are being answered end for `timeout` seconds, cut the rest."""
        thread, loop, stopping = self._thread, self._loop, self._stopping
        if thread is None or loop is None or stopping is None or not thread.is_alive():
            return
        self._stop_timeout = timeout
        loop.call_soon_threadsafe(stopping.set)
        # Twice: a client that is being answered, then whatever aiohttp still has to end.
        thread.join(2 * timeout + 1)

    async def _serve(self, listener: socket, started: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(_log_quietly)
        self._stopping = asyncio.Event()
        # Everything that a handler calls may block, and a scrape must not wait for a reload.
        self._loop.set_default_executor(ThreadPoolExecutor(8, thread_name_prefix="web-worker"))
        access = self._web_config.current
        self._app.middlewares.insert(0, guard(access, self._limits, self._bcrypt))
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
            self._cut(connection)
        await runner.cleanup()
        self._bcrypt.shutdown(wait=False, cancel_futures=True)
        if not accepting.cancelled():
            # Never seen; whoever asks `alive` finds out.
            accepting.result()

    async def _accept(self, listener: socket, server: web.Server) -> None:
        loop = asyncio.get_running_loop()
        starved = False
        while True:
            # A flood must not keep those who are in already from being heard before they have to make room.
            await asyncio.sleep(0)
            try:
                accepted, _ = await loop.sock_accept(listener)
            except OSError as error:
                if not starved:
                    # Once, and not for every client that waits outside.
                    log.warning("cannot accept connections: %s", error)
                starved = True
                # No descriptors are left. Whoever has kept us waiting longest makes room, a moment later.
                await asyncio.sleep(_ROOM if self._make_room() else _PAUSE)
                continue
            starved = False
            if len(self._open) >= self._limits.connections and not self._make_room():
                self.refused += 1
                accepted.close()
                continue
            access = self._web_config.current()
            connection = Connection(
                server, loop=loop, limits=self._limits, allowed_names=access.client_names, on_lost=self._forget
            )
            connecting = asyncio.create_task(self._connect(accepted, connection, access.tls))
            # A task that is cancelled before its first step cannot close what it was given.
            connecting.add_done_callback(partial(_close_if_cancelled, accepted))
            self._open[connection] = connecting

    async def _connect(self, accepted: socket, connection: Connection, tls: ssl.SSLContext | None) -> None:
        loop = asyncio.get_running_loop()
        try:
            if tls is None:
                await loop.connect_accepted_socket(lambda: connection, accepted)
            else:
                # A second descriptor, because asyncio has closed the first when it says why the handshake failed.
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
            # Plain HTTP to a TLS port, no certificate, an old version, silence: the client's affair.
            log.debug("connection failed: %s", error)
            self._forget(connection)
            accepted.close()

    def _forget(self, connection: Connection) -> None:
        self._open.pop(connection, None)

    def _make_room(self) -> bool:
        """Cut the connection that has kept us waiting longest; False if all are being answered."""
        for connection in self._open:
            if not connection.busy:
                self._cut(connection)
                self.refused += 1
                return True
        return False

    def _cut(self, connection: Connection) -> None:
        connecting = self._open.pop(connection)
        connection.abort()
        connecting.cancel()


def _close_if_cancelled(accepted: socket, connecting: asyncio.Task[None]) -> None:
    if connecting.cancelled():
        accepted.close()


def _log_quietly(_: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    log.debug("%s: %s", context.get("message"), context.get("exception"))
