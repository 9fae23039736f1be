"""Who is quiet when: the calendar, announced events and silences, and all that follows from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from exporter.calendar import Calendar
from exporter.config.model import Config
from exporter.delivery import AlertSnapshots, connect_to
from exporter.exposition import SelfMetrics
from exporter.feedback.episodes import EpisodeFeedback
from exporter.feedback.silence_comments import Acknowledger
from exporter.silences import SilenceWatcher, Told, told_alertnames
from exporter.silences.log import SilenceLog
from exporter.store import Store
from exporter.suppression.active_events import ActiveEvents
from exporter.suppression.announced_events import AnnouncedEvents
from exporter.suppression.sample_masks import SampleMasks

__all__ = ["Suppression"]

_FIRST = 2.0
"""Seconds that a start waits for the first list of silences."""


class Suppression:
    """Builds and joins what concerns known events and silences.

    Parameters
    ----------
    store : Store
    feedback : EpisodeFeedback
    board : AlertSnapshots
    clock : callable
        Unix seconds.
    metrics : SelfMetrics

    Attributes
    ----------
    events : AnnouncedEvents
        Those that are announced at run time.
    """

    def __init__(
        self,
        store: Store,
        feedback: EpisodeFeedback,
        board: AlertSnapshots,
        *,
        clock: Callable[[], float],
        metrics: SelfMetrics,
    ) -> None:
        self._clock = clock
        self._known = ActiveEvents(lambda: self._watch.book)
        self._watch = SilenceWatcher(
            connect=connect_to,
            calendar=lambda: self._known.calendar,
            ledger=SilenceLog(store.calendar, clock),
            clock=clock,
            registry=metrics.registry,
            alertnames=lambda: told_alertnames(board.read()),
            followed=Acknowledger(board, feedback).follow,
        )
        self.events = AnnouncedEvents(store.calendar, self._known, self._watch.poke)
        self.events.load()
        for action in ("silence", "ignore", "expect"):
            metrics.known_events.labels(action).set_function(partial(self._in_effect, action))

    @property
    def calendar(self) -> Calendar:
        """The calendar in force."""
        return self._known.calendar

    @property
    def alive(self) -> bool:
        """Whether silences are followed."""
        return self._watch.alive

    def told(self, labels: Mapping[str, str], since: float) -> tuple[Told, ...]:
        """Return what Alertmanagers make of an alert that fires since then."""
        return self._watch.told(labels, since)

    def apply(self, config: Config) -> SampleMasks:
        """Go by a configuration; return how its queries are treated."""
        self._known.configure(config.calendar, config.global_.timezone)
        self._watch.apply(config.alertmanagers, config.silences)
        utf8 = bool(config.alertmanagers) and all(one.utf8_labels for one in config.alertmanagers)
        return SampleMasks(self._known, config.global_.external_labels, utf8_labels=utf8)

    def start(self) -> None:
        """Begin to follow silences, and wait a moment: the first slot must not learn what is silenced."""
        self._watch.start()
        self._watch.wait(_FIRST)

    def stop(self) -> None:
        """End. Silences that were made stay: they have an end, and the next start goes on with them."""
        self._watch.stop(1.0)

    def _in_effect(self, action: str) -> float:
        return float(sum(one.action == action for one in self._known.calendar.at(self._clock())))
