"""Suppression of samples and alerts: the calendar, announced events and silences."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from exporter.alerting.episode import Episode
from exporter.calendar import Calendar, Occurrence, all_match
from exporter.config.model import Config
from exporter.delivery import AlertmanagerSettings, AlertSnapshots, ReceiverClocks, connect_to
from exporter.errors import StateError
from exporter.exposition import SelfMetrics
from exporter.feedback.replicas import EventChanges, Replicas
from exporter.feedback.silence_comments import Acknowledger
from exporter.silences import AlertStatus, Exchange, SentAlert, SilenceWatcher, firing_alertnames
from exporter.store import Store
from exporter.suppression.active_events import ActiveEvents
from exporter.suppression.announced_events import AnnouncedEvents
from exporter.suppression.sample_masks import SampleMasks

__all__ = ["Suppression"]

_ENOUGH = 3
"""Events of a name during which alerts of a query were expected, before those of the next are not raised."""
_LISTED = 900.0
"""Seconds after its last alert that a name is still asked for."""
_FIRST = 2.0
"""Seconds that a start waits for the first list of silences."""


class Suppression:
    """Joins the calendar, announced events and the silences of Alertmanagers.

    Parameters
    ----------
    store : Store
    alert_snapshots : AlertSnapshots
    clock : callable
        Unix seconds.
    metrics : SelfMetrics
    clocks : ReceiverClocks, optional
        Shared with the senders.
    shard : tuple of int
        (index, count): the part of the series that is evaluated here.

    Attributes
    ----------
    events : AnnouncedEvents
        The events that are announced at run time.
    """

    def __init__(
        self,
        store: Store,
        alert_snapshots: AlertSnapshots,
        *,
        clock: Callable[[], float],
        metrics: SelfMetrics,
        clocks: ReceiverClocks | None = None,
        shard: tuple[int, int] = (0, 1),
    ) -> None:
        self._clock = clock
        self._correlated = False
        self._all_names: frozenset[str] = frozenset()
        self._started_at = clock()
        self._sharded = shard[1] > 1
        self._named: dict[str, float] = {}
        self._active = ActiveEvents(lambda: self._watch.index)
        self._watch = SilenceWatcher(
            connect=connect_to,
            calendar=lambda: self._active.calendar,
            created_log=store.silences,
            clock=clock,
            clocks=clocks,
            registry=metrics.registry,
            alertnames=lambda: self._recent_names(firing_alertnames(alert_snapshots.read())),
            on_read=Acknowledger(
                alert_snapshots,
                store.episodes,
                lambda: self._watch.settings,
                lambda silence: self._watch.listed_under(silence),
            ).follow,
            exchange=Exchange(lambda *each: self._replicas.take(*each), lambda at: self._replicas.pending(at)),
        )
        self.events = AnnouncedEvents(store.events, self._active, self._watch.wake, clock)
        self.events.load()
        self._replicas = Replicas(
            store,
            shard=shard,
            settings=lambda: self._watch.settings,
            events=EventChanges(self.events.all, self.events.removed, self.events.take, self.events.take_removal),
            firing_since=self._watch.firing_since,
        )
        self._episodes = store.episodes
        store.episodes.note_events(self._events_during)
        store.episodes.on_feedback(lambda feedback: self._heard())  # noqa: ARG005
        self._follow_verdicts()
        for action in ("silence", "ignore", "expect", "note"):
            metrics.known_events.labels(action).set_function(partial(self._count, action))

    def _recent_names(self, firing: frozenset[str]) -> frozenset[str]:
        """Return the names of alerts that an Alertmanager may still list, though some do not fire here any more."""
        now = self._clock()
        self._named |= dict.fromkeys(firing, now)
        self._named = {name: at for name, at in self._named.items() if abs(now - at) <= _LISTED}
        # What others have sent matters before any fires here: to incidents, and to one that has just been started.
        others = self._correlated or self._sharded or self._replicas.paired()
        if others or 0.0 <= now - self._started_at < _LISTED:
            return self._all_names.union(self._named)
        return frozenset(self._named)

    def _events_during(self, episode: Episode) -> list[tuple[str, float]]:
        """Return name and start of the events during an episode that are about its series."""
        end = episode.opened_at if episode.resolved_at is None else episode.resolved_at
        return [
            (each.name, each.window.start)
            for each in self.calendar.between(episode.opened_at, end)
            if each.action in ("note", "expect", "ignore") and all_match(each.matchers, episode.labels)
        ]

    def paired(self) -> bool:
        """Return whether another exporter may send the same alerts; cheap."""
        return self._replicas.paired()

    def sent_elsewhere(self) -> list[tuple[str, float, Mapping[str, str]]]:
        """Return fingerprint, onset and labels of the alerts that other processes may have sent."""
        if not (self._sharded or self._replicas.paired()):
            return []
        return [(identity, sent.onset, sent.labels) for identity, sent in self._watch.sent_alerts().items()]

    def sent_alerts(self) -> Mapping[str, SentAlert]:
        """Return the active alerts that Alertmanagers list, whoever sent them, by fingerprint."""
        return self._watch.sent_alerts()

    def _heard(self) -> None:
        self._follow_verdicts()
        # Other exporters are to hear of it soon.
        self._watch.wake()

    def _follow_verdicts(self) -> None:
        """Expect alerts during events of which enough were expected before."""
        try:
            during = self._episodes.expected_during()
        except StateError:
            return  # Those of the last time are near enough.
        expected: dict[str, set[str]] = {}
        for (name, query), starts in during.items():
            if len(starts) >= _ENOUGH:
                expected.setdefault(name, set()).add(query)
        self._active.expect_alerts(expected)

    def widen(self, bands: Iterable[Occurrence]) -> None:
        """Replace the times in which bands are others, after changes."""
        self._active.widen(bands)

    def unlearn(self, incidents: Iterable[Occurrence]) -> None:
        """Replace the times of incidents, which are not learned."""
        self._active.unlearn(incidents)

    @property
    def calendar(self) -> Calendar:
        """The calendar in force."""
        return self._active.calendar

    @property
    def alive(self) -> bool:
        """Whether silences are followed."""
        return self._watch.alive

    def statuses(self, labels: Mapping[str, str], since: float) -> tuple[AlertStatus, ...]:
        """Return the status of an alert that fires since then in each Alertmanager."""
        return self._watch.status(labels, since)

    def incident_labels(self, identity: str) -> Mapping[str, str]:
        """Return the labels of the incident under which an Alertmanager has an alert, by its fingerprint."""
        return self._watch.incident_labels(identity)

    def alertmanagers(self) -> Mapping[str, str | None]:
        """Return the URL of every Alertmanager, and why it could not list its silences; None where it could."""
        return self._watch.troubles()

    def follow(self, alertmanagers: Sequence[AlertmanagerSettings], config: Config) -> None:
        """Follow the silences of these Alertmanagers from now on."""
        self._watch.apply(alertmanagers, config.silences)

    def apply(self, config: Config, alertmanagers: Sequence[AlertmanagerSettings]) -> SampleMasks:
        """Apply a configuration, and follow its Alertmanagers; return the masks of its queries."""
        rules = [*(query.rule for query in config.queries), *(group.rule for group in config.groups)]
        self._all_names = frozenset(rule.alertname for rule in rules if rule is not None)
        self._correlated = bool(config.dependencies or config.groups)
        self._active.configure(config.calendar, config.global_.timezone)
        self._active.calendar.prepare(self._clock())
        self.follow(alertmanagers, config)
        return SampleMasks(self._active, config.global_.external_labels)

    def start(self) -> None:
        """Begin to follow silences, and wait for the first list: the first slot must not learn silenced samples."""
        self._watch.start()
        self._watch.wait(_FIRST)

    def stop(self) -> None:
        """End. Silences of ours stay in Alertmanager: they have an end, and the next start goes on with them."""
        self._watch.stop(1.0)

    def _count(self, action: str) -> float:
        return float(sum(occurrence.action == action for occurrence in self._active.calendar.at(self._clock())))
