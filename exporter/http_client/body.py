"""Read the body of a response, or its start, within a limit, which counts decompressed bytes."""

from __future__ import annotations

import http.client
import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress

import urllib3.exceptions
from urllib3 import BaseHTTPResponse

from exporter.errors import Reason
from exporter.http_client.errors import Fault

__all__ = ["read_body", "read_start"]

_CHUNK = 256 * 1024


def read_body(response: BaseHTTPResponse, max_bytes: int, on_bytes: Callable[[int], None] = lambda _: None) -> bytes:
    """Return the whole body, decompressed.

    Parameters
    ----------
    on_bytes : callable
        Called with the length of each piece; ends the reading by raising `Fault`.

    Raises
    ------
    Fault
        TOO_LARGE above `max_bytes`, CONNECTION when it ended early, MALFORMED when it cannot be decompressed.
    """
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("identity", "", "gzip", "x-gzip"):
        raise Fault(Reason.MALFORMED, "the answer is compressed in a way that was not asked for")
    stated = response.headers.get("Content-Length", "")
    if stated.isascii() and stated.isdigit() and int(stated[:19]) > max_bytes:
        raise _too_large(max_bytes)
    # A list of pieces would take the size of the body a second time when it is joined.
    whole = io.BytesIO()
    size = 0
    raw = _raw(response, max_bytes)
    for chunk in _inflate(raw) if encoding.endswith("gzip") else raw:
        size += len(chunk)
        if size > max_bytes:
            raise _too_large(max_bytes)
        on_bytes(len(chunk))
        whole.write(chunk)
    return whole.getvalue()


def read_start(response: BaseHTTPResponse, max_bytes: int) -> bytes:
    """Return at most `max_bytes` of the body, decompressed: as much of it as can be read, without an error."""
    start = bytearray()
    raw = _raw(response, max_bytes)
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    with suppress(Fault, urllib3.exceptions.HTTPError, http.client.HTTPException, OSError, ValueError):
        for chunk in _inflate(raw) if encoding.endswith("gzip") else raw:
            start += chunk
            if len(start) >= max_bytes:
                break
    return bytes(start[:max_bytes])


def _raw(response: BaseHTTPResponse, max_bytes: int) -> Iterator[bytes]:
    size = 0
    while chunk := response.read(_CHUNK, decode_content=False):
        size += len(chunk)
        # Compressed data can be longer than its content, such as a run of empty gzip members.
        if size > max_bytes:
            raise _too_large(max_bytes)
        yield chunk


def _inflate(chunks: Iterator[bytes]) -> Iterator[bytes]:
    decoder = zlib.decompressobj(16 + zlib.MAX_WBITS)
    started = False
    try:
        for chunk in chunks:
            data = chunk
            while data:
                if decoder.eof:
                    decoder = zlib.decompressobj(16 + zlib.MAX_WBITS)
                started = True
                yield decoder.decompress(data, _CHUNK)
                data = decoder.unused_data if decoder.eof else decoder.unconsumed_tail
        # A full output buffer may hold data back after the last input byte.
        while started and not decoder.eof and (rest := decoder.decompress(b"", _CHUNK)):
            yield rest
    except zlib.error:
        raise Fault(Reason.MALFORMED, "the answer is not valid gzip") from None
    if started and not decoder.eof:
        raise Fault(Reason.CONNECTION, "the answer ended early")


def _too_large(max_bytes: int) -> Fault:
    return Fault(Reason.TOO_LARGE, f"the answer is larger than {max_bytes} bytes")
