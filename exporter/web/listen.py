"""Where to listen: ``:9877``, ``localhost:9877``, ``[::1]:0``."""

from __future__ import annotations

import errno
import os
import socket

from exporter.errors import ExporterError, UsageError

__all__ = ["listen"]

_BACKLOG = 512


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
            family, _, _, _, where = _resolve(host, port)
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


def _resolve(host: str, port: int) -> tuple[int, int, int, str, tuple[str | int, ...]]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    # IPv4 first, as Prometheus does: localhost is mostly asked for by its IPv4 address.
    return sorted(found, key=lambda entry: entry[0] != socket.AF_INET)[0]  # type: ignore[return-value]


def _bound(family: int, where: tuple[str | int, ...]) -> socket.socket:
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
