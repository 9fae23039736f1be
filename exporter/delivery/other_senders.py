"""Whether the end of an alert may be sent to an Alertmanager, or another sender keeps the alert active there. Pure.

The exporters of a pair send equal alerts, and may see the end of an anomaly in different slots. Alertmanager takes
whatever came last, so the first one must not say that it is over while the other sends it as firing: people would be
notified of an end, and then of the same anomaly again. It is over for them when it is for both.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto

from exporter.alerting.alert import Alert, fingerprint

__all__ = ["Ending", "OtherSenders", "pair_period"]

_LONGEST_ANSWER = 30.0
"""Seconds that the slot of another exporter may be behind ours: the default of `global.timeout`."""
_OFTEN = 15.0
"""Seconds between two sends of a firing alert where there is a pair, for queries with shorter intervals."""
_FRESH = 2.0
"""Seconds for which a listing is the present."""
_SILENT = 2.5
"""Periods without a send after which another sender does not keep an alert active any more."""


class Ending(Enum):
    """What to do about the end of an alert."""

    SEND = auto()
    WAIT = auto()
    """The other one may not have judged the slot."""
    LOOK = auto()
    """The Alertmanager has to be asked what it lists."""
    LEAVE = auto()
    """Another sender keeps it active."""


def pair_period(interval: float, resend_delay: float) -> float:
    """Return how often a firing alert is sent where there is a pair: in every slot, so that the other one sees it.

    A little less than the time between two slots, so that none is left out.

    >>> pair_period(60.0, 60.0), pair_period(1.0, 60.0), pair_period(1.0, 2.0)
    (45.0, 11.25, 1.5)
    """
    return 0.75 * min(resend_delay, max(interval, _OFTEN))


class OtherSenders:
    """What one Alertmanager lists, and what follows for the ends of alerts."""

    def __init__(self) -> None:
        self.at_work = False
        """Whether there may be another sender of the same alerts."""
        self._updates: Mapping[str, float] = {}
        self._looked_at = -1e300

    def take(self, updates: Mapping[str, float], *, skew: float, mono: float) -> None:
        """Take what is listed: when each alert was sent last, by fingerprint of all of its labels.

        Parameters
        ----------
        skew : float, seconds
            The clock of the Alertmanager minus ours.
        mono : float
            Monotonic seconds.
        """
        self._updates = {identity: at - skew for identity, at in updates.items()}
        self._looked_at = mono

    def ending(
        self, alert: Alert, sent_at: float, *, interval: float, resend_delay: float, now: float, mono: float
    ) -> Ending:
        """Return what to do about the end of an alert.

        Parameters
        ----------
        sent_at : float, Unix seconds
            When this process sent it last as firing.
        interval : float, seconds
            Between the slots of its query; zero for one that was removed.
        now, mono : float
            Unix and monotonic seconds.
        """
        if not self.at_work or alert.resolved_at is None:
            return Ending.SEND
        if self.wait(alert, interval=interval, resend_delay=resend_delay, now=now) > 0.0:
            return Ending.WAIT
        if mono - self._looked_at > _FRESH:
            return Ending.LOOK
        # As it is listed, with the labels that it got when it fired.
        updated = self._updates.get(fingerprint({name: value for name, value in alert.labels.items() if value}))
        if updated is None or updated <= max(alert.resolved_at, sent_at + 0.5):
            return Ending.SEND
        silent = _SILENT * max(interval, pair_period(interval, resend_delay))
        return Ending.LEAVE if now - updated <= silent else Ending.SEND

    @staticmethod
    def wait(alert: Alert, *, interval: float, resend_delay: float, now: float) -> float:
        """Return in how many seconds another exporter that still sees the anomaly has sent it again; 0: it has.

        The same for every Alertmanager: members of a cluster are to hear of an end at the same time, because one that
        has not heard of it notifies again of what another has said to be over.
        """
        period = pair_period(interval, resend_delay)
        between = period + interval if period > interval else 0.0
        patience = between + min(_LONGEST_ANSWER, 0.8 * interval) + min(3.0, interval)
        passed = now - (now if alert.resolved_at is None else alert.resolved_at)
        # Where the clock was set back, nothing is waited for.
        return max(0.0, patience - passed) if passed >= 0.0 else 0.0
