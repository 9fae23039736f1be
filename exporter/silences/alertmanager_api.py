"""Requests to one Alertmanager about silences and alert status."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from exporter.delivery.listing import alerts_filter
from exporter.delivery.response import text_of
from exporter.delivery.settings import AlertmanagerSettings
from exporter.errors import AlertmanagerError, Reason
from exporter.http_client import Client, HttpResponse
from exporter.silences.alert_status import AlertListing
from exporter.silences.silence import Silence, SilenceList

__all__ = ["AlertmanagerApi", "Cluster", "SilenceListing"]

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


@dataclass(frozen=True, slots=True)
class SilenceListing:
    """The silences of an Alertmanager.

    Attributes
    ----------
    silences : list of Silence
    rejected : int
        Silences that could not be decoded.
    complete : bool
        Whether expired ones are in it.
    """

    silences: list[Silence]
    rejected: int
    complete: bool


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
    on_date : callable
        Called with the ``Date`` of every answer.
    """

    def __init__(
        self,
        settings: AlertmanagerSettings,
        client: Client,
        on_date: Callable[[str], object] = lambda date: None,  # noqa: ARG005
    ) -> None:
        self.settings = settings
        self.key = settings.url
        self._client = client
        self._on_date = on_date
        self._list = SilenceList()

    def silences(self, max_bytes: int) -> SilenceListing:
        """Return all silences.

        Expired ones are left out where the list with them is too large or answered with an error: from 0.32 on one
        silence with several sets of matchers does that, and from 0.34 on they can be left out.
        """
        try:
            return SilenceListing(*self._get(_SILENCES, self._list.read, max_bytes), complete=True)
        except AlertmanagerError as fault:
            if fault.status is None and fault.reason is not Reason.TOO_LARGE:
                raise
            if fault.status is not None and fault.status < 500:
                raise
            try:
                active = self._get(_SILENCES, self._list.read, max_bytes, {"expired": "false"})
            except AlertmanagerError:
                raise fault from None
            return SilenceListing(*active, complete=False)

    def silence(self, identity: str) -> Silence | None:
        """Return one silence; None where there is none of this id."""
        try:
            return self._get(
                f"/api/v2/silence/{_path_part(self.key, identity)}", self._list.read_single, _LARGEST_ANSWER
            )
        except AlertmanagerError as fault:
            if fault.status == 404:
                return None
            raise

    def alerts(self, alertnames: Iterable[str], max_bytes: int, *, at: float) -> AlertListing:
        """Return the alerts with these names; `at` is now, Unix seconds."""
        params = {"filter": alerts_filter(alertnames)}
        groups: bytes | None = None
        # Some that speak this API have no groups.
        with suppress(AlertmanagerError):
            groups = self._get("/api/v2/alerts/groups", bytes, max_bytes, params)
        return self._get("/api/v2/alerts", lambda body: AlertListing.read(body, groups, at=at), max_bytes, params)

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
        path = f"/api/v2/silence/{_path_part(self.key, silence.id)}"
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
        self._on_date(answer.headers.get("Date", ""))
        if 200 <= answer.status <= 299:
            return
        message = f"HTTP {answer.status}: {text_of(answer.body)}".removesuffix(": ")
        raise AlertmanagerError(self.key, _reason(answer.status), message, status=answer.status)


def _path_part(key: str, identity: str) -> str:
    if not identity.replace("-", "").isalnum():
        raise AlertmanagerError(key, Reason.MALFORMED, "not the id of a silence")
    return identity


def _reason(status: int) -> Reason:
    if status in (401, 403):
        return Reason.UNAUTHORIZED
    if status in (400, 422):
        return Reason.REJECTED
    if status == 429:
        return Reason.RATE_LIMITED
    return Reason.UNAVAILABLE if status >= 500 else Reason.HTTP
