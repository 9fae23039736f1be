"""Silences as Alertmanager lists them, and an index of the silences of all Alertmanagers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

import msgspec

from exporter.alerting.identity import clean_value, with_plain
from exporter.calendar import (
    Matcher,
    MatcherError,
    Occurrence,
    SuppressionRule,
    Timeline,
    TimeWindow,
    all_match,
    format_instant,
    with_comment,
)
from exporter.silences.messages import Message, message_in

__all__ = ["AUTHOR", "Silence", "SilenceIndex", "SilenceList", "comment_of"]

AUTHOR = "anomaly-exporter"
"""``createdBy`` of the silences that this exporter creates."""

_OURS = re.compile(r"Calendar entry (?P<entry>\S+) until (?P<until>\S+)\. ")
_LAST = 253_402_300_799.0
"""The end of the year 9999, for dates after it."""


class _Matcher(msgspec.Struct):
    name: str
    value: str
    is_regex: bool = msgspec.field(name="isRegex")
    is_equal: bool = msgspec.field(name="isEqual", default=True)


class _Status(msgspec.Struct):
    state: str


class _Listed(msgspec.Struct):
    id: str
    status: _Status
    matchers: list[_Matcher]
    starts_at: str = msgspec.field(name="startsAt")
    ends_at: str = msgspec.field(name="endsAt")
    created_by: str = msgspec.field(name="createdBy", default="")
    comment: str = ""
    updated_at: str = msgspec.field(name="updatedAt", default="")
    annotations: object = None


# Decoders are made at import: msgspec is not safe where several threads are the first to decode a type.
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode = msgspec.json.Decoder(_Listed).decode


@dataclass(frozen=True)
class Silence:
    """One silence.

    Attributes
    ----------
    id : str
    matchers : tuple of Matcher
    window : TimeWindow
    started : str
        Its start as the Alertmanager wrote it: any other text would change the silence.
    expired : bool
        It is over, or was ended.
    author, comment : str
        At most 2 KiB, as values of labels.
    annotations : mapping
        By name: what people wrote beside the comment, such as a ticket.
    updated_at : float or None, Unix seconds
        When it was made or last changed, where the Alertmanager says so.
    message : Message or None
        What it is, where it silences nothing.
    """

    id: str
    matchers: tuple[Matcher, ...]
    window: TimeWindow
    started: str
    expired: bool
    author: str
    comment: str
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    updated_at: float | None = None
    message: Message | None = field(default=None, hash=False)

    @classmethod
    def unread(cls, identity: str, fingerprint: str, labels: Mapping[str, str], at: float) -> Silence:
        """Return a stand-in for a silence that cannot be read: it covers this alert now."""
        matchers = tuple(Matcher(name, "=", value) for name, value in sorted(labels.items()))
        return cls(f"{identity}/{fingerprint}", matchers, TimeWindow(at, _LAST), "", False, "", "")

    @property
    def made_at(self) -> float:
        """When it was made, Unix seconds: at the latest when it began, also where it was changed since."""
        return self.window.start if self.updated_at is None else min(self.window.start, self.updated_at)

    @property
    def ours(self) -> bool:
        """Whether it was created for the calendar."""
        return self.entry is not None

    @property
    def entry(self) -> str | None:
        """Name of the calendar entry that it was created for; None where it is not ours."""
        return None if self._mark is None else self._mark["entry"]

    @property
    def until(self) -> str:
        """The end that it was created with, as text; empty where it is not ours."""
        return "" if self._mark is None else self._mark["until"]

    @cached_property
    def _mark(self) -> re.Match[str] | None:
        return _OURS.match(self.comment) if self.author == AUTHOR else None

    @cached_property
    def rule(self) -> SuppressionRule:
        """Its effect on the series that it covers."""
        until = "" if self.window.end >= _LAST else f" until {format_instant(self.window.end)}"
        text = f"is silenced{until} by {self.author or 'somebody'}"
        return SuppressionRule("silence", 1.0, self.matchers, with_comment(text, self.comment))

    def covers(self, labels: Mapping[str, str]) -> bool:
        """Return whether its matchers match these labels."""
        return all_match(self.matchers, labels)


def comment_of(occurrence: Occurrence) -> str:
    """Return the comment of the silence of an occurrence, which `Silence.entry` reads back."""
    mark = f"Calendar entry {occurrence.name} until {format_instant(occurrence.window.end).replace(' ', '-')}. "
    more = f"{occurrence.comment}. " if occurrence.comment else ""
    return f"{mark}{more}Kept by {AUTHOR}: change the entry, not this silence."


class SilenceList:
    """Decodes the list of one Alertmanager; silences that did not change are not decoded again."""

    def __init__(self) -> None:
        self._decoded: dict[bytes, Silence] = {}

    def read(self, body: bytes) -> tuple[list[Silence], int]:
        """Return the silences of an answer to ``GET /api/v2/silences``, and how many could not be decoded.

        Raises
        ------
        ValueError
            It is not a list.
        """
        try:
            items = [bytes(raw) for raw in _decode_list(body)]
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise ValueError(f"not a list of silences: {error}") from None
        decoded: dict[bytes, Silence] = {}
        rejected = 0
        for item in items:
            silence = self._decoded.get(item) or self._silence(item)
            if silence is None:
                rejected += 1
            else:
                decoded[item] = silence
        self._decoded = decoded
        return list(decoded.values()), rejected

    def read_single(self, body: bytes) -> Silence:
        """Return the silence of an answer to ``GET /api/v2/silence/ID``; ValueError where it is none."""
        silence = self._decoded.get(body) or self._silence(body)
        if silence is None:
            raise ValueError("not a silence")
        return silence

    def _silence(self, item: bytes) -> Silence | None:
        try:
            listed = _decode(item)
            matchers = tuple(_matcher(matcher) for matcher in listed.matchers)
            window = TimeWindow(_instant(listed.starts_at), _instant(listed.ends_at))
        except (msgspec.DecodeError, MatcherError, ValueError, RecursionError, UnicodeDecodeError):
            return None
        if not matchers:
            return None
        expired = listed.status.state == "expired"
        notes = listed.annotations if isinstance(listed.annotations, dict) else {}
        annotations = {name: text for name, text in notes.items() if isinstance(text, str)}
        message = message_in(listed.created_by, listed.comment)
        author = clean_value(listed.created_by)
        comment = clean_value(listed.comment) if message is None else ""
        try:
            updated = _instant(listed.updated_at)
        except ValueError:
            updated = None
        return Silence(
            listed.id, matchers, window, listed.starts_at, expired, author, comment, annotations, updated, message
        )


class SilenceIndex:
    """The silences of all Alertmanagers, expired ones included. Immutable; safe for many threads.

    Parameters
    ----------
    silences : iterable of Silence
        A silence that several Alertmanagers list counts once.
    """

    def __init__(self, silences: Iterable[Silence] = ()) -> None:
        distinct = {silence.id: silence for silence in silences}
        self._timeline = Timeline(tuple(distinct.values()))
        self._index: tuple[object, _Index] = (None, _Index(()))

    @property
    def silences(self) -> tuple[Silence, ...]:
        """All silences, pending and expired ones included."""
        return self._timeline.items

    def same_as(self, other: SilenceIndex) -> bool:
        """Return whether both hold the same silences."""
        return set(map(id, self.silences)) == set(map(id, other.silences))

    def at(self, at: float) -> tuple[Silence, ...]:
        """Return those in effect at an instant, Unix seconds; the same object until one begins or ends."""
        return self._timeline.at(at)

    def covering(self, labels: Mapping[str, str], at: float) -> Iterator[Silence]:
        """Yield the silences that cover an alert at an instant."""
        active = self.at(at)
        # An Alertmanager that takes plain names only has silences about those.
        labels = with_plain(labels)
        indexed, index = self._index
        if indexed is not active:
            index = _Index(active)
            self._index = (active, index)
        return (silence for silence in index.candidates(labels) if silence.covers(labels))


class _Index:
    """Silences by one label value that they match, so that an alert is matched against few of thousands."""

    def __init__(self, silences: Sequence[Silence]) -> None:
        self._by_pair: dict[tuple[str, str], list[Silence]] = {}
        self._others: list[Silence] = []
        for silence in silences:
            pairs = [(m.name, m.value) for m in silence.matchers if m.operator == "=" and m.value]
            # Most silences share the name of an alert, so any other label is more selective.
            pairs.sort(key=lambda pair: pair[0] in ("alertname", "severity", "query"))
            (self._by_pair.setdefault(pairs[0], []) if pairs else self._others).append(silence)

    def candidates(self, labels: Mapping[str, str]) -> Iterator[Silence]:
        for pair in labels.items():
            yield from self._by_pair.get(pair, ())
        yield from self._others


def _matcher(listed: _Matcher) -> Matcher:
    if listed.is_regex:
        return Matcher(listed.name, "=~" if listed.is_equal else "!~", listed.value)
    return Matcher(listed.name, "=" if listed.is_equal else "!=", listed.value)


def _instant(text: str) -> float:
    if not text:
        raise ValueError("no time")
    # Alertmanager writes milliseconds, and a zone of its own.
    parsed = datetime.fromisoformat(text)
    if parsed.tzinfo is None:
        raise ValueError("a time without a zone")
    try:
        return parsed.timestamp()
    except OverflowError:
        return _LAST
