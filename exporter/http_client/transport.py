"""requests' transport adapter with our TLS context, and with connections that end with their `Call`."""

from __future__ import annotations

import http.client
import socket
import ssl
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
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

    def build_connection_pool_key_attributes(  # type: ignore[override] # its result types are private.
        self,
        request: requests.PreparedRequest,
        verify: Any,  # noqa: ARG002 - requests passes it.
        cert: Any = None,  # noqa: ARG002 - as above.
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return where to connect to, without TLS settings: `trust` has given the context."""
        parts = urlsplit(str(request.url))
        return {"scheme": parts.scheme, "host": parts.hostname, "port": parts.port}, {}

    def cert_verify(self, *_: Any, **__: Any) -> None:
        """Keep requests from adding its CA bundle to the context."""


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

    def connect(self) -> None:
        call = current_call()
        call.check()
        call.reused = False
        super().connect()
        call.watch(self.sock)

    def request(self, *args: Any, **options: Any) -> None:
        if self.sock is not None:
            current_call().watch(self.sock)
        super().request(*args, **options)


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
