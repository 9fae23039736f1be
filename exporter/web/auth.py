"""User names and bcrypt passwords.

A check takes a tenth of a second on purpose, so results are remembered: by a keyed hash, in which no
two different logins can look alike (CVE-2022-46146 was a cache key that was joined from its parts
without their lengths), and never mixing those accepted with those refused, so that a flood of wrong
passwords cannot push a right one out.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections import OrderedDict
from collections.abc import Mapping

import bcrypt

__all__ = ["Users", "basic_credentials", "bcrypt_cost"]

_HASH = re.compile(r"\$2[aby]\$(?P<cost>[0-9]{2})\$[./A-Za-z0-9]{53}")
# bcrypt looks at no more than this; a longer password would be equal to its beginning.
_LONGEST_PASSWORD = 72
_REMEMBERED = 100


def bcrypt_cost(hashed: str) -> int:
    """Return the cost of a bcrypt hash; ValueError if it is none, or one that no login should wait for."""
    found = _HASH.fullmatch(hashed)
    if found is None:
        raise ValueError("not a bcrypt hash; make one with htpasswd -nBC 10 ''")
    cost = int(found["cost"])
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
    """Who may ask.

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

    def remembered(self, user: str, password: str) -> bool | None:
        """Return the result of an earlier check, or None; fast."""
        if "\0" in password or len(password.encode()) > _LONGEST_PASSWORD:
            return False
        key = self._login(user, password)
        if key in self._accepted:
            return True
        return False if key in self._refused else None

    def check(self, user: str, password: str) -> bool:
        """Check a login; takes as long as bcrypt does. One at a time, and not on an event loop."""
        known = self.remembered(user, password)
        if known is not None:
            return known
        hashed = self._hashes.get(user)
        same = bcrypt.checkpw(password.encode(), self._nobody if hashed is None else hashed)
        accepted = same and hashed is not None
        results = self._accepted if accepted else self._refused
        results[self._login(user, password)] = None
        while len(results) > _REMEMBERED:
            results.popitem(last=False)
        return accepted

    def _login(self, user: str, password: str) -> bytes:
        name, hashed, secret = user.encode(), self._hashes.get(user, b""), password.encode()
        lengths = b"%d:%d:%d:" % (len(name), len(hashed), len(secret))
        return hmac.digest(self._key, lengths + name + hashed + secret, hashlib.sha256)
