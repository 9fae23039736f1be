"""A connection with deadlines and limits.

aiohttp closes a client that sends nothing, but not a client that sends a byte a second, and it buffers far more header
than needed. Both are limited here, before its parser sees the bytes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from http import HTTPStatus
from typing import Any

from aiohttp import web

from exporter.web.auth import plain_name

__all__ = ["SECURITY_HEADERS", "Connection", "Limits", "plain"]

log = logging.getLogger(__name__)

SECURITY_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "object-src 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Headers of every answer, unless the web configuration file overrides them."""

_END_OF_HEADER = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Limits:
    """Time and memory that a client may take; seconds and bytes."""

    request: float = 8.5
    """From the connection, or the first byte of a further request, to the last byte of its body. With
    `linger` it stays below ten seconds."""
    write: float = 30.0
    """To take one answer."""
    handshake: float = 5.0
    """To finish a TLS handshake."""
    idle: float = 120.0
    """Between two requests; longer than most scrape intervals."""
    linger: float = 1.0
    """How long a refused client may go on sending before the connection is cut."""
    connections: int = 128
    url: int = 8 << 10
    header: int = 16 << 10
    body: int = 64 << 10


class _Phase(Enum):
    HEADER = auto()
    SERVING = auto()
    IDLE = auto()
    REFUSED = auto()


class Connection(web.RequestHandler):
    """aiohttp's protocol, with deadlines.

    Parameters
    ----------
    server : web.Server
        Whose requests these are.
    allowed_names : collection of str
        Where not empty, one of them must be a subject alternative name of the client's certificate.
    on_lost : callable
        Called with the connection when it is lost.
    """

    __slots__ = ("_allowed_names", "_deadline", "_header", "_more", "_on_lost", "_phase", "_stall", "busy", "limits")

    def __init__(
        self,
        server: web.Server,
        *,
        loop: asyncio.AbstractEventLoop,
        limits: Limits,
        allowed_names: Collection[str],
        on_lost: Callable[[Connection], None],
    ) -> None:
        super().__init__(
            server,
            loop=loop,
            keepalive_timeout=limits.idle,
            # The limits below are counted here, over the whole header; aiohttp's are per line.
            max_line_size=limits.header,
            max_field_size=limits.header,
            lingering_time=limits.linger,
            auto_decompress=False,
            access_log=None,  # type: ignore[arg-type] # None switches it off, as in web.run_app.
            logger=log,
        )
        self.limits = limits
        self._allowed_names = allowed_names
        self._on_lost = on_lost
        self._phase = _Phase.HEADER
        self._header = bytearray()
        self._more = False
        self._deadline: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None
        self.busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the deadline, or abort where the client certificate has none of the allowed names."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for the type checker.
        super().connection_made(transport)
        # With a buffer of one byte the transport reports at once that the client does not read. Not with zero: over
        # TLS asyncio takes an empty buffer of size zero for a full one.
        transport.set_write_buffer_limits(high=1, low=0)
        if self._allowed_names:
            certificate: Mapping[str, Any] = transport.get_extra_info("peercert") or {}
            if not any(plain_name(name) in self._allowed_names for _, name in certificate.get("subjectAltName", ())):
                transport.abort()
                return
        self._deadline = self._loop.call_later(self.limits.request, self._expire)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Cancel the deadlines."""
        self._stop_deadline()
        if self._stall is not None:
            self._stall.cancel()
        super().connection_lost(exc)
        self._on_lost(self)

    def data_received(self, data: bytes) -> None:
        """Limit the header, and pass the data on."""
        # aiohttp feeds itself empty data to continue with its buffer.
        if data:
            if self._phase is _Phase.REFUSED:
                return
            if self._phase is _Phase.SERVING:
                self._more = True
            else:
                if self._phase is _Phase.IDLE:
                    self._await_request()
                if (status := self._too_much(data)) is not None:
                    self._refuse(status)
                    return
        super().data_received(data)

    def pause_writing(self) -> None:
        """Start the deadline of a client that does not read."""
        super().pause_writing()
        self._stall = self._loop.call_later(self.limits.write, self.abort)

    def resume_writing(self) -> None:
        """Cancel it: the client has read everything."""
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None
        super().resume_writing()

    def abort(self) -> None:
        """Close the connection now, without writing the rest."""
        if self.transport is not None:
            self.transport.abort()

    def request_begins(self) -> None:
        """Note that the header is complete; called by the middleware."""
        self._phase = _Phase.SERVING
        self._header.clear()

    def request_complete(self) -> None:
        """Note that the body is complete: from now on the client waits for us."""
        self.busy = True
        self._stop_deadline()

    def request_ends(self) -> None:
        """Note that the answer is ready or written."""
        self.busy = False
        self._stop_deadline()
        self._phase = _Phase.IDLE
        if self._more:
            # The data may be part of a further header, which is not reported to us. So a client that sends ahead is
            # never idle.
            self._await_request()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer a request that could not be parsed, without details of the server."""
        if status < HTTPStatus.INTERNAL_SERVER_ERROR or isinstance(exc, ConnectionError):
            log.debug("request from %s: %r", request.remote, message or exc)
        else:
            log.error("answering %s failed", request.remote, exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun; it cannot be replaced")
        response = plain(status, HTTPStatus(status).phrase)
        response.headers.update(SECURITY_HEADERS)
        # aiohttp only adds its name and version where there is none.
        response.headers["Server"] = "anomaly-exporter"
        response.force_close()
        return response

    def _await_request(self) -> None:
        self._phase = _Phase.HEADER
        self._header.clear()
        self._stop_deadline()
        self._deadline = self._loop.call_later(self.limits.request, self._expire)

    def _too_much(self, data: bytes) -> HTTPStatus | None:
        """Return the status with which a header that grows by `data` is refused, or None."""
        header = self._header
        if header.endswith(_END_OF_HEADER):
            self._more = True
            return None
        searched = max(0, len(header) - len(_END_OF_HEADER) + 1)
        before = len(header)
        # A byte beyond the limit shows that there is too much.
        header += data[: self.limits.header + 1 - len(header)]
        end = header.find(_END_OF_HEADER, searched)
        if end >= 0:
            del header[end + len(_END_OF_HEADER) :]
            self._more |= before + len(data) > len(header)
        line = header.find(b"\r\n")
        if (len(header) if line < 0 else line) > self.limits.url:
            return HTTPStatus.REQUEST_URI_TOO_LONG
        if len(header) > self.limits.header:
            return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        return None

    def _expire(self) -> None:
        if self._header or self._phase is _Phase.SERVING:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)
        else:
            self.abort()

    def _refuse(self, status: HTTPStatus) -> None:
        self._phase = _Phase.REFUSED
        self._stop_deadline()
        if self.transport is None:
            return
        text = f"{status.phrase}\n"
        head = f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: text/plain; charset=utf-8\r\n"
        self.transport.write(f"{head}Content-Length: {len(text)}\r\nConnection: close\r\n\r\n{text}".encode())
        # If it were closed at once, bytes still on their way to us would make the kernel discard the answer.
        self._deadline = self._loop.call_later(self.limits.linger, self.abort)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def plain(status: int, text: str, **headers: str) -> web.Response:
    """Make a plain-text answer of one line."""
    return web.Response(status=status, text=text + "\n", headers=headers)
