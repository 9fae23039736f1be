"""requests' transport adapter with our TLS context, and with connections that end with their `Call`."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Mapping
from typing import Any, BinaryIO, cast
from urllib.parse import urlsplit, urlunsplit

from requests.adapters import HTTPAdapter
from requests.utils import urldefragauth
from urllib3 import BaseHTTPResponse, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from exporter.http_client.calls import current_call

__all__ = ["TlsContext", "Transport"]

_HOSTS = 2


class TlsContext(ssl.SSLContext):
    """A TLS context whose handshakes end with their call."""

    def wrap_socket(self, sock: socket.socket, *args: Any, **options: Any) -> ssl.SSLSocket:
        """Begin TLS on a connection."""
        current_call().watch(sock)
        return super().wrap_socket(sock, *args, **options)


class Transport(HTTPAdapter):
    """A pool of connections to one server, of which `size` may be idle."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._tls: dict[str, Any] = {}
        super().__init__(pool_connections=_HOSTS, pool_maxsize=size, max_retries=0)

    def trust(self, context: TlsContext, server_name: str | None) -> None:
        """Use `context` for every connection from now on; idle connections are closed."""
        self._tls = {"ssl_context": context} | ({"server_hostname": server_name} if server_name else {})
        self.renew()

    def renew(self) -> None:
        """Close idle connections; those in use are closed after their request."""
        managers = (self.poolmanager, *self.proxy_manager.values())
        self.proxy_manager = {}
        self.init_poolmanager(_HOSTS, self._size)
        for manager in managers:
            manager.clear()

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **options: Any) -> None:
        """Make the pools (called by requests)."""
        super().init_poolmanager(connections, maxsize, block, **options, **self._tls)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        """Make the pools of a proxy (called by requests)."""
        manager = super().proxy_manager_for(proxy, **options, **self._tls)
        manager.pool_classes_by_scheme = _POOLS
        return manager

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str | bytes],
        body: bytes | None,
        timeout: float,
        proxy: str | None = None,
    ) -> BaseHTTPResponse:
        """Send a request and return the response once its head is there.

        Not by `send`: preparing a request and wrapping its response takes requests longer than sending it.

        Parameters
        ----------
        url : str
            With what is not ASCII escaped.
        timeout : float
            Seconds for the connection, and for each read.
        """
        parts = urlsplit(url)
        target = urlunsplit(("", "", parts.path or "/", parts.query, ""))
        manager = self.poolmanager
        if proxy is not None:
            proxy = proxy if "://" in proxy else f"http://{proxy}"
            manager = self.proxy_manager_for(proxy)
            target = target if parts.scheme == "https" or proxy.startswith("socks") else urldefragauth(url)
        pool: HTTPConnectionPool = manager.connection_from_host(parts.hostname, parts.port, parts.scheme)
        return pool.urlopen(
            method,
            target,
            body=body,
            # Their types leave out bytes, which http.client takes.
            headers=cast("Mapping[str, str]", headers),
            redirect=False,
            assert_same_host=False,
            preload_content=False,
            decode_content=False,
            retries=False,
            timeout=Timeout(connect=timeout, read=timeout),
        )


class _HeadLines:
    """The file of a response while its head is read; remembers the last line."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.last = b""

    def readline(self, limit: int = -1) -> bytes:
        self.last = self.file.readline(limit)
        return self.last

    def close(self) -> None:
        self.file.close()


class _Response(http.client.HTTPResponse):
    def begin(self) -> None:
        """Read the head. http.client takes one that is cut off for a complete one; here it is an error."""
        file: Any = self.fp
        lines: Any = _HeadLines(file)
        self.fp = lines
        try:
            super().begin()
        finally:
            if self.fp is lines:
                self.fp = file
        if lines.last not in (b"\r\n", b"\n"):
            raise http.client.IncompleteRead(b"")


class _Connection(HTTPConnection):
    response_class = _Response
    _held: list[bytes] | None = None
    """What a request that is being written consists of so far."""

    def connect(self) -> None:
        call = current_call()
        call.check()
        call.reused = False
        super().connect()
        call.watch(self.sock)

    def request(self, *args: Any, **options: Any) -> None:
        if self.sock is not None:
            current_call().watch(self.sock)
        held: list[bytes] = []
        self._held = held
        try:
            super().request(*args, **options)
        finally:
            self._held = None
        # Head and body at once: each would wake the server.
        self.send(b"".join(held))

    def send(self, data: Any) -> None:
        if self._held is None:
            super().send(data)
        else:
            self._held.append(data)


class _TlsConnection(_Connection, HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        # urllib3 would warn on every new connection where the operator has set insecure_skip_verify.
        self.is_verified = True


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


_POOLS = {"http": _HttpPool, "https": _HttpsPool}
