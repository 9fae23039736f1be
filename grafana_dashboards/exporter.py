"""The dashboard *Anomaly exporter*: its input, model, delivery and resources."""

from __future__ import annotations

from collections.abc import Iterator

from grafana_foundation_sdk.builders import stat, timeseries
from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from grafana_dashboards.panels import (
    BAD,
    GOOD,
    LATE,
    WARN,
    age,
    empty_dashboard,
    firing,
    over_time,
    query,
    query_variable,
    stat_panel,
)

__all__ = ["NOT_SHOWN", "dashboard"]

_INSTANCE = 'instance=~"$instance"'
OWN = f"{{{_INSTANCE}}}"
UP = ((None, BAD), (1.0, GOOD))
_FIRING = firing(_INSTANCE)
_AGE = age(_INSTANCE)

NOT_SHOWN = {
    "alerts_from_timestamp_seconds": "on the overview page while it is to come",
    "first_score_timestamp_seconds": "on the overview page; gone after minutes",
    "alert_budget_calibrated": "the threshold is 1 until it is",
    "alert_budget_history_seconds": "behind the interval of the expected alerts",
    "alert_budget_left": "what is allowed, less what is spent",
    "alert_budget_period_seconds": "as configured",
    "cycles_total": "the count of the time of a cycle",
    "dependencies": "as configured, or found: a number without a good or bad",
    "drift_examined_series": "as configured",
    "drift_profile_moved": "the index is above 0.2",
    "series_given_way_total": "a rollout; series over the limit are shown",
    "expected_false_alerts_per_week_lower": "the upper end is what to look at",
    "pair_disagreement_ratio": "of pairs only, and what it is about is an alert of one of them",
    "query_interval_seconds": "in the age of the scores",
    "shadow_alerts_firing": "of trials only; on the overview page beside the alerts of the query",
    "shadow_alerts_total": "of trials only; on the overview page beside the alerts of the query",
    "shadow_disagreement_ratio": "of trials only; on the overview page",
    "shadow_disagreements_total": "of trials only; the samples behind the ratio",
    "verdicts_bytes": "bounded as configured",
    "verdicts_dropped_total": "charts have gaps, and nothing else has",
}
"""Metrics without a panel, without their prefix, and why."""


def dashboard() -> Dashboard:
    """Return the dashboard *Anomaly exporter*."""
    built = empty_dashboard("Anomaly exporter", "anomaly-exporter-itself", "How anomaly-exporter itself is.")
    built.with_variable(query_variable("instance", "Instance", "label_values(anomaly_exporter_build_info, instance)"))
    for panel in _now():
        built.with_panel(panel)
    rows = {
        "Seeing": _input(),
        "Judging": _model(),
        "Delivering": _delivery(),
        "State and resources": _resources(),
    }
    for title, panels in rows.items():
        built.with_row(Row(title))
        for panel in panels:
            built.with_panel(panel)
    return built


def _own(name: str) -> str:
    return f"anomaly_exporter_{name}{OWN}"


def _rate(metric: str, *by: str) -> str:
    """Return the rate per second, by these labels."""
    return f"sum by ({', '.join(by)}) (rate({_own(metric)}[$__rate_interval]))"


def _increase(metric: str, *by: str) -> str:
    """Return by how much it rose, by these labels."""
    return _rate(metric, *by).replace("rate(", "increase(", 1)


def _now() -> Iterator[stat.Panel]:
    yield stat_panel("Prometheus answers", f"min({_own('source_up')})", steps=UP)
    reached = stat_panel("Alertmanagers up", f"avg({_own('alertmanager_up')})", unit="percentunit", steps=UP)
    yield reached.no_value("not asked yet")
    loaded = f"min({_own('config_last_reload_successful')} and {_own('web_config_last_reload_successful')})"
    yield stat_panel("Configuration loaded", loaded, steps=UP)
    yield stat_panel(
        "Oldest evaluation",
        f"max({_AGE})",
        unit="none",
        steps=LATE,
        text="In intervals of the query that has waited longest.",
    ).decimals(1)
    yield stat_panel("Alerts firing", f"sum({_FIRING})", text="Those of a pair are counted once.")
    yield stat_panel(
        "History read",
        f"avg({_own('backfill_progress_ratio')})",
        unit="percentunit",
        steps=((None, WARN), (1.0, GOOD)),
        text="Since the start. Scores begin when it is complete.",
    )


