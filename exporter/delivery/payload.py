"""Request body of ``POST /api/v2/alerts``, as Prometheus writes it.

Both ends of an alert are always sent. Without an end Alertmanager would use its own timeout; with an end and no start
it would start the alert at its end.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from exporter.alerting.alert import Alert, AlertState
from exporter.alerting.identity import plain_labels
from exporter.alerting.limits import is_link

__all__ = ["PATH", "Outgoing", "payload", "validity"]

PATH = "/api/v2/alerts"

_SHORTEST_VALIDITY = 240.0
"""Seconds; longer than any planned restart of this program."""

_AGREES = 300.0
"""Seconds by which the receiver's clock and ours may differ before only the receiver's counts."""
_EXACT = 1.0
"""Seconds: a ``Date`` is no more exact."""

_LAST_MILLISECOND = 253_402_300_799_999
"""Of the year 9999, the last one that RFC 3339 can write."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """Alert to send and its validity in seconds: ``endsAt`` is now plus `validity`."""

    alert: Alert
    validity: float


def validity(interval: float, resend_delay: float) -> float:
    """Return the validity of a firing alert in seconds: at least until two evaluations or two sends have failed.

    >>> validity(interval=60.0, resend_delay=120.0)
    480.0
    """
    return max(4 * max(interval, resend_delay), _SHORTEST_VALIDITY)


def payload(alerts: Sequence[Outgoing], *, now: float, theirs: float | None = None, utf8: bool = False) -> bytes:
    """Return the request body for alerts that are firing or resolved, as of `now`.

    Parameters
    ----------
    now : float
        When it is sent: every attempt gives a firing alert its full validity.
    theirs : float, optional
        What time it is at the receiver. An end counts from there where the clocks differ by minutes: it must not be in
        the receiver's past, nor far in its future. No start, and no end of a resolved alert, is in its future.
    utf8 : bool
        Whether the Alertmanager takes label names of any form; if not, they are rewritten by `plain_labels`.
    """
    # ASCII with escapes can write any text, lone surrogates too.
    return json.dumps(
        [_postable(outgoing, now, theirs, utf8=utf8) for outgoing in alerts], separators=(",", ":")
    ).encode("ascii")


def _postable(outgoing: Outgoing, now: float, theirs: float | None, *, utf8: bool) -> dict[str, object]:
    alert = outgoing.alert
    labels = {name: value for name, value in alert.labels.items() if value}
    starts = alert.active_at if alert.fired_at is None else alert.fired_at
    if theirs is not None:
        starts = min(starts, theirs + _EXACT)
    if alert.state is AlertState.RESOLVED:
        # An end in the future would keep it firing until then.
        latest = now if theirs is None or abs(theirs - now) <= _EXACT else min(now, theirs)
        ends = latest if alert.resolved_at is None else min(alert.resolved_at, latest)
    else:
        from_now = max(now, starts)
        if theirs is not None:
            from_now = theirs if abs(theirs - now) > _AGREES else max(from_now, theirs)
        ends = from_now + outgoing.validity
    return {
        "annotations": dict(alert.annotations),
        "endsAt": _instant(max(starts, ends)),
        "startsAt": _instant(starts),
        # Alertmanager refuses an alert whose link is invalid.
        "generatorURL": alert.generator_url if is_link(alert.generator_url) else "",
        "labels": dict(labels if utf8 else plain_labels(labels)),
    }


def _instant(at: float) -> str:
    seconds, milliseconds = divmod(min(max(round(at * 1000), 0), _LAST_MILLISECOND), 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{milliseconds:03d}Z"
