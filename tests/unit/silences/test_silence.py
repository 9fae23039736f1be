"""Silences as Alertmanager lists them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from exporter.calendar import Occurrence, TimeWindow, parse_matcher
from exporter.silences.silence import Silence, SilenceIndex, SilenceList, comment_of


def listed(identity: str = "a", **changes: Any) -> dict[str, Any]:
    return {
        "id": identity,
        "status": {"state": "active"},
        "updatedAt": "2027-01-01T00:00:00.000Z",
        "matchers": [{"name": "job", "value": "api", "isRegex": False, "isEqual": True}],
        "startsAt": "2027-01-01T00:00:00.123Z",
        "endsAt": "2027-01-01T02:00:00.000+01:00",
        "createdBy": "eve",
        "comment": "disk swap",
        **changes,
    }


def read(*silences: object) -> tuple[list[Silence], int]:
    return SilenceList().read(json.dumps(silences).encode())


def silence(identity: str, *match: str, begin: float = 0.0, end: float = 100.0, expired: bool = False) -> Silence:
    return Silence(identity, tuple(map(parse_matcher, match)), TimeWindow(begin, end), "", expired, "eve", "")


def test_a_silence_is_read() -> None:
    (found,), rejected = read(listed())
    assert rejected == 0
    assert (found.id, found.author, found.comment, found.expired, found.ours) == ("a", "eve", "disk swap", False, False)
    assert found.window == TimeWindow(1798761600.123, 1798765200.0)
    assert found.started == "2027-01-01T00:00:00.123Z"
    assert found.covers({"job": "api"})
    assert not found.covers({"job": "web"})
    assert found.rule.text == "is silenced until 2027-01-01T01:00:00Z by eve: disk swap"


@pytest.mark.parametrize(
    ("matcher", "covered"),
    [
        ({"value": "a.*", "isRegex": True, "isEqual": True}, True),
        ({"value": "a.*", "isRegex": True, "isEqual": False}, False),
        ({"value": "web", "isRegex": False, "isEqual": False}, True),
        # Before 0.22 there was no isEqual.
        ({"value": "api", "isRegex": False}, True),
        ({"value": "[[:alpha:]]+", "isRegex": True}, True),
    ],
)
def test_every_kind_of_matcher_is_understood(matcher: dict[str, Any], covered: bool) -> None:
    (found,), _ = read(listed(matchers=[{"name": "job", **matcher}]))
    assert found.covers({"job": "api"}) is covered


@pytest.mark.parametrize(
    "strange",
    [
        None,
        1,
        {},
        listed(matchers=[]),
        listed(matchers=[{"name": "a", "value": "(", "isRegex": True}]),
        listed(matchers=[{"name": "a", "value": 5, "isRegex": False}]),
        listed(startsAt="yesterday"),
        listed(endsAt=None),
        listed(status=None),
        listed(id=None),
    ],
    ids=str,
)
def test_what_cannot_be_understood_is_counted_and_costs_no_other_silence(strange: object) -> None:
    found, rejected = read(listed("a"), strange, listed("b"))
    assert ([one.id for one in found], rejected) == (["a", "b"], 1)


@pytest.mark.parametrize("body", [b"", b"{}", b"null", b"<html>", b"[", b"\xff", b"[" * 100_000])
def test_what_is_no_list_is_an_error(body: bytes) -> None:
    with pytest.raises(ValueError, match="not a list"):
        SilenceList().read(body)


def test_a_silence_that_did_not_change_is_the_same_object() -> None:
    reader = SilenceList()
    first, _ = reader.read(json.dumps([listed("a"), listed("b")]).encode())
    second, _ = reader.read(json.dumps([listed("a"), listed("b", comment="more")]).encode())
    assert second[0] is first[0]
    assert second[1] is not first[1]


def test_ours_are_known_by_author_and_comment() -> None:
    occurrence = Occurrence("night/ly", "silence", 1.0, (parse_matcher("a=b"),), TimeWindow(0.0, 1798765200.0), "batch")
    comment = comment_of(occurrence)
    assert comment.startswith("Calendar entry night/ly until 2027-01-01T01:00:00Z. batch. Kept by anomaly-exporter")
    (ours, forged, hers), _ = read(
        listed("a", createdBy="anomaly-exporter", comment=comment),
        listed("b", createdBy="eve", comment=comment),
        listed("c", createdBy="anomaly-exporter", comment="made by hand"),
    )
    assert (ours.entry, ours.until, ours.ours) == ("night/ly", "2027-01-01T01:00:00Z", True)
    assert (forged.ours, hers.ours) == (False, False)


def test_a_book_says_which_silences_cover_an_alert_now() -> None:
    book = SilenceIndex(
        [
            silence("equal", "job=api", "severity=page"),
            silence("regex", "job=~a.*"),
            silence("negative", "zone!=b"),
            silence("other", "job=web"),
            silence("later", "job=api", begin=50.0),
            silence("empty", 'team=""', "job=api"),
        ]
    )
    labels = {"alertname": "A", "job": "api", "severity": "page"}
    assert {one.id for one in book.covering(labels, 10.0)} == {"equal", "regex", "negative", "empty"}
    assert {one.id for one in book.covering({**labels, "zone": "b", "team": "x"}, 60.0)} == {"equal", "regex", "later"}
    assert list(book.covering(labels, 100.0)) == []
    assert book.at(10.0) is book.at(20.0)


def test_the_same_silence_in_two_alertmanagers_counts_once() -> None:
    assert len(SilenceIndex([silence("a", "job=api"), silence("a", "job=api")]).silences) == 1
