"""One connection: every wait for the other side has an end.

aiohttp closes a client that sends nothing, but not one that sends a byte a second, and it buffers far
more header than anybody needs. Both are decided here, before its parser sees the bytes.
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

__all__ = ["SECURITY_HEADERS", "Connection", "Limits", "plain"]

log = logging.getLogger(__name__)

SECURITY_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "object-src 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""What every answer carries, unless the web configuration file says otherwise."""

_END_OF_HEADER = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of our time and memory a client may take; seconds and bytes."""

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
    limits : Limits
    allowed_names : collection of str
        Where not empty, one of them must be a subject alternative name of the client's certificate.
    on_lost : callable
        Called with the connection once it is gone.
    """

    __slots__ = ("_allowed_names", "_deadline", "_header", "_limits", "_more", "_on_lost", "_phase", "_stall", "busy")

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
        self._limits = limits
        self._allowed_names = allowed_names
        self._on_lost = on_lost
        self._phase = _Phase.HEADER
        self._header = bytearray()
        self._more = False
        self._deadline: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None
        self.busy = False

    @property
    def limits(self) -> Limits:
        """The limits of this connection."""
        return self._limits

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the clock, or cut a client whose certificate has none of the allowed names."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for the type checker.
        super().connection_made(transport)
        # With next to no buffer of its own the transport says at once when the client does not read. Not
        # with none: over TLS asyncio takes an empty buffer that may hold nothing for a full one.
        transport.set_write_buffer_limits(high=1, low=0)
        if self._allowed_names and not _has_name(transport.get_extra_info("peercert") or {}, self._allowed_names):
            transport.abort()
            return
        self._deadline = self._loop.call_later(self._limits.request, self._expire)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop every clock."""
        self._stop_deadline()
        if self._stall is not None:
            self._stall.cancel()
        super().connection_lost(exc)
        self._on_lost(self)

    def data_received(self, data: bytes) -> None:
        """Count the header and hand everything on."""
        # aiohttp feeds itself empty data to go on with what it has buffered.
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
        """Give a client that does not read the time of one answer."""
        super().pause_writing()
        self._stall = self._loop.call_later(self._limits.write, self.abort)

    def resume_writing(self) -> None:
        """The client has read everything."""
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None
        super().resume_writing()

    def abort(self) -> None:
        """Cut the connection now, whatever is still to be written."""
        if self.transport is not None:
            self.transport.abort()

    def request_begins(self) -> None:
        """The header is complete; called by the middleware."""
        self._phase = _Phase.SERVING
        self._header.clear()

    def request_complete(self) -> None:
        """The body is here as well: from now on the client waits for us."""
        self.busy = True
        self._stop_deadline()

    def request_ends(self) -> None:
        """The answer is ready or written."""
        self.busy = False
        self._stop_deadline()
        self._phase = _Phase.IDLE
        if self._more:
            # What came may be part of a further header, of which nobody will tell us. A client that
            # sends ahead is therefore never allowed to idle.
            self._await_request()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what could not be parsed, without saying anything about ourselves."""
        if status < HTTPStatus.INTERNAL_SERVER_ERROR or isinstance(exc, ConnectionError):
            log.debug("request from %s: %r", request.remote, message or exc)
        else:
            log.error("answering %s failed", request.remote, exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun; nothing else can be said")
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
        self._deadline = self._loop.call_later(self._limits.request, self._expire)

    def _too_much(self, data: bytes) -> HTTPStatus | None:
        """Return why the header that grows by `data` is refused, if it is."""
        known = self._header
        if known.endswith(_END_OF_HEADER):
            self._more = True
            return None
        seen = max(0, len(known) - len(_END_OF_HEADER) + 1)
        before = len(known)
        # One byte more than may be kept tells that there is too much.
        known += data[: self._limits.header + 1 - len(known)]
        end = known.find(_END_OF_HEADER, seen)
        if end >= 0:
            del known[end + len(_END_OF_HEADER) :]
            self._more |= before + len(data) > len(known)
        line = known.find(b"\r\n")
        if (len(known) if line < 0 else line) > self._limits.url:
            return HTTPStatus.REQUEST_URI_TOO_LONG
        if len(known) > self._limits.header:
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
        # Closed at once, the bytes on their way to us would make the kernel throw the answer away.
        self._deadline = self._loop.call_later(self._limits.linger, self.abort)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def plain(status: int, text: str, **headers: str) -> web.Response:
    """Make a plain-text answer of one line."""
    return web.Response(status=status, text=text + "\n", headers=headers)


def _has_name(certificate: Mapping[str, Any], allowed: Collection[str]) -> bool:
    return any(name in allowed for _, name in certificate.get("subjectAltName", ()))
