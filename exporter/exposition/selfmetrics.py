"""The exporter's own metrics, by prometheus-client in a registry of their own.

The metrics of each Alertmanager are in `exporter.delivery`, in the same registry. Names end in their unit; there is a
counter of all and a counter of the failed, never a ``success`` label.
"""

from __future__ import annotations

from collections.abc import Collection

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

from exporter.alerting.episode import Feedback
from exporter.errors import Reason
from exporter.exposition.build_information import build_information
from exporter.exposition.children import Children, UnreadChildren
from exporter.store.errors import StoreReason

__all__ = ["SERIES_STATES", "SelfMetrics"]

SERIES_STATES = ("scored", "warming_up", "no_data", "masked", "over_limit")
"""Values of the label ``state`` of ``anomaly_exporter_series``."""

_WORKERS = ("cycle", "scheduler")
"""Values of the label ``worker`` of ``anomaly_exporter_worker_restarts_total``."""

# From a small query on loopback to the longest interval that is still sensible.
_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class SelfMetrics:
    """Every instrument of the exporter, as an attribute named as the metric without its prefix.

    Parameters
    ----------
    registry : CollectorRegistry
        Empty; the collectors of process, platform and garbage collector are added.
    read : bool
        Whether anybody will: what is set in every slot is not, otherwise.
    """

    def __init__(self, registry: CollectorRegistry, *, read: bool = True) -> None:
        self.registry = registry
        self._read = read
        # Otherwise every counter gains a second series, `_created`. The switch is global in the library; setting it
        # twice does no harm.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        self._sources: set[str] = set()
        self._by_query: list[Counter | Gauge | Histogram] = []

        Info(
            "anomaly_exporter_build", "Versions of the exporter and of what it computes with.", registry=registry
        ).info(build_information())
        self.config_last_reload_successful = self._gauge(
            "config_last_reload_successful", "Whether the last attempt to load the configuration file succeeded."
        )
        self.config_last_reload_success_timestamp_seconds = self._gauge(
            "config_last_reload_success_timestamp_seconds", "When the configuration file was last loaded, in Unix time."
        )
        self.web_config_last_reload_successful = self._gauge(
            "web_config_last_reload_successful",
            "Whether the web configuration file could be read when it last changed.",
        )
        self.shards = self._gauge(
            "shards", "Number of processes that share the series of every query, by `--shard.count`."
        )
        self._cycles()
        self._of_shadows()
        self._samples()
        self._state()
        self._budgets()

    def children(self, **labels: str) -> Children:
        """Return the children that have these labels; they keep nothing where the metrics are not `read`."""
        return Children(**labels) if self._read else UnreadChildren(**labels)

    def watch(self, query: str) -> None:
        """Start the counters of a query at zero, so that rate() sees their first increase."""
        for counter in (
            self.cycles_total,
            self.cycles_failed_total,
            self.cycles_missed_total,
            self.cycle_parts_failed_total,
            self.query_warnings_total,
            self.partial_answers_total,
            self.series_given_way_total,
            self.level_shifts_total,
            self.drift_relearned_total,
        ):
            counter.labels(query=query)
        self.judged_ratio.labels(query=query).set(0.0)
        for reason in Reason:
            self.query_errors_total.labels(query=query, reason=str(reason))
        for verdict in Feedback:
            self.feedback_total.labels(query=query, verdict=str(verdict))

    def follow_sources(self, sources: Collection[str]) -> None:
        """Have a value of every source from the start, and none of those that a reload removed."""
        for gone in self._sources.difference(sources):
            self.source_up.remove_by_labels({"source": gone})
        for name in sources:
            self.source_up.labels(source=name)
        self._sources = set(sources)

    def forget(self, query: str) -> None:
        """Drop every series of a query that a reload removed.

        Call it after the last evaluation of the query: a later increment would bring the series back.
        """
        for instrument in self._by_query:
            instrument.remove_by_labels({"query": query})

    def _cycles(self) -> None:
        self.cycles_total = self._counter("cycles_total", "Cycles started, also those that failed.", "query")
        self.query_interval_seconds = self._gauge(
            "query_interval_seconds", "How often a query is evaluated: the age that its scores may have.", "query"
        )
        self.judged_ratio = self._gauge(
            "judged_ratio",
            "Part of the series of the newest answer that was judged. What cannot be read, is over a limit, shares its "
            "labels with another or is missing in a partial answer is not; nothing is while the query fails or its "
            "history is not read.",
            "query",
        )
        self.pair_disagreement_ratio = self._gauge(
            "pair_disagreement_ratio",
            "Part of the alerts of a pair that this exporter does not have: another one keeps them active in "
            "Alertmanager. Only where there is another one.",
            "query",
        )
        self.cycles_failed_total = self._counter(
            "cycles_failed_total", "Cycles that could not say anything about their query.", "query"
        )
        self.cycles_missed_total = self._counter(
            "cycles_missed_total",
            "Cycles skipped because the one before was still running or the host was asleep.",
            "query",
        )
        self.cycle_parts_failed_total = self._counter(
            "cycle_parts_failed_total",
            "Parts of cycles that failed by an internal error and that a cycle can do without, such as the text of an "
            "alert, of a query, or of a group as `(group) NAME`. The log has the traceback of the first.",
            "query",
        )
        self.cycle_duration_seconds = Histogram(
            "anomaly_exporter_cycle_duration_seconds",
            "How long a cycle spent in each of its phases.",
            ("query", "phase"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._by_query.append(self.cycle_duration_seconds)
        self.last_success_timestamp_seconds = self._gauge(
            "last_success_timestamp_seconds",
            "Evaluation time of the newest cycle that succeeded, in Unix time.",
            "query",
        )
        self.first_score_timestamp_seconds = self._gauge(
            "first_score_timestamp_seconds",
            "When the first score of a query is expected, in Unix time; there only while none of its series has one.",
            "query",
        )
        self.alerts_from_timestamp_seconds = self._gauge(
            "alerts_from_timestamp_seconds",
            "When the oldest series of a query is or was old enough to alert, in Unix time.",
            "query",
        )
        self.backfill_progress_ratio = self._gauge(
            "backfill_progress_ratio", "Share of the history that has been read since the start.", "query"
        )
        self.history_incomplete = self._gauge(
            "history_incomplete",
            "Whether history could not be read, or not all of it: it is read again later, with growing pauses.",
            "query",
        )
        self.worker_restarts_total = self._counter(
            "worker_restarts_total", "Threads that died and were started again.", "worker"
        )
        for worker in _WORKERS:
            self.worker_restarts_total.labels(worker=worker)

    def forget_shadow(self, query: str) -> None:
        """Drop what the shadow of a query has shown, which has gone."""
        for instrument in (self.shadow_disagreement_ratio, self.shadow_alerts_firing, self.shadow_alerts_total):
            instrument.remove_by_labels({"query": query})
        self.shadow_disagreements_total.remove_by_labels({"query": query})

    def _of_shadows(self) -> None:
        self.shadow_disagreement_ratio = self._gauge(
            "shadow_disagreement_ratio",
            "Part of the series of the newest answer, of those that a query and its shadow both scored, that is "
            "anomalous to only one of them. Only while both judge.",
            "query",
        )
        self.shadow_disagreements_total = self._counter(
            "shadow_disagreements_total",
            "Samples that were anomalous only to the query, or only to its shadow, by `anomalous_to`.",
            *("query", "anomalous_to"),
        )
        self.shadow_alerts_firing = self._gauge(
            "shadow_alerts_firing", "Alerts that would be firing now if the shadow of a query were the query.", "query"
        )
        self.shadow_alerts_total = self._counter(
            "shadow_alerts_total", "Alerts that the shadow of a query would have fired since the start.", "query"
        )

    def _samples(self) -> None:
        self.source_up = self._gauge("source_up", "Whether the last request to a source was answered.", "source")
        self.query_errors_total = self._counter(
            "query_errors_total", "Failed requests to Prometheus.", "query", "reason"
        )
        self.query_warnings_total = self._counter(
            "query_warnings_total", "Warnings that came with an answer of Prometheus.", "query"
        )
        self.partial_answers_total = self._counter(
            "partial_answers_total",
            "Answers of Prometheus, for slots and of history, that say that series may be missing in them.",
            "query",
        )
        self.series = self._gauge("series", "Series of a query, by what can be said about them.", "query", "state")
        self.series_absent = self._gauge(
            "series_absent",
            "Series that should be there now, by their past at this time of the week, and are not.",
            "query",
        )
        self.series_rejected_total = self._counter(
            "series_rejected_total", "Series of an answer that could not be used.", "query", "reason"
        )
        self.series_given_way_total = self._counter(
            "series_given_way_total",
            "Series that were gone and gave way to new ones at a limit.",
            "query",
        )
        self.level_shifts_total = self._counter(
            "level_shifts_total", "Series whose new level was accepted as normal after it had lasted.", "query"
        )
        self.band_coverage_ratio = self._gauge(
            "band_coverage_ratio", "Share of recent samples inside the band: whether the model is honest.", "query"
        )
        self.expected_false_alerts = {
            name: self._gauge(f"expected_false_alerts_per_week{name}", text, "query")
            for name, text in (
                (
                    "",
                    "False alerts a week to be expected of a query, by severities and by what people said of alerts.",
                ),
                ("_lower", "Lower end of the 90 % interval of the expected false alerts."),
                ("_upper", "Upper end of the interval: every alert that was counted was a false one."),
            )
        }
        """By the ends of their names."""
        self._drift()
        self.dependencies = self._gauge("dependencies", "Dependencies in force, from the file and from queries.")
        self.dependency_queries_failed_total = self._counter(
            "dependency_queries_failed_total", "Queries for dependencies that failed; what they said before holds."
        )
        self.change_queries_failed_total = self._counter(
            "change_queries_failed_total", "Queries for changes that failed; what they marked before holds."
        )
        self.incident_queries_failed_total = self._counter(
            "incident_queries_failed_total", "Queries for incidents that failed; what they said before holds."
        )
        self.clock_skew_seconds = self._gauge(
            "clock_skew_seconds", "How far the clock of another server is ahead of ours.", "peer"
        )

    def _drift(self) -> None:
        self.series_seasonality = self._gauge(
            "series_seasonality", "Series of a query, by the season that they were found to have.", "query", "season"
        )
        self.drift_anomalous_ratio = self._gauge(
            "drift_anomalous_ratio", "Share of the last day's samples that were anomalous, over all series.", "query"
        )
        self.drift_stability_index = self._gauge(
            "drift_stability_index", "Population stability index of the last week against a pinned one.", "query"
        )
        self.drift_profile_moved = self._gauge(
            "drift_profile_moved", "Whether the population stability index is above its limit.", "query"
        )
        self.drift_series = self._gauge(
            "drift_series",
            "Series that drift: often anomalous, moved by a standard deviation since they were pinned, or with a "
            "changepoint within a day among those examined last.",
            "query",
            "kind",
        )
        self.drift_relearned_total = self._counter(
            "drift_relearned_total",
            "Series that were learned anew, because they were anomalous too often.",
            "query",
        )
        self.drift_examined_series = self._gauge(
            "drift_examined_series", "Series that were searched for changepoints in the last round.", "query"
        )

    def _state(self) -> None:
        self.alerts = self._gauge(
            "alerts", "Alerts of a query, or of a group as `(group) NAME`, by state.", "query", "state"
        )
        self.feedback_total = self._counter(
            "feedback_total", "How often people said what an anomaly was, by what they said.", "query", "verdict"
        )
        self.precision_ratio = self._gauge(
            "precision_ratio",
            "Share of the anomalies of which people said what they were that are no false alarm by their newest word.",
            "query",
        )
        self.known_events = self._gauge(
            "known_events", "Entries of the calendar and announced events that are in effect, by action.", "action"
        )
        self.store_errors_total = self._counter("store_errors_total", "Failed operations of the store.", "reason")
        for reason in StoreReason:
            self.store_errors_total.labels(reason=str(reason))
        self.store_wal_bytes = self._gauge("store_wal_bytes", "Size of the write-ahead log of the store.")
        self.verdicts_bytes = self._gauge("verdicts_bytes", "Disk that the verdicts kept for charts take.")
        self.verdicts_dropped_total = self._counter(
            "verdicts_dropped", "Slots whose verdicts were not kept, because the disk is full or too slow.", "query"
        )
        self.store_recovered = self._gauge(
            "store_recovered",
            "Whether a damaged store was salvaged at the start, or files of it were lost since.",
        )
        self.memory_expected_bytes = self._gauge(
            "memory_expected_bytes",
            "Memory of the process once all series have learned everything they can; no measurement.",
        )
        self.memory_limit_bytes = self._gauge(
            "memory_limit_bytes", "Its limit: `limits.max_memory`, or by the control group; infinite without either."
        )
        self.state_restore_age_seconds = self._gauge(
            "state_restore_age_seconds", "How old the learned state was when it was read at the start."
        )

    def _budgets(self) -> None:
        def gauge(name: str, text: str) -> Gauge:
            return self._gauge(f"alert_budget_{name}", text, "query")

        self.budgets = {
            "alerts": gauge("alerts", "Alerts that the budget of a query allows in its period."),
            "period_seconds": gauge("period_seconds", "Length of the period of the budget."),
            "spent": gauge("spent", "Alerts that fired within the last period."),
            "left": gauge("left", "Alerts that the budget allows beyond those that were spent."),
            "threshold": gauge(
                "threshold", "What severities are divided by, so that the budget is met; 1 is the default."
            ),
            "calibrated": gauge(
                "calibrated",
                "Whether there is enough history to calibrate the threshold; until then it is the default.",
            ),
            "history_seconds": gauge("history_seconds", "History in which alerts were counted for the budget."),
            "expected": gauge("expected", "Alerts a period that are expected at the threshold in force."),
            "expected_lower": gauge("expected_lower", "Lower end of the 90 % interval of the expected alerts."),
            "expected_upper": gauge("expected_upper", "Upper end of the 90 % interval of the expected alerts."),
        }
        """By the rest of their names."""

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        counter = Counter(f"anomaly_exporter_{name}", text, labels, registry=self.registry)
        if "query" in labels:
            self._by_query.append(counter)
        return counter

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        gauge = Gauge(f"anomaly_exporter_{name}", text, labels, registry=self.registry)
        if "query" in labels:
            self._by_query.append(gauge)
        return gauge
