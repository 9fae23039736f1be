"""What to send to one Alertmanager now, and what to make of its answer. No socket, no thread, no clock.

There is no queue. What is due follows from what is (the board) and what the Alertmanager has confirmed (the acks), so
nothing can overflow, get lost or be sent in the wrong order: a request that failed leaves everything due, and
the next one is built from what is true by then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from exporter.alerting.alert import Alert, AlertState
from exporter.alerting.labels import validate
from exporter.alerting.settings import AlertingSettings
from exporter.delivery.alert_snapshot import Snapshot
from exporter.delivery.payload import Outgoing, payload, validity
from exporter.delivery.resend_policy import Ack, Due, due, owed
from exporter.delivery.response import Kind, Outcome
from exporter.delivery.settings import AlertmanagerSettings

__all__ = ["Batch", "Offender", "Outbox", "Settled"]

_FIRST_WAIT = 0.5
_LEAST_WAIT = 0.05
_LONGEST_WAIT = 30.0
_QUARANTINE = 900.0
_LOOK = 5.0
"""Seconds after which everything is looked at again although nothing was published."""
_REFUSALS = 32
"""Refused requests in a row after which it is left in peace for a while: it may be at fault, and not the alerts."""


@dataclass(frozen=True, slots=True)
class Offender:
    """An alert that is not sent for a quarter of an hour because it is refused."""

    alert: Alert
    text: str


@dataclass(frozen=True, slots=True)
class Batch:
    """One request: its alerts as they were when it was made, the slot of each, and its body."""

    alerts: tuple[Alert, ...]
    slots: tuple[float, ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class Settled:
    """What an answer came to.

    Attributes
    ----------
    acked : tuple of (fingerprint, episode, state)
        As sent.
    early : int
        Of these, episodes whose end was taken without this Alertmanager having confirmed that they fired.
    wait : float
        Seconds until the next request.
    """

    acked: tuple[tuple[str, str, AlertState], ...] = ()
    early: int = 0
    wait: float = 0.0


class Outbox:
    """The state of the conversation with one Alertmanager.

    Parameters
    ----------
    settings : AlertmanagerSettings
    limits : AlertingSettings
    random : callable
        Uniform in [0, 1), for the jitter of retries.
    acks : mapping
        By fingerprint: what it had confirmed before this start.
    """

    def __init__(
        self,
        settings: AlertmanagerSettings,
        limits: AlertingSettings,
        *,
        random: Callable[[], float],
        acks: Mapping[str, Ack] | None = None,
    ) -> None:
        self._random = random
        self._acks = dict(acks or {})
        self._fails = 0
        self._refusals = 0
        self._retry_at = 0.0
        self._suspects: list[str] = []
        self._quarantine: dict[str, float] = {}
        self._offenders: list[Offender] = []
        self._final: float | None = None
        self._ahead = (0.0, 0.0)
        self._board: Snapshot | None = None
        self._where: dict[str, str] = {}
        self._queue: list[str] = []
        self._look_at = 0.0
        self._dirty: dict[str, float] = {}
        self._limit = settings.batch_size
        self.configure(settings, limits)

    def configure(self, settings: AlertmanagerSettings, limits: AlertingSettings) -> None:
        """Use other settings from the next request on; what was confirmed stays."""
        self._settings = settings
        self._limits = limits
        self._limit = min(self._limit, settings.batch_size)
        self._retry_at = 0.0
        self._board = None

    def hurry(self, mono: float, *, last_words: bool) -> None:
        """Forget all waiting, because the end is near.

        Parameters
        ----------
        mono : float
            Monotonic seconds.
        last_words : bool
            Send every firing alert once more, whenever it was sent last.
        """
        if last_words:
            self._final = mono
        self._fails = 0
        self._retry_at = 0.0
        self._board = None

    @property
    def dirty(self) -> int:
        """How many alerts were due when it was last looked."""
        return len(self._dirty)

    @property
    def oldest_dirty(self) -> float | None:
        """Since when the alert that has waited longest is due, in monotonic seconds."""
        # A copy, because metrics are read by another thread.
        return min(list(self._dirty.values()), default=None)

    def next(self, board: Snapshot, *, now: float, mono: float) -> Batch | None:
        """Return the next request, or None if there is nothing to send before `wake_at`.

        Parameters
        ----------
        board : Snapshot
            The newest one.
        now : float
            Unix seconds.
        mono : float
            Monotonic seconds.
        """
        self._keep_time(now, mono)
        if board is not self._board or mono >= self._look_at:
            self._look(board, now, mono)
        if mono < self._retry_at:
            return None
        wanted = self._suspects[: (len(self._suspects) + 1) // 2] or self._queue
        alerts: list[Alert] = []
        slots: list[float] = []
        outgoing: list[Outgoing] = []
        for identity in wanted:
            if len(alerts) >= self._limit:
                break
            found = self._pick(board, identity, now, mono)
            if found is None:
                continue
            alert, _ = found
            if faults := validate(alert, utf8=self._settings.utf8_labels):
                self._set_apart(alert, "; ".join(faults), mono)
                continue
            sheet = board.sheets[self._where[identity]]
            alerts.append(alert)
            slots.append(sheet.at)
            outgoing.append(Outgoing(alert, validity(sheet.interval, self._limits.resend_delay)))
        if alerts:
            return Batch(tuple(alerts), tuple(slots), payload(outgoing, now=now, ahead=self._ahead[0]))
        if self._suspects:
            # None of that half is there any more; the fault, if it is still there, is in what is left.
            self._suspects = []
            return self.next(board, now=now, mono=mono)
        return None

    def wake_at(self, mono: float) -> float:
        """Return when to ask again if nothing is published before, in monotonic seconds."""
        return min(self._look_at, self._retry_at) if self._queue and mono < self._retry_at else self._look_at

    def settle(self, batch: Batch, outcome: Outcome, *, mono: float) -> Settled:
        """Take note of how a request ended."""
        if outcome.kind is Kind.TAKEN:
            return self._taken(batch, mono)
        suspects, self._suspects = self._suspects, []
        if outcome.kind is Kind.REFUSED and self._refusals < _REFUSALS:
            self._refusals += 1
            self._refused(batch, outcome, mono)
            return Settled()
        if outcome.kind is Kind.TOO_LARGE and len(batch.alerts) > 1:
            self._limit = max(1, len(batch.alerts) // 2)
            self._suspects = suspects
            return Settled()
        if outcome.kind is Kind.TOO_LARGE:
            self._set_apart(batch.alerts[0], outcome.text, mono)
            return Settled()
        self._fails += 1
        self._refusals = 0
        longest = min(_LONGEST_WAIT, validity(0.0, self._limits.resend_delay) / 8)
        wait = longest
        if outcome.kind is Kind.LATER:
            window = min(longest, _FIRST_WAIT * 2.0 ** min(self._fails - 1, 16))
            wait = max(window * self._random(), _LEAST_WAIT, outcome.wait)
        self._retry_at = mono + wait
        return Settled(wait=wait)

    def offenders(self) -> list[Offender]:
        """Return the alerts that were set apart since the last call."""
        found, self._offenders = self._offenders, []
        return found

    def _taken(self, batch: Batch, mono: float) -> Settled:
        early = 0
        acked = []
        for alert, slot in zip(batch.alerts, batch.slots, strict=True):
            before = self._acks.get(alert.fingerprint)
            known = before is not None and before.episode == alert.episode
            early += alert.state is AlertState.RESOLVED and not known
            self._acks[alert.fingerprint] = Ack(alert.episode, alert.state, slot, mono)
            self._dirty.pop(alert.fingerprint, None)
            acked.append((alert.fingerprint, alert.episode, alert.state))
        self._fails = self._refusals = 0
        self._retry_at = 0.0
        # Slowly, because each step too far costs a refused request.
        self._limit = min(self._settings.batch_size, self._limit + max(1, self._limit // 16))
        sent = {alert.fingerprint for alert in batch.alerts}
        self._queue = [identity for identity in self._queue if identity not in sent]
        if self._board is not None and sent & self._board.superseded.keys():
            # The end of an episode may have been sent, and the next one waits for it.
            self._board = None
        if self._suspects:
            # It is not in this half, so it is in the other one.
            self._suspects = [identity for identity in self._suspects if identity not in sent]
            self._found_it(mono, "refused together with others that were taken without it")
        return Settled(tuple(acked), early)

    def _refused(self, batch: Batch, outcome: Outcome, mono: float) -> None:
        # It is in here. What is not in here is due as it was, and comes with the next requests.
        self._suspects = [alert.fingerprint for alert in batch.alerts]
        self._found_it(mono, outcome.text)

    def _found_it(self, mono: float, text: str) -> None:
        if len(self._suspects) != 1 or self._board is None:
            return
        identity = self._suspects.pop()
        sheet = self._board.sheets.get(self._where.get(identity, ""))
        alert = None if sheet is None else sheet.alerts.get(identity)
        if alert is not None:
            self._set_apart(alert, text, mono)

    def _set_apart(self, alert: Alert, text: str, mono: float) -> None:
        self._quarantine[alert.fingerprint] = mono + _QUARANTINE
        self._offenders.append(Offender(alert, text))

    def _look(self, board: Snapshot, now: float, mono: float) -> None:
        """Find everything that is due, in the order in which it is sent."""
        self._board = board
        self._look_at = mono + _LOOK
        self._quarantine = {identity: until for identity, until in self._quarantine.items() if until > mono}
        self._where = {identity: query for query, sheet in board.sheets.items() for identity in sheet.alerts}
        # What was confirmed before this start is kept until its query has had its first slot.
        self._acks = {
            identity: ack
            for identity, ack in self._acks.items()
            if identity in self._where or mono - ack.at < self._limits.outage_tolerance
        }
        found: list[tuple[Due, float, str]] = []
        for identity in self._where:
            picked = self._pick(board, identity, now, mono)
            if picked is not None:
                alert, why = picked
                since = alert.resolved_at if why is Due.RESOLVED else alert.fired_at
                found.append((why, since or 0.0, identity))
        found.sort()
        self._queue = [identity for _, _, identity in found]
        self._dirty = {identity: self._dirty.get(identity, mono) for identity in self._queue}

    def _pick(self, board: Snapshot, identity: str, now: float, mono: float) -> tuple[Alert, Due] | None:
        """Return what has to be said of a fingerprint now, and why."""
        if identity in self._quarantine or identity not in self._where:
            return None
        sheet = board.sheets.get(self._where[identity])
        alert = None if sheet is None else sheet.alerts.get(identity)
        if sheet is None or alert is None:
            return None
        ack = self._acks.get(identity)
        last = board.superseded.get(identity)
        if last is not None and owed(last, alert, ack, self._limits, now=now):
            return last, Due.RESOLVED
        if alert.state is AlertState.PENDING and ack is not None and ack.episode == alert.episode:
            # It had fired before `for` was raised. Nothing is said until it fires again, and then at once.
            self._acks[identity] = replace(ack, state=AlertState.PENDING)
        why = due(alert, ack, sheet, self._limits, now=now, mono=mono)
        if why is None and self._is_last_word(alert, ack):
            why = Due.AGAIN
        return None if why is None else (alert, why)

    def _is_last_word(self, alert: Alert, ack: Ack | None) -> bool:
        if self._final is None or ack is None or alert.state is not AlertState.FIRING:
            return False
        return ack.at < self._final and ack.state is AlertState.FIRING

    def _keep_time(self, now: float, mono: float) -> None:
        """Carry on with what the time would be if the clock had never been set back."""
        ahead, then = self._ahead
        self._ahead = (max(now, ahead + (mono - then) if ahead else now), mono)
