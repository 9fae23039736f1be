"""Metrics of drift of one query; the search for changepoints runs in a thread beside the slots.

A changepoint by itself changes nothing, because an incident is one, too. Where it is as old as a level shift has to be,
and the samples since then confirm that the baseline does not fit, the series is learned anew.
"""

from __future__ import annotations

import logging
import threading
from contextlib import suppress

import numpy as np
import numpy.typing as npt

from exporter.config.plan import QueryPlan
from exporter.engine.drift import DriftState, changepoint
from exporter.engine.engine import Engine
from exporter.engine.season import SEASONS
from exporter.engine.series import Labels, labels_of
from exporter.errors import ExporterError
from exporter.evaluation.context import EvaluationContext
from exporter.evaluation.history import HISTORY_TIMEOUT

__all__ = ["DriftMetrics"]

log = logging.getLogger(__name__)

_ROUND, _SEARCH = 60.0, 3600.0
"""Seconds from one measurement to the next, and from one search for changepoints to the next."""
_HOUR, _HOURS, _RECENT = 3600.0, 28 * 24, 24
"""Of the history that is searched, and in which a change is news."""
_NAMED = 3
"""Series that a line of the log names at most."""
_MOST_SERIES = 1000
"""Queries with more are not searched: all of their history would have to be read to look at a few."""


class DriftMetrics:
    """Measures one query; its owner calls it from one thread at a time."""

    def __init__(self, plan: QueryPlan, context: EvaluationContext) -> None:
        self._plan, self._context = plan, context
        self._measured = self._searched = -np.inf
        self._search: threading.Thread | None = None
        self._turn = 0
        # By series: how many seconds ago its newest level began, as of `at`. Written by the thread as a whole.
        self._changes: tuple[float, dict[Labels, float]] = (-np.inf, {})

    def update(self, engine: Engine, at: float) -> None:
        """Update the metrics, if a minute has passed; `at` is the slot, Unix seconds."""
        settings, metrics, name = self._plan.drift, self._context.ports.metrics, self._plan.name
        if engine.relearned:
            metrics.drift_relearned_total.labels(query=name).inc(len(engine.relearned))
            named = [engine.table.labels(row) for row in engine.relearned[:_NAMED] if engine.table.in_use(row)]
            some = "; ".join(",".join(f"{label}={value}" for label, value in series) for series in named)
            more = {"query": name, "series": len(engine.relearned), "such_as": some}
            log.info("series that were anomalous too often are learned anew", extra=more)
            engine.relearned.clear()
        if 0.0 <= at - self._measured < _ROUND:
            return
        self._measured = at
        drift = engine.drift
        used = [row for row, _ in engine.table.items()]
        self._relearn(engine, drift)
        for season, count in zip(SEASONS, np.bincount(engine.seasons[used], minlength=len(SEASONS)), strict=True):
            metrics.series_seasonality.labels(query=name, season=season).set(int(count))
        if settings.anomalous_ratio is not None and used:
            metrics.drift_anomalous_ratio.labels(query=name).set(float(drift.often[used].mean()))
            often = int(np.count_nonzero(drift.often[used] > settings.anomalous_ratio))
            metrics.drift_series.labels(query=name, kind="anomalous").set(often)
        if settings.stability_index is not None and used:
            if np.isfinite(drift.index):
                metrics.drift_stability_index.labels(query=name).set(drift.index)
                over = drift.index > settings.stability_index
                metrics.drift_profile_moved.labels(query=name).set(over)
            moved = int(np.count_nonzero(np.abs(drift.moved[used]) > 1.0))
            metrics.drift_series.labels(query=name, kind="moved").set(moved)
        running = self._search is not None and self._search.is_alive()
        if settings.changepoints and not running and abs(at - self._searched) >= _SEARCH:
            self._searched = at
            chosen = self._choose(engine, np.array(used, np.intp))
            if chosen:
                self._search = threading.Thread(target=self._find, args=(chosen, at), name="changepoints", daemon=True)
                self._search.start()

    def _relearn(self, engine: Engine, drift: DriftState) -> None:
        """Learn the series anew whose changepoint is old enough and is confirmed."""
        (at, changes), settings = self._changes, self._plan.drift
        self._changes = (at, {})
        if not changes or not settings.relearn:
            return
        moved = settings.stability_index is not None and drift.index > settings.stability_index
        rows = []
        for row, labels in engine.table.items():
            # What was accepted, or learned anew, fits since then, and is not confirmed.
            if changes.get(labels, 0.0) >= self._plan.baseline.accept_level_shift_after:
                often = settings.anomalous_ratio is not None and drift.often[row] > settings.anomalous_ratio
                if often or (moved and abs(drift.moved[row]) > 1.0):
                    rows.append(row)
        if rows:
            log.info(
                "a changepoint is confirmed: the series are learned anew",
                extra={"query": self._plan.name, "series": len(rows)},
            )
            engine.relearn(np.array(rows, np.intp))

    def join(self, timeout: float) -> None:
        """Wait for a search that is under way."""
        if self._search is not None:
            self._search.join(timeout)

    def _choose(self, engine: Engine, used: npt.NDArray[np.intp]) -> set[Labels]:
        """Return the series that are searched in this round: those that drift most, and the others in rotation."""
        if not len(used) or len(used) > _MOST_SERIES:
            return set()
        drift = engine.drift
        bad = np.fmax(drift.often[used], 0.0) + np.fmin(np.nan_to_num(np.abs(drift.moved[used])), 10.0)
        count = min(len(used), self._plan.drift.changepoint_series)
        order = np.argsort(-bad, kind="stable")
        worst, others = used[order[: (count + 1) // 2]], np.sort(used[order[(count + 1) // 2 :]])
        turn = np.roll(others, -self._turn)[: count // 2]
        self._turn = (self._turn + count // 2) % max(1, len(others))
        return {engine.table.labels(row) for row in (*worst.tolist(), *turn.tolist())}

    def _find(self, chosen: set[Labels], at: float) -> None:
        """Search for changepoints, in a thread and with a connection of its own."""
        plan, context = self._plan, self._context
        hours: dict[Labels, list[npt.NDArray[np.float64]]] = {labels: [] for labels in chosen}
        end = at - context.settings.query_offset
        api = context.ports.connect()
        try:
            start = end - (_HOURS - 1) * _HOUR
            for block in api.history(plan.expr, start, end, _HOUR, timeout=HISTORY_TIMEOUT, series=_MOST_SERIES):
                column = {labels_of(key): index for index, key in enumerate(block.keys)}
                for labels, parts in hours.items():
                    index = column.get(labels)
                    parts.append(np.full(len(block.times), np.nan) if index is None else block.values[:, index])
            begun = {labels: changepoint(np.concatenate(parts)) for labels, parts in hours.items() if parts}
            changes = list(begun.values())
        except ExporterError as fault:
            log.warning("changepoints could not be searched", extra={"query": plan.name, "error": str(fault)})
            return
        except Exception:
            log.exception("changepoints could not be searched", extra={"query": plan.name})
            return
        finally:
            with suppress(Exception):
                api.close()
        self._changes = (at, {labels: (_HOURS - hour) * _HOUR for labels, hour in begun.items() if hour is not None})
        changed = sum(hour is not None and hour >= _HOURS - _RECENT for hour in changes)
        context.ports.metrics.drift_examined_series.labels(query=plan.name).set(len(changes))
        context.ports.metrics.drift_series.labels(query=plan.name, kind="changepoint").set(changed)
        if changed:
            log.info("levels changed within a day", extra={"query": plan.name, "series": changed, "of": len(changes)})
