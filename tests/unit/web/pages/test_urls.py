from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import pytest

from exporter.web.pages.models import DisplayError, TimeRange
from exporter.web.pages.urls import labels_from, series_url, time_range_from
from tests.page_facts import EVIL

NOW = 1772323200.0
HOUR = 3600.0


@pytest.mark.parametrize(
    "labels",
    [
        (),
        (("instance", "a:9100"), ("job", "node")),
        (("from", "x"), ("query", "y"), ("to", "z")),
        (("label.from", "x"), ("label.label.to", "y")),
        (("a", EVIL), ("size", "1"), ("theme", "&=")),
    ],
    ids=["none", "plain", "reserved", "escaped already", "evil"],
)
def test_labels_come_back_from_an_series_url(labels):
    found = parse_qsl(urlsplit(series_url("graph", "cpu", labels, TimeRange(0.0, 60.0), part="band")).query)
    assert labels_from(found) == labels
    assert dict(found)["query"] == "cpu"
    assert dict(found)["to"] == "60"


@pytest.mark.parametrize(
    ("since", "until", "start", "end"),
    [
        ("1772319600", "1772323200", NOW - HOUR, NOW),
        ("1772319600.250", "1772323200.5", NOW - HOUR + 0.25, NOW + 0.5),
        ("1772319600000", "1772323200000", NOW - HOUR, NOW),
        ("now-6h", "now", NOW - 6 * HOUR, NOW),
        ("now-1h30m", "", NOW - 1.5 * HOUR, NOW),
        ("now-2d", "now-1d", NOW - 48 * HOUR, NOW - 24 * HOUR),
        ("2026-02-28T23:00:00Z", "2026-03-01T00:00:00.000Z", NOW - HOUR, NOW),
        ("2026-02-28 23:00", "2026-03-01T01:00:00+01:00", NOW - HOUR, NOW),
        ("", "1772323200", NOW - 12 * HOUR, NOW),
    ],
)
def test_ranges_are_read_as_prometheus_and_grafana_write_them(since: str, until: str, start: float, end: float) -> None:
    assert time_range_from({"from": since, "to": until}, NOW) == TimeRange(start, end)


@pytest.mark.parametrize("text", ["x", "now+1h", "now-", "now-6", "now/d", "nan", "-inf", "1e99", "-5", "2026-13-01"])
def test_what_is_no_time_is_refused_with_the_forms_that_are(text: str) -> None:
    with pytest.raises(DisplayError, match=r"from: Unix seconds, 2026-03-01T09:00:00Z, now, or now-6h"):
        time_range_from({"from": text, "to": "now"}, NOW)


@pytest.mark.parametrize(("since", "until"), [("now", "now"), ("now", "now-1h"), ("now-32d", "now"), ("now-30s", "")])
def test_a_range_has_a_sensible_length(since: str, until: str) -> None:
    with pytest.raises(DisplayError, match="a minute to 31 days apart"):
        time_range_from({"from": since, "to": until}, NOW)


def test_without_both_it_is_left_to_the_page() -> None:
    assert time_range_from({}, NOW) is None
    assert time_range_from({"from": "", "to": ""}, NOW) is None
