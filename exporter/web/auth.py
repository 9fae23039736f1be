"""Authentication: user names with bcrypt passwords, and names in client certificates.

A password check takes a tenth of a second on purpose, so results are cached by a keyed hash of lengths and parts
(CVE-2022-46146 was a cache key joined from its parts without their lengths). Accepted and refused logins have separate
caches, so that a flood of wrong passwords cannot evict a right one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
import re
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import bcrypt
from aiohttp import web

__all__ = ["USER", "Users", "basic_credentials", "bcrypt_cost", "identity_of", "plain_name"]

USER = web.RequestKey("USER", str)
"""Where the guard stores the name of the user whose password it checked."""

_HASH = re.compile(r"\$2[aby]\$(?P<cost>[0-9]{2})\$[./A-Za-z0-9]{53}")
_LONGEST_PASSWORD = 72
"""Bytes that bcrypt looks at; a longer password would be equal to its beginning."""
_CACHED = 100


def bcrypt_cost(hashed: str) -> int:
    """Return the cost of a bcrypt hash; ValueError if it is none, or one that no login should wait for."""
    match = _HASH.fullmatch(hashed)
    if match is None:
        raise ValueError("not a bcrypt hash; make one with htpasswd -nBC 10 ''")
    cost = int(match["cost"])
    if not 4 <= cost <= 16:
        raise ValueError(f"a bcrypt cost of {cost} is outside 4 to 16; 10 is usual")
    return cost


def basic_credentials(header: str) -> tuple[str, str] | None:
    """Read user name and password from an ``Authorization`` header, or None."""
    scheme, _, encoded = header.strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    return (user, password) if colon else None


class Users:
    """Users and their password hashes.

    Parameters
    ----------
    hashes : mapping of user name to bcrypt hash
        Each one accepted by `bcrypt_cost`.
    """

    def __init__(self, hashes: Mapping[str, str]) -> None:
        self._hashes = {user: hashed.encode() for user, hashed in hashes.items()}
        cost = max(map(bcrypt_cost, hashes.values()), default=10)
        # An unknown user costs as much time as a known one; no password has this hash.
        self._nobody = b"$2b$%02d$" % cost + b"." * 53
        self._key = secrets.token_bytes(32)
        self._accepted: OrderedDict[bytes, None] = OrderedDict()
        self._refused: OrderedDict[bytes, None] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._hashes)

    def cached(self, user: str, password: str) -> bool | None:
        """Return the result of an earlier check, or None; fast."""
        if "\0" in password or len(password.encode()) > _LONGEST_PASSWORD:
            return False
        key = self._login(user, password)
        if key in self._accepted:
            return True
        return False if key in self._refused else None

    def check(self, user: str, password: str) -> bool:
        """Check a login; takes as long as bcrypt does. One at a time, and not on an event loop."""
        cached = self.cached(user, password)
        if cached is not None:
            return cached
        hashed = self._hashes.get(user)
        same = bcrypt.checkpw(password.encode(), self._nobody if hashed is None else hashed)
        accepted = same and hashed is not None
        results = self._accepted if accepted else self._refused
        results[self._login(user, password)] = None
        while len(results) > _CACHED:
            results.popitem(last=False)
        return accepted

    def _login(self, user: str, password: str) -> bytes:
        name, hashed, secret = user.encode(), self._hashes.get(user, b""), password.encode()
        lengths = b"%d:%d:%d:" % (len(name), len(hashed), len(secret))
        return hmac.digest(self._key, lengths + name + hashed + secret, hashlib.sha256)


def identity_of(request: web.Request) -> str | None:
    """Return the user who logged in, or the name in the client's certificate; None without either.

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


def plain_name(name: str) -> str:
    """Return a name of a certificate in the one form that it is compared in: IP addresses have several."""
    try:
        return str(ipaddress.ip_address(name.strip()))
    except ValueError:
        return name
