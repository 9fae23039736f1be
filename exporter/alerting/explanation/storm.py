"""A storm in words: how many, what they have in common, and the worst of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from exporter.alerting.label_index import FrequentLabel
from exporter.alerting.labels import bounded_annotations

__all__ = ["WORST", "explain_storm"]

WORST = 5
"""How many of its members are shown."""


def explain_storm(
    query: str,
    worst: Sequence[Mapping[str, str]],
    *,
    now: int,
    total: int,
    series: int,
    excess: Sequence[FrequentLabel],
    since: float,
    things: str = "series",
) -> dict[str, str]:
    """Return the annotations of a storm.

    Parameters
    ----------
    query : str
        What the members are series of.
    worst : sequence of mapping
        The annotations that its worst members would have alone, the worst first; at least one. What the storm does not
        say itself is taken from the first, so a user's templates are filled in for that one.
    now, total, series : int
        How many members are anomalous now and were so far, and how many series there are in all.
    excess : sequence of Excess
        Label values that are far more frequent among the members.
    since : float, Unix seconds
        When its first member turned.
    things : str
        What the members are.

    Examples
    --------
    >>> found = explain_storm("latency", [{"summary": "latency of pod=a is 9, expected 1"}], now=480, total=500,
    ...                       series=5000, excess=[Excess("zone", "b", 470, 600)], since=0.0)
    >>> print(found["summary"])
    480 of 5000 series of latency are anomalous together, mostly zone=b; the worst: latency of pod=a is 9, expected 1
    >>> found["in_common"]
    'zone=b: 470 of 480 members, 600 of all 5000'
    """
    first = worst[0]
    mostly = ", ".join(f"{one.name}={one.value}" for one in excess)
    told = f"{now} of {series} {things} of {query} {'is' if now == 1 else 'are'} anomalous together"
    if mostly:
        told += f", mostly {mostly}"
    own = {
        "summary": f"{told}; the worst: {first.get('summary', '')}",
        "members": f"{now} of {series} {things}" + (f", {total} in the course of it" if total > now else ""),
        "in_common": "\n".join(
            f"{one.name}={one.value}: {one.members} of {now} members, {one.series} of all {series}" for one in excess
        ),
        "worst": "\n".join(one.get("summary", "") for one in worst),
        "since": datetime.fromtimestamp(since, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    return bounded_annotations({**first, **own})
