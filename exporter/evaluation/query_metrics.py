"""The exporter's own metrics about one query."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from time import perf_counter

import numpy as np

from exporter.alerting.alert import Alert, AlertState
from exporter.engine.calibration import Calibration
from exporter.engine.seconds import WEEK
from exporter.engine.verdict import Aligned, Verdict
from exporter.errors import PrometheusError, Reason
from exporter.exposition import SERIES_STATES, PageRows, SelfMetrics
from exporter.prometheus import Frame, HistoryChunk

__all__ = ["QueryMetrics", "count_warnings"]

log = logging.getLogger(__name__)

_COVERAGE_MEMORY = 86400.0
"""Seconds over which the share of samples inside the band is averaged."""
_ANSWERED = frozenset({Reason.BAD_DATA, Reason.EXECUTION, Reason.TOO_LARGE})
"""Failures of the query, and not of the server."""


def count_warnings(metrics: SelfMetrics, query: str, answer: Frame | HistoryChunk) -> None:
    """Count the warnings of an answer, and whether it is partial."""
    if answer.warnings:
        metrics.query_warnings_total.labels(query=query).inc(len(answer.warnings))
    if answer.partial:
        metrics.partial_answers_total.labels(query=query).inc()


class QueryMetrics:
    """Counts and gauges of one query."""

    def __init__(self, metrics: SelfMetrics, query: str, source: str) -> None:
        self._metrics = metrics
        self.asks(source)
        self._query = query
        self._children = metrics.children(query=query)
        self._coverage: float | None = None
        self._empty = False
        self._refused = 0
        self.trouble: str | None = None
        """Why the newest slot has no verdict; None where it has one."""
        self.remark: str | None = None
        """Why series may be missing in the newest answer; None where it is whole."""
        self._warned: tuple[str, ...] = ()
        self.judged_ratio = 0.0
        """Part of the series of the newest answer that was judged, 0 to 1."""
        self.unjudged = ""
        """Why that is not all of it."""
        self._whole = 0
        self._left_out = (False, False)
        metrics.watch(query)

    def asks(self, source: str) -> None:
        """Name the server that is asked from now on."""
        self._source_up = self._metrics.source_up.labels(source=source)

    def resume(self, source: str) -> None:
        """Go on under another configuration: what the newest slot has shown holds until the next."""
        self.asks(source)
        self._children.of(self._metrics.judged_ratio).set(self.judged_ratio)

    def begin(self) -> None:
        """Count an evaluation that begins."""
        self._children.of(self._metrics.cycles_total).inc()

    def failed(self, why: str = "an internal error; the log says more") -> None:
        """Count an evaluation without a verdict."""
        self.trouble = why
        self._set_ratio(0.0, why)
        self._children.of(self._metrics.cycles_failed_total).inc()

    def refused(self, fault: PrometheusError, *, history: bool = False) -> None:
        """Count an evaluation, or a part of `history`, to which the source gave no usable answer."""
        self.failed(f"{fault.reason}: {fault.message}")
        self._children.of(self._metrics.query_errors_total, reason=str(fault.reason)).inc()
        # Where only history fails, the query itself was answered.
        self._source_up.set(history or fault.reason in _ANSWERED)
        more = {"query": self._query, "reason": str(fault.reason), "error": fault.message}
        log.warning("the query failed", extra=more)
        self._refused += 1

    def judged(
        self,
        verdict: Verdict,
        aligned: Aligned,
        frame: Frame,
        rows: PageRows,
        *,
        series: int,
        interval: float,
        never_empty: bool,
        history: bool = True,
    ) -> None:
        """Set the metrics of a slot that was judged.

        Parameters
        ----------
        rows : PageRows
            Where they are on the page.
        series : int
            How many the query has.
        interval : float
            Seconds between slots.
        never_empty : bool
            Whether an answer without series is a fault: the expression filters nothing, and the engine is too young to
            know when its series are away.
        history : bool
            Whether there was history to learn; without it, series that are too young to alert are not judged.
        """
        metrics, child = self._metrics, self._children.of
        self.trouble = None
        # Not after a single one: a server that fails now and then would have two lines for each.
        if self._refused > 1:
            log.info("the query is answered again", extra={"query": self._query, "failed": self._refused})
        self._refused = 0
        self._source_up.set(1)
        child(metrics.last_success_timestamp_seconds).set(verdict.at)
        here = int(np.count_nonzero(~np.isnan(verdict.observed)))
        masked = int(np.count_nonzero(verdict.masked))
        is_scored = verdict.ready & ~verdict.masked & ~verdict.absent
        scored = int(np.count_nonzero(is_scored))
        refused = aligned.refused + frame.refused
        young, gone = here - scored - masked, series - here
        child(metrics.series_absent).set(int(np.count_nonzero(verdict.absent & verdict.ready)))
        self.series(scored=scored, warming_up=young, no_data=gone, masked=masked, over_limit=refused)
        self._note_ratio(verdict, aligned, frame, rows, series, never_empty=never_empty, history=history)
        self._note_emptiness(series)
        self.rejected(
            over_limit=refused,
            duplicate=aligned.repeated,
            malformed=frame.unreadable.rows,
            own_output=frame.own,
        )
        self._note_warnings(frame)
        if scored:
            inside = 1.0 - np.count_nonzero(verdict.anomalous & is_scored) / scored
            share = min(1.0, interval / _COVERAGE_MEMORY)
            self._coverage = inside if self._coverage is None else self._coverage + share * (inside - self._coverage)
            child(metrics.band_coverage_ratio).set(self._coverage)

    def beginning(self, first_score_at: float, mature_at: float) -> None:
        """Set when the first score and the first alert may come, Unix seconds; NaN: unknown, or it is there."""
        gauges = self._metrics.first_score_timestamp_seconds, self._metrics.alerts_from_timestamp_seconds
        for gauge, at in zip(gauges, (first_score_at, mature_at), strict=True):
            if math.isfinite(at):
                self._children.of(gauge).set(at)
            else:
                self._children.remove(gauge)

    def _note_warnings(self, frame: Frame) -> None:
        """Count the warnings of a slot; log them when they begin, change and end: an outage has many slots."""
        count_warnings(self._metrics, self._query, frame)
        first = next(iter(frame.warnings), None)
        self.remark = None
        if frame.partial:
            self.remark = f"the answer is not whole, series may be missing: {first or frame.unreadable}"
        elif frame.own:
            self.remark = f"{frame.own} rows that this exporter wrote itself are left out"
        self._note_left_out(frame)
        if frame.warnings == self._warned:
            return
        more = {"query": self._query, "warning": first, "partial": frame.partial}
        if frame.warnings:
            log.warning("prometheus warns", extra=more)
        else:
            log.info("prometheus does not warn any more", extra={"query": self._query})
        self._warned = frame.warnings

    def _note_left_out(self, frame: Frame) -> None:
        """Log once, and again when it changes, that rows of the answer are not taken."""
        left_out = (frame.unreadable.rows > 0, frame.own > 0)
        if left_out == self._left_out:
            return
        self._left_out = left_out
        more: dict[str, object] = {"query": self._query}
        if frame.unreadable.rows:
            more["unreadable"] = str(frame.unreadable)
        if frame.own:
            more["own"] = frame.own
        if any(left_out):
            log.warning("rows of the answer are left out", extra=more)
        else:
            log.info("all rows of the answer are taken again", extra={"query": self._query})

    def _note_ratio(
        self,
        verdict: Verdict,
        aligned: Aligned,
        frame: Frame,
        rows: PageRows,
        series: int,
        *,
        never_empty: bool,
        history: bool,
    ) -> None:
        """Note how much of the answer was judged: what cannot be read, has no room or no labels of its own was not."""
        here = ~np.isnan(verdict.observed)
        shown = here.copy()
        shown[rows.hidden(verdict.score)] = False
        young = 0 if history else int(np.count_nonzero(shown & ~verdict.ready))
        left_out = {
            "are over a limit": aligned.refused + frame.refused,
            "have labels that another has": int(np.count_nonzero(here & ~shown)) + aligned.repeated,
            "are too young, because history cannot be read": young,
        }
        judged = int(np.count_nonzero(shown)) - young
        left_out["are what this exporter wrote itself"] = frame.own
        rejected = aligned.repeated + aligned.refused + frame.refused + frame.unreadable.rows + frame.own
        total = int(np.count_nonzero(here)) + rejected
        if frame.partial:
            # As many as the last whole answer had, or are known of before it: what is missing now was not judged.
            whole = self._whole or series
            left_out["are missing in an answer that is not whole"] = max(0, whole - total)
            total = max(total, whole)
        else:
            self._whole = total
        if total:
            texts = [f"{count} {text}" for text, count in left_out.items() if count]
            if frame.unreadable.rows:
                texts.append(f"{frame.unreadable.rows} cannot be read ({frame.unreadable})")
            self._set_ratio(judged / total, f"of {total} series {', '.join(texts)}" if texts else "")
        elif not series or never_empty or not np.isnan(verdict.missing_since).all():
            # A query that never had a series watches nothing, and so does one whose series should be there.
            self._set_ratio(0.0, "the answer has no series")
        else:
            self._set_ratio(1.0, "")

    def _set_ratio(self, ratio: float, why: str) -> None:
        self.judged_ratio, self.unjudged = ratio, why
        self._children.of(self._metrics.judged_ratio).set(ratio)

    def history(self, *, incomplete: bool) -> None:
        """Note whether all of history was read."""
        self.trouble = None
        self._children.of(self._metrics.history_incomplete).set(incomplete)

    def expect(self, calibration: Calibration) -> None:
        """Set how many false alerts a week are expected; no value where too little was judged to know."""
        rates = (calibration.false.expected, calibration.false.lower, calibration.false.upper)
        for gauge, rate in zip(self._metrics.expected_false_alerts.values(), rates, strict=True):
            if math.isnan(rate):
                self._children.remove(gauge)
            else:
                self._children.of(gauge).set(rate * WEEK)

    def _note_emptiness(self, series: int) -> None:
        """Log once that the query has no series: a typo in an expression is no error to Prometheus."""
        if self._empty == (not series):
            return
        self._empty = not series
        if self._empty:
            log.warning("the query gives no series; they are watched once they are there", extra={"query": self._query})
        else:
            log.info("the query has series now", extra={"query": self._query, "series": series})

    def rejected(self, **reasons: int) -> None:
        """Count series of an answer that could not be used, by reason."""
        for reason, count in reasons.items():
            if count:
                self._children.of(self._metrics.series_rejected_total, reason=reason).inc(count)

    def shifted(self, series: int) -> None:
        """Count series whose level was accepted as their new normal."""
        if not series:
            return
        self._children.of(self._metrics.level_shifts_total).inc(series)
        log.info("series have a new normal", extra={"query": self._query, "series": series})

    def series(self, **states: int) -> None:
        """Set how many series there are in each state; 0 in those that are not given."""
        for state in SERIES_STATES:
            self._children.of(self._metrics.series, state=state).set(states.get(state, 0))

    def alerts(self, alerts: Iterable[Alert]) -> None:
        """Set how many alerts there are in each state."""
        states = [alert.state for alert in alerts]
        for state in AlertState:
            self._children.of(self._metrics.alerts, state=str(state)).set(states.count(state))

    def disagrees(self, ratio: float | None) -> None:
        """Show how far another exporter of the same series has other alerts; None where there is none."""
        gauge = self._metrics.pair_disagreement_ratio
        if ratio is None:
            self._children.remove(gauge)
        else:
            self._children.of(gauge).set(ratio)

    @contextmanager
    def timed(self, phase: str, beat: Callable[[float], None], allowed: float) -> Iterator[None]:
        """Observe the duration of a phase of an evaluation; `beat` tells the watchdog how long it may wait."""
        begin = perf_counter()
        beat(allowed)
        try:
            yield
        finally:
            took = perf_counter() - begin
            self._children.of(self._metrics.cycle_duration_seconds, phase=phase).observe(took)
            beat(0.0)