def _input() -> Iterator[timeseries.Panel]:
    text = "In intervals of the query: up to one between two evaluations."
    yield over_time("Age of the scores", query(_AGE, "{{query}} {{instance}}"), unit="none", text=text)
    spent = _rate("cycle_duration_seconds_sum", "phase")
    cycles = _rate("cycle_duration_seconds_count", "phase")
    text = "`fetch` is the time in which Prometheus answers."
    yield over_time("Time of a cycle by phase", query(f"{spent} / {cycles}", "{{phase}}"), unit="s", text=text)
    yield over_time(
        "Cycles failed and missed",
        query(_rate("cycles_failed_total", "query"), "{{query}} failed"),
        query(_rate("cycles_missed_total", "query"), "{{query}} missed"),
        query(_rate("cycle_parts_failed_total", "query"), "{{query}} in part"),
        unit="cps",
    )
    errors = _rate("query_errors_total", "query", "reason")
    failing = query(f"{errors} > 0 or on () vector(0)", "{{query}} {{reason}}")
    yield over_time("Errors of Prometheus", failing, unit="cps")
    yield over_time(
        "Answers with warnings, and partial ones",
        query(_rate("query_warnings_total", "query"), "{{query}} warnings"),
        query(_rate("partial_answers_total", "query"), "{{query}} partial"),
        query(f"max by (query) ({_own('history_incomplete')}) > 0", "{{query}} history incomplete"),
        query(_rate("dependency_queries_failed_total"), "dependencies: failed"),
        query(_rate("change_queries_failed_total"), "changes: failed"),
        query(_rate("incident_queries_failed_total"), "incidents: failed"),
        unit="cps",
        text="A series that a partial answer lacks is unknown, and not gone.",
    )
    yield over_time(
        "Clocks of others",
        query(_own("clock_skew_seconds"), "{{peer}}"),
        query(_own("alertmanager_clock_skew_seconds"), "{{alertmanager}}"),
        unit="s",
        text="How far they are ahead of ours. Beyond four minutes Alertmanager takes firing alerts for resolved ones.",
    )


