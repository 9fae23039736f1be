"""Requests to one Alertmanager about silences and alert status."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

import msgspec

from exporter.delivery.response import text_of
from exporter.delivery.settings import AlertmanagerSettings
from exporter.errors import AlertmanagerError, Reason
from exporter.http_client import Client, HttpResponse
from exporter.silences.alert_status import AlertListing, alerts_filter
from exporter.silences.silence import Silence, SilenceList

__all__ = ["AlertmanagerApi", "Cluster"]

T = TypeVar("T")

_SILENCES = "/api/v2/silences"
_LARGEST_ANSWER = 1024 * 1024
_LONGEST_TEXT = 200


class _Member(msgspec.Struct):
    name: str = ""


class Cluster(msgspec.Struct):
    """The cluster of an Alertmanager, whose members share silences; an empty name where there is none."""

    name: str = ""
    peers: list[_Member] = []

    @property
    def members(self) -> frozenset[str]:
        """Names of all members, itself included."""
        return frozenset(peer.name for peer in self.peers if peer.name) | ({self.name} if self.name else frozenset())


class _Status(msgspec.Struct):
    cluster: Cluster = msgspec.field(default_factory=Cluster)


# Made at import: msgspec is not safe where several threads are the first to decode a type.
_decode_status = msgspec.json.Decoder(_Status).decode
_decode_created = msgspec.json.Decoder(dict[str, str]).decode


class AlertmanagerApi:
    """Requests to one Alertmanager, by one thread at a time. Methods that send raise `AlertmanagerError`.

    Parameters
    ----------
    settings : AlertmanagerSettings
    client : Client
        Used by nothing else.
    """

    def __init__(self, settings: AlertmanagerSettings, client: Client) -> None:
        self.settings = settings
        self.key = settings.url
        self._client = client
        self._list = SilenceList()

    def silences(self, max_bytes: int) -> tuple[list[Silence], int]:
        """Return all silences, and how many could not be decoded."""
        return self._get(_SILENCES, self._list.read, max_bytes)

    def alerts(self, alertnames: Iterable[str], max_bytes: int, *, at: float) -> AlertListing:
        """Return the alerts with these names; `at` is now, Unix seconds."""
        params = {"filter": alerts_filter(alertnames)}
        return self._get("/api/v2/alerts", lambda body: AlertListing.read(body, at=at), max_bytes, params)

    def cluster(self) -> Cluster:
        """Return its cluster."""
        return self._get("/api/v2/status", _decode_status, _LARGEST_ANSWER).cluster

    def put_silence(self, body: Mapping[str, object]) -> str:
        """Create or update a silence; return its id."""
        raw = json.dumps(body, separators=(",", ":")).encode("ascii")
        answer = self._client.post_json(_SILENCES, raw, timeout=self.settings.timeout, max_bytes=_LARGEST_ANSWER)
        self._check(answer)
        try:
            return _decode_created(answer.body)["silenceID"]
        except (msgspec.DecodeError, KeyError):
            raise AlertmanagerError(self.key, Reason.MALFORMED, "no silenceID in the answer") from None

    def end_silence(self, silence: Silence) -> None:
        """End a silence."""
        if not silence.id.replace("-", "").isalnum():
            raise AlertmanagerError(self.key, Reason.MALFORMED, "not the id of a silence")
        path = f"/api/v2/silence/{silence.id}"
        self._check(self._client.delete(path, timeout=self.settings.timeout, max_bytes=_LARGEST_ANSWER))

    def cancel(self) -> None:
        """Break off the request under way; may be called from another thread."""
        self._client.cancel()

    def close(self) -> None:
        """Close idle connections."""
        self._client.close()

    def _get(
        self, path: str, decode: Callable[[bytes], T], max_bytes: int, params: Mapping[str, str] | None = None
    ) -> T:
        answer = self._client.get(path, params, timeout=self.settings.timeout, max_bytes=max_bytes)
        self._check(answer)
        try:
            return decode(answer.body)
        except (ValueError, msgspec.DecodeError) as error:
            raise AlertmanagerError(self.key, Reason.MALFORMED, str(error)[:_LONGEST_TEXT]) from None

    def _check(self, answer: HttpResponse) -> None:
        if answer.status == 200:
            return
        message = f"HTTP {answer.status}: {text_of(answer.body)}".removesuffix(": ")
        raise AlertmanagerError(self.key, _reason(answer.status), message, status=answer.status)


def _reason(status: int) -> Reason:
    if status in (401, 403):
        return Reason.UNAUTHORIZED
    if status in (400, 422):
        return Reason.REJECTED
    if status == 429:
        return Reason.RATE_LIMITED
    return Reason.UNAVAILABLE if status >= 500 else Reason.HTTP
