from __future__ import annotations

import math
from dataclasses import replace

import pytest

from exporter.alerting.explanation.explanation import explain_series
from exporter.alerting.explanation.input import ExplanationInput, LimitAhead
from exporter.alerting.explanation.limit import time_range

HOUR, DAY = 3600.0, 86400.0
WEDNESDAY = 1_795_615_200.0  # 2026-11-25 14:00 UTC
FULL = ExplanationInput(
    query="disk",
    labels={"alertname": "x", "query": "disk", "mountpoint": "/data"},
    series={"mountpoint": "/data"},
    at=WEDNESDAY,
    since=WEDNESDAY,
    observed=0.81,
    expected=0.8,
    unit="ratio",
    limit=LimitAhead(0.95, above=True, earliest=2 * DAY, latest=4 * DAY, probability=0.92, within=4 * DAY),
)


def texts(case: ExplanationInput) -> dict[str, str]:
    return dict(explain_series(case, {}).annotations)


@pytest.mark.parametrize(
    ("earliest", "latest", "text"),
    [
        (2.2 * DAY, 4.4 * DAY, "in 2 to 4 days"),
        (1.9 * DAY, 2.2 * DAY, "in about 2 days"),
        (26 * HOUR, 40 * HOUR, "in 26 to 40 hours"),
        (5 * HOUR, math.inf, "in 5 hours or later"),
        (1.4 * HOUR, 1.45 * HOUR, "in 84 to 87 minutes"),
        (20.0, 50.0, "in about 1 minute"),
    ],
)
def test_a_range_of_time_is_short(earliest: float, latest: float, text: str) -> None:
    assert time_range(earliest, latest) == text


def test_the_summary_says_when_and_how_sure_it_is() -> None:
    said = texts(FULL)
    assert said["summary"] == (
        "disk of mountpoint=/data will reach 95 % in 2 to 4 days (Fri 27 Nov 14:00 to Sun 29 Nov 14:00), "
        "probability 92 % within 4 d; it is 81 %"
    )
    assert said["limit"] == ("95 % in 2 to 4 days (Fri 27 Nov 14:00 to Sun 29 Nov 14:00), probability 92 % within 4 d")


def test_a_limit_below_an_end_that_is_open_and_a_zone() -> None:
    assert FULL.limit is not None
    limit = replace(FULL.limit, value=0.1, above=False, latest=math.inf, probability=0.999)
    summary = texts(replace(FULL, observed=0.2, limit=limit, zone="Europe/Berlin"))["summary"]
    assert summary.endswith(
        "will be down to 10 % in 2 days or later (Fri 27 Nov 15:00 at the earliest Europe/Berlin), "
        "probability over 99 % within 4 d; it is 20 %"
    )


def test_what_is_full_is_full() -> None:
    assert FULL.limit is not None
    case = replace(FULL, observed=0.96, limit=replace(FULL.limit, earliest=0.0, latest=0.0, probability=1.0))
    assert texts(case)["summary"] == "disk of mountpoint=/data has reached its limit of 95 %: it is 96 %"
    assert texts(case)["limit"] == "95 % is reached"


def test_without_a_limit_nothing_is_said_of_it() -> None:
    assert "limit" not in texts(replace(FULL, limit=None))
