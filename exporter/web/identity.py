"""Who makes a request, as far as it was proved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

__all__ = ["USER", "identity_of"]

USER = web.RequestKey("USER", str)
"""Where the guard leaves the name of the user whose password it checked."""


def identity_of(request: web.Request) -> str | None:
    """Return the user who logged in, or the name in the client's certificate; None for anybody.

    A certificate counts only where the server verified it: otherwise there is none to be seen.
    """
    user: str | None = request.get(USER)
    if user is not None:
        return user
    transport = request.transport
    certificate = None if transport is None else transport.get_extra_info("peercert")
    return _name(certificate) if certificate else None


def _name(certificate: Mapping[str, Any]) -> str:
    subject = {name: value for part in certificate.get("subject", ()) for name, value in part}
    alternatives = [str(value) for _, value in certificate.get("subjectAltName", ())]
    return str(subject.get("commonName") or next(iter(alternatives), None) or "client certificate")
