"""One Alertmanager, as its silences are read and kept and its alerts are read: requests and their answers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Protocol

import msgspec

from exporter.delivery.settings import AlertmanagerSettings
from exporter.errors import AlertmanagerError, Reason
from exporter.silences.alert_status import Standings, alerts_filter
from exporter.silences.silence import Silence, SilenceList

__all__ = ["Cluster", "Peer", "Requester"]

_SILENCES, _ALERTS = "/api/v2/silences", "/api/v2/alerts"
_LARGEST_ANSWER = 1024 * 1024
_LONGEST_TEXT = 200


class Reply(Protocol):
    """What an Alertmanager answered."""

    @property
    def status(self) -> int:
        """Of HTTP."""

    @property
    def body(self) -> bytes:
        """Decompressed."""


class Requester(Protocol):
    """The part of `exporter.http_client.client.Client` that is used here; AlertmanagerError if there is no answer."""

    def get(self, path: str, params: Mapping[str, str] | None = None, *, timeout: float, max_bytes: int) -> Reply:
        """Ask."""

    def post_json(self, path: str, body: bytes, *, timeout: float, max_bytes: int) -> Reply:
        """Ask for a change."""

    def delete(self, path: str, *, timeout: float, max_bytes: int) -> Reply:
        """Ask for an end."""

    def cancel(self) -> None:
        """End the request under way."""

    def close(self) -> None:
        """Close idle connections."""


class _Member(msgspec.Struct):
    name: str = ""


class Cluster(msgspec.Struct):
    """Who shares silences with an Alertmanager; an empty name where it has no cluster."""

    name: str = ""
    peers: list[_Member] = []

    @property
    def members(self) -> frozenset[str]:
        """Names of all that it knows, itself included."""
        return frozenset(one.name for one in self.peers if one.name) | ({self.name} if self.name else frozenset())


class _Status(msgspec.Struct):
    cluster: Cluster = msgspec.field(default_factory=Cluster)


# Made once, here: the library is not safe where several threads are the first to decode a type.
_decode_status = msgspec.json.Decoder(_Status).decode
_decode_made = msgspec.json.Decoder(dict[str, str]).decode


class Peer:
    """The requests; used by one thread at a time.

    Parameters
    ----------
    settings : AlertmanagerSettings
    client : Requester
        Of this peer alone.
    """

    def __init__(self, settings: AlertmanagerSettings, client: Requester) -> None:
        self.settings = settings
        self.key = settings.url
        self._client = client
        self._list = SilenceList()

    def silences(self, max_bytes: int) -> tuple[list[Silence], int]:
        """Return all silences, and how many could not be understood.

        Raises
        ------
        AlertmanagerError
        """
        answer = self._client.get(_SILENCES, timeout=self.settings.timeout, max_bytes=max_bytes)
        self._check(answer)
        try:
            return self._list.read(answer.body)
        except ValueError as error:
            raise AlertmanagerError(self.key, Reason.MALFORMED, str(error)[:_LONGEST_TEXT]) from None

    def standings(self, alertnames: Iterable[str], max_bytes: int, *, at: float) -> Standings:
        """Return how the alerts with some names stand.

        Raises
        ------
        AlertmanagerError
        """
        asked = {"filter": alerts_filter(alertnames)}
        answer = self._client.get(_ALERTS, asked, timeout=self.settings.timeout, max_bytes=max_bytes)
        self._check(answer)
        try:
            return Standings.read(answer.body, at=at)
        except ValueError as error:
            raise AlertmanagerError(self.key, Reason.MALFORMED, str(error)[:_LONGEST_TEXT]) from None

    def cluster(self) -> Cluster:
        """Return the cluster that it is in.

        Raises
        ------
        AlertmanagerError
        """
        answer = self._client.get("/api/v2/status", timeout=self.settings.timeout, max_bytes=_LARGEST_ANSWER)
        self._check(answer)
        try:
            return _decode_status(answer.body).cluster
        except msgspec.DecodeError as error:
            raise AlertmanagerError(self.key, Reason.MALFORMED, str(error)[:_LONGEST_TEXT]) from None

    def make(self, body: Mapping[str, object]) -> str:
        """Make or change a silence; return its id.

        Raises
        ------
        AlertmanagerError
        """
        raw = json.dumps(body, separators=(",", ":")).encode("ascii")
        answer = self._client.post_json(_SILENCES, raw, timeout=self.settings.timeout, max_bytes=_LARGEST_ANSWER)
        self._check(answer)
        try:
            return _decode_made(answer.body)["silenceID"]
        except (msgspec.DecodeError, KeyError):
            raise AlertmanagerError(self.key, Reason.MALFORMED, "no silenceID in the answer") from None

    def end(self, silence: Silence) -> None:
        """End a silence.

        Raises
        ------
        AlertmanagerError
        """
        if not silence.id.replace("-", "").isalnum():
            raise AlertmanagerError(self.key, Reason.MALFORMED, "not the id of a silence")
        path = f"/api/v2/silence/{silence.id}"
        self._check(self._client.delete(path, timeout=self.settings.timeout, max_bytes=_LARGEST_ANSWER))

    def cancel(self) -> None:
        """Break off the request under way, from another thread."""
        self._client.cancel()

    def close(self) -> None:
        """Close idle connections."""
        self._client.close()

    def _check(self, answer: Reply) -> None:
        if answer.status == 200:
            return
        text = "".join(c if c.isprintable() else " " for c in answer.body[:800].decode(errors="replace")).strip()
        said = f"HTTP {answer.status}: {text[:_LONGEST_TEXT]}".removesuffix(": ")
        raise AlertmanagerError(self.key, _reason(answer.status), said, status=answer.status)


def _reason(status: int) -> Reason:
    if status in (401, 403):
        return Reason.UNAUTHORIZED
    if status in (400, 422):
        return Reason.REJECTED
    if status == 429:
        return Reason.RATE_LIMITED
    return Reason.UNAVAILABLE if status >= 500 else Reason.HTTP