def _model() -> Iterator[timeseries.Panel]:
    text = "`over_limit` are refused because of `max_series` or memory."
    states = f"sum by (state) ({_own('series')})"
    yield over_time("Series by state", query(states, "{{state}}"), text=text)
    text = "Part of the series of the newest answer that was judged; the overview page says what the others lack."
    judged = query(_own("judged_ratio"), "{{query}}")
    yield over_time("Series judged", judged, unit="percentunit", text=text).min(0.0).max(1.0)
    text = "Whether the model is honest: well below 1 over hours means that it does not fit."
    inside = query(_own("band_coverage_ratio"), "{{query}}")
    yield over_time("Samples inside the band", inside, unit="percentunit", text=text)
    yield over_time(
        "New levels accepted, series learned anew",
        query(_increase("level_shifts_total", "query"), "{{query}} levels"),
        query(_increase("drift_relearned_total", "query"), "{{query}} relearned"),
        text="Series whose level moved and stayed, and series that had been anomalous too often.",
    )
    absent = query(_own("series_absent"), "{{query}}")
    text = "Series that should have a sample now, as in past weeks at this hour, and have none."
    yield over_time("Series that are missing", absent, text=text)
    text = "The index of the last week against a pinned one (above 0.2: everything moves), and how much was anomalous."
    yield over_time(
        "Drift",
        query(_own("drift_stability_index"), "{{query}} index"),
        query(_own("drift_anomalous_ratio"), "{{query}} anomalous"),
        text=text,
    )
    drifting = query(f"sum by (query, kind) ({_own('drift_series')})", "{{query}} {{kind}}")
    yield over_time("Series that drift", drifting, text="By kind: see docs/detection.md.")
    seasons = query(f"sum by (season) ({_own('series_seasonality')})", "{{season}}")
    yield over_time("Seasons", seasons, text="Series by the season that they were found to have.")
    text = "Alerts of the last period, how many the budget of the query allows, and how many are expected."
    yield over_time(
        "Budgets of alerts",
        query(_own("alert_budget_spent"), "{{query}} spent"),
        query(_own("alert_budget_alerts"), "{{query}} allowed"),
        query(_own("alert_budget_expected"), "{{query}} expected"),
        query(_own("alert_budget_expected_lower"), "{{query}} expected, at least"),
        query(_own("alert_budget_expected_upper"), "{{query}} expected, at most"),
        text=text,
    )
    text = "False alerts a week that each query expects; at most, if every alert that was counted was false."
    yield over_time(
        "False alerts to expect",
        query(_own("expected_false_alerts_per_week"), "{{query}}"),
        query(_own("expected_false_alerts_per_week_upper"), "{{query}} at most"),
        text=text,
    )
    text = "What severities are divided by, so that the budget is met; 1 is the default."
    yield over_time("Thresholds of budgets", query(_own("alert_budget_threshold"), "{{query}}"), text=text)
    rejected = _rate("series_rejected_total", "query", "reason")
    unusable = query(f"{rejected} or on () vector(0)", "{{query}} {{reason}}")
    yield over_time("Series that could not be used", unusable, unit="cps")
    verdicts = f"sum by (query, verdict) ({_own('feedback_total')}) > 0 or on () vector(0)"
    text = "Verdicts on anomalies since the start. Many false alarms: see docs/tuning.md."
    yield over_time("What people said", query(verdicts, "{{query}} {{verdict}}"), text=text)
    precision = query(f"{_own('precision_ratio')} or on () vector(1)", "{{query}}")
    text = "Share of the anomalies with feedback that were no false alarm."
    yield over_time("Precision", precision, unit="percentunit", text=text).min(0.0).max(1.0)
    events = query(_own("known_events"), "{{action}}")
    yield over_time("Known events in effect", events, text="Entries of the calendar and announced events, by action.")


