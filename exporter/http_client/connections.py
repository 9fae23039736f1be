"""requests' transport with connections that belong to a `Call` and with a TLS context of our own making."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from functools import partial
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import requests
import urllib3.connection
from requests.adapters import HTTPAdapter
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from exporter.errors import Reason
from exporter.http_client.deadline import Call, Calls, start
from exporter.http_client.errors import Fault, classify

__all__ = ["Transport"]

_Addresses = list[tuple[Any, ...]]
_POOLS = 2


class _Lines:
    """The head of an answer, with a memory of its last line."""

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
        """Read the head; one that is cut off is no answer, though http.client takes it as one without a body."""
        file: Any = self.fp
        lines: Any = _Lines(file)
        self.fp = lines
        try:
            super().begin()
        finally:
            if self.fp is lines:
                self.fp = file
        if lines.last not in (b"\r\n", b"\n"):
            raise http.client.IncompleteRead(b"")


class _Connection(urllib3.connection.HTTPConnection):
    response_class = _Response

    def __init__(self, *args: Any, calls: Calls, **options: Any) -> None:
        super().__init__(*args, **options)
        self._calls = calls

    def _new_conn(self) -> socket.socket:
        call = self._calls.current
        call.connected = True
        failure: OSError | None = None
        for family, kind, protocol, _, address in _resolve(self._dns_host, self.port or self.default_port, call):
            sock = socket.socket(family, kind, protocol)
            try:
                for option in self.socket_options or ():
                    sock.setsockopt(*option)
                sock.settimeout(call.remaining())
                call.watch(sock)
                sock.connect(address)
                # What follows (a proxy's answer, the TLS handshake) has only the rest of the time.
                sock.settimeout(call.remaining())
            except OSError as error:
                sock.close()
                call.check()
                failure = error
            except BaseException:
                sock.close()
                raise
            else:
                return sock
        if failure is None:
            raise Fault(Reason.DNS, "the host name has no address")
        if isinstance(failure, ConnectionError):
            # urllib3 takes a reset for one that came after the request, and reads an answer where there is no socket.
            raise classify(failure)
        raise failure

    def request(self, *args: Any, **options: Any) -> None:
        if self.sock is not None:
            self._calls.current.watch(self.sock)
        super().request(*args, **options)


class _TlsConnection(_Connection, urllib3.connection.HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        # urllib3 would warn on every new connection; insecure_skip_verify is the operator's decision.
        self.is_verified = True


def _resolve(host: str, port: int, call: Call) -> _Addresses:
    """Resolve in a thread that is left behind when time is up: getaddrinfo cannot be interrupted."""
    found: list[_Addresses | BaseException] = []

    def look_up() -> None:
        try:
            found.append(list(socket.getaddrinfo(host.strip("[]"), port, 0, socket.SOCK_STREAM)))
        except (OSError, UnicodeError) as error:
            found.append(error)
        call.woken.set()

    if _is_address(host):
        look_up()
    else:
        call.woken.clear()
        start(threading.Thread(target=look_up, daemon=True))
        call.woken.wait(call.remaining())
    call.remaining()
    if not found:
        raise Fault(Reason.TIMEOUT, "the host name was not resolved in time")
    if isinstance(found[0], UnicodeError):
        raise Fault(Reason.DNS, "not a host name")
    if isinstance(found[0], BaseException):
        raise found[0]
    return found[0]


def _is_address(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdigit()


class Transport(HTTPAdapter):
    """A pool of connections to one server.

    Parameters
    ----------
    calls : Calls
        The connections ask it for the call of their thread.
    size : int
        Idle connections kept.
    """

    def __init__(self, calls: Calls, size: int) -> None:
        self._calls = calls
        self._size = size
        self._tls: dict[str, Any] = {}
        # No retries: urllib3 would count them against nobody's deadline.
        super().__init__(pool_connections=_POOLS, pool_maxsize=size, max_retries=0)

    def trust(self, context: ssl.SSLContext, server_name: str | None) -> None:
        """Use `context` for every connection from now on; idle connections are closed."""
        self._tls = {"ssl_context": context} | ({"server_hostname": server_name} if server_name else {})
        self.renew()

    def renew(self) -> None:
        """Close idle connections; those in use are closed after their request."""
        old, proxies = self.poolmanager, self.proxy_manager
        self.proxy_manager = {}
        self.init_poolmanager(_POOLS, self._size)
        for manager in (old, *proxies.values()):
            manager.clear()

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **options: Any) -> None:
        """Make the pool (called by requests)."""
        super().init_poolmanager(connections, maxsize, block, **options, **self._tls)
        self._instrument(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        """Make the pool of a proxy (called by requests)."""
        manager = super().proxy_manager_for(proxy, **options, **self._tls)
        self._instrument(manager)
        return manager

    def build_connection_pool_key_attributes(  # type: ignore[override] # its result types are private.
        self,
        request: requests.PreparedRequest,
        verify: Any,  # noqa: ARG002 - requests passes it.
        cert: Any = None,  # noqa: ARG002 - as above.
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Tell requests that `trust` has said everything about TLS."""
        parts = urlsplit(str(request.url))
        return {"scheme": parts.scheme, "host": parts.hostname, "port": parts.port}, {}

    def cert_verify(self, *_: Any, **__: Any) -> None:
        """Keep requests from adding its own CA bundle to what `trust` was given."""

    def _instrument(self, manager: Any) -> None:
        manager.pool_classes_by_scheme = {"http": self._plain_pool, "https": self._tls_pool}

    def _plain_pool(self, *args: Any, **options: Any) -> HTTPConnectionPool:
        pool = HTTPConnectionPool(*args, **options)
        pool.ConnectionCls = partial(_Connection, calls=self._calls)  # type: ignore[assignment]
        return pool

    def _tls_pool(self, *args: Any, **options: Any) -> HTTPSConnectionPool:
        pool = HTTPSConnectionPool(*args, **options)
        pool.ConnectionCls = partial(_TlsConnection, calls=self._calls)  # type: ignore[assignment]
        return pool
