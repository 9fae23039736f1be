"""Past and open anomalies, and what other settings would have made of them."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from exporter import __version__
from exporter.config.plan import QueryPlan
from exporter.errors import StateError
from exporter.settings import format_duration
from exporter.views.anomalies import alert_status_texts, notes_of
from exporter.views.incidents import (
    LabelsOf,
    episode_row,
    firing_annotations,
    incident_members,
    labels_by,
    list_episodes,
    shown_range,
    timeline,
)
from exporter.views.program import Program
from exporter.views.what_if import follow, what_if
from exporter.web.api import ApiError, ErrorType
from exporter.web.api.what_if import OtherSettings, WhatIf, WhatIfParameters
from exporter.web.pages.incident_models import AnomaliesPage, AnomalyFilter, IncidentPage, WhatIfPage
from exporter.web.pages.models import (
    DisplayError,
    EpisodeRow,
)

__all__ = ["PastViews"]

log = logging.getLogger(__name__)


class PastViews:
    """The pages about the past; they read the store and the verdicts that are kept."""

    def __init__(self, program: Program) -> None:
        self._program = program

    def anomalies(self, filters: AnomalyFilter) -> AnomaliesPage:
        """Return a page of episodes."""
        program = self._program
        at, config = program.clock(), program.config()
        rows, cursor = self.rows(filters, at)
        return AnomaliesPage(at, config.global_.timezone, __version__, rows, sorted(program.evaluators()), cursor)

    def incident(self, episode: str) -> IncidentPage:
        """Return one episode with all that happened to it and beside it."""
        program, at = self._program, self._program.clock()
        try:
            result = program.episodes.get(episode)
            members = [] if result is None else incident_members(program.episodes, result[0])
        except StateError as fault:
            raise self._no_store(fault) from fault
        if result is None:
            raise DisplayError(f"there is no anomaly {episode[:64]!r}; its time in the store may be over")
        whole, entries = result
        row = episode_row(whole, self._labels_of())
        shown = shown_range(whole, at)
        own = {**dict(row.labels), "query": whole.query}
        changes = program.changes(own, shown.start, whole.resolved_at or at)
        fires = whole.fired_at is not None and whole.resolved_at is None
        status = program.alert_status(whole.labels, whole.fired_at or 0.0) if fires else ()
        annotations: Mapping[str, str] = {}
        if whole.resolved_at is None:
            annotations = program.alert_snapshots.read().annotations(whole.query, whole.fingerprint)
        return IncidentPage(
            at=at,
            zone=program.config().global_.timezone,
            version=__version__,
            episode=row,
            shown=shown,
            timeline=timeline(entries, members, changes, status),
            notes=notes_of(annotations or firing_annotations(entries)),
            remarks=alert_status_texts(status),
            members=[episode_row(member, self._labels_of()) for member in members],
            chat=f"{row.state}: {whole.summary or whole.query}",
        )

    def rows(self, filters: AnomalyFilter, at: float, **limit: int) -> tuple[list[EpisodeRow], str]:
        """Return rows and the cursor of the next page; with a `limit`, none where the store fails."""
        try:
            return list_episodes(self._program.episodes, filters, self._labels_of(), at, **limit)
        except StateError as fault:
            if limit:
                # The rest of the overview is in memory.
                self._no_store(fault)
                return [], ""
            raise self._no_store(fault) from fault

    def _labels_of(self) -> LabelsOf:
        program = self._program
        plans = {name: evaluator.plan for name, evaluator in program.evaluators().items()}

        def names(query: str) -> frozenset[str]:
            latest = program.latest.get(query)
            return frozenset() if latest is None else latest.names.label_names

        return labels_by(plans, names)

    @staticmethod
    def _no_store(fault: StateError) -> DisplayError:
        log.error("the store failed", extra={"error": str(fault)})
        return DisplayError("the store cannot be used now; the log says why", 503)

    def what_if(self, plan: QueryPlan, settings: OtherSettings | None) -> WhatIfPage:
        """Return what other settings would have made of the alerts of a query."""
        at = self._program.clock()
        waits = 0.0 if plan.alert is None else plan.alert.for_
        tried = OtherSettings() if settings is None else settings
        fields = (
            ("min_deviation", f"Least deviation (now {plan.min_deviation:g})", tried.min_deviation),
            ("min_relative_deviation", "Least relative deviation", tried.min_relative_deviation),
            ("quorum", f"Votes (now {plan.detection.quorum})", tried.quorum),
            ("for", f"For (now {format_duration(waits)})", None if tried.for_ is None else format_duration(tried.for_)),
        )
        texts = [(name, text, "" if value is None else str(value)) for name, text, value in fields]
        result = self._what_if(plan, settings, at)
        return WhatIfPage(at, self._program.config().global_.timezone, __version__, result, texts)

    def what_if_of(self, request: WhatIfParameters) -> WhatIf:
        """Return the same for the API; raises `ApiError`."""
        evaluator = self._program.evaluators().get(request.query)
        if evaluator is None:
            raise ApiError(ErrorType.NOT_FOUND, f"no query is called {request.query!r}")
        tried = OtherSettings(request.min_deviation, request.min_relative_deviation, request.quorum, request.for_)
        return self._what_if(evaluator.plan, None if tried == OtherSettings() else tried, self._program.clock())

    def _what_if(self, plan: QueryPlan, settings: OtherSettings | None, at: float) -> WhatIf:
        program = self._program
        latest = program.latest.get(plan.name)
        series = [] if latest is None else [labels for labels in latest.names.labels if labels is not None]
        followed, alerts = follow(plan, program.episodes, program.verdicts, lambda: series, at)
        return what_if(plan, followed, alerts, settings)