def _delivery() -> Iterator[timeseries.Panel]:
    alerts = f"sum by (query, state) ({_own('alerts')})"
    yield over_time("Alerts by state", query(alerts, "{{query}} {{state}}"))
    text = "`suppressed` ones are silenced or inhibited: nobody is told of them."
    there = query(f"sum by (alertmanager, state) ({_own('alertmanager_alerts')})", "{{alertmanager}} {{state}}")
    yield over_time("Alerts in Alertmanagers", there, text=text)
    errors = _rate("alertmanager_errors_total", "alertmanager", "reason")
    yield over_time(
        "Requests to Alertmanagers",
        query(_rate("alertmanager_requests_total", "alertmanager"), "{{alertmanager}}"),
        query(_rate("alertmanager_sent_total", "alertmanager"), "{{alertmanager}} alerts"),
        query(f"{errors} > 0 or on () vector(0)", "{{alertmanager}} {{reason}}"),
        unit="reqps",
    )
    yield over_time(
        "Alerts that wait",
        query(_own("alertmanager_dirty"), "{{alertmanager}}"),
        query(_own("alertmanager_oldest_dirty_seconds"), "{{alertmanager}}, seconds"),
        text="How many, and for how long the one that waits longest has waited.",
    )
    buckets = _rate("alertmanager_request_duration_seconds_bucket", "le", "alertmanager")
    slowest = query(f"histogram_quantile(0.99, {buckets})", "{{alertmanager}}")
    yield over_time("Time of a request, 99th percentile", slowest, unit="s")
    yield over_time(
        "Remote write",
        query(_rate("remote_write_samples_total", "url"), "{{url}} samples"),
        query(_rate("remote_write_samples_dropped_total", "url", "reason"), "{{url}} dropped: {{reason}}"),
        query(_rate("remote_write_errors_total", "url", "reason"), "{{url}} failed requests: {{reason}}"),
        unit="cps",
    )
    yield over_time("Remote write, waiting", query(_own("remote_write_pending_bytes"), "{{url}}"), unit="bytes")
    last = query(f"time() - {_own('alertmanager_last_success_timestamp_seconds')} > 0", "{{alertmanager}}")
    yield over_time("Since an Alertmanager took alerts", last, unit="s", text="Long is normal while nothing fires.")
    yield over_time(
        "Alerts that nobody took",
        query(_increase("alerts_invalid_total", "alertmanager"), "{{alertmanager}} refused"),
        query(_increase("alertmanager_suspicious_responses_total", "alertmanager"), "{{alertmanager}} no Alertmanager"),
        query(_increase("alerts_resolved_before_delivery_total", "alertmanager"), "{{alertmanager}} over before"),
    )
    yield over_time(
        "Alertmanagers that are found",
        query(_own("alertmanager_targets"), "{{alertmanager}}"),
        query(_increase("alertmanager_discovery_failures_total"), "lookups that failed"),
        text="Those of `dns_sd` and `file_sd`, and the addresses of a name.",
    )
    yield over_time(
        "Silences",
        query(_own("alertmanager_silences"), "{{alertmanager}}"),
        query(_own("alertmanager_silences_not_understood"), "{{alertmanager}} not understood"),
        query(_increase("alertmanager_silence_changes_total", "alertmanager", "change"), "{{alertmanager}} {{change}}"),
        text="Silences that are not over, and those that were made and ended for the calendar.",
    )
    unread = _rate("alertmanager_silence_errors_total", "alertmanager", "reason")
    yield over_time(
        "Reading silences",
        query(f"time() - {_own('alertmanager_silences_read_timestamp_seconds')}", "{{alertmanager}}, seconds ago"),
        query(f"{unread} > 0 or on () vector(0)", "{{alertmanager}} {{reason}}"),
    )


def _resources() -> Iterator[timeseries.Panel]:
    def ours(expr: str) -> str:
        # Every Python program has these; the variable can hold instances of this one alone.
        return f"{expr} and on (instance) anomaly_exporter_build_info"

    processor = ours(f"rate(process_cpu_seconds_total{OWN}[$__rate_interval])")
    yield over_time("Processor", query(processor, "{{instance}}"), unit="percentunit", text="Of one core.")
    yield over_time(
        "Memory",
        query(ours(f"process_resident_memory_bytes{OWN}"), "{{instance}}"),
        query(_own("memory_expected_bytes"), "{{instance}} expected"),
        query(f"{_own('memory_limit_bytes')} < Inf", "{{instance}} limit"),
        unit="bytes",
        text="`expected`: once all series have learned at all hours; at the limit new series are refused.",
    )
    errors = _rate("store_errors_total", "reason")
    yield over_time("Errors of the store", query(f"{errors} or on () vector(0)", "{{reason}}"), unit="cps")
    log = query(_own("store_wal_bytes"), "{{instance}}")
    text = "A checkpoint empties it; if it grows without end, something holds the database open."
    yield over_time("Write-ahead log", log, unit="bytes", text=text)
    yield over_time(
        "Starts",
        query(ours(f"time() - process_start_time_seconds{OWN}"), "{{instance}} runs"),
        query(f"time() - {_own('config_last_reload_success_timestamp_seconds')}", "{{instance}} configured"),
        query(_own("state_restore_age_seconds"), "{{instance}} age of the state at the start"),
        unit="s",
    )
    yield over_time(
        "Faults of the program and the disk",
        query(_increase("worker_restarts_total", "instance", "worker"), "{{instance}} {{worker}} restarted"),
        query(_own("store_recovered"), "{{instance}} store recovered"),
    )
    parts = query(f"max({_own('shards')})", "shards")
    running = query(f"count({_own('shards')})", "exporters")
    text = "Equal for shards; exporters are twice as many as shards in a pair."
    yield over_time("Exporters", running, parts, text=text)
