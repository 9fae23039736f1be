"""The dashboard *Anomaly exporter*: its input, model, delivery and resources."""

from __future__ import annotations

from collections.abc import Iterator

from grafana_foundation_sdk.builders import stat, timeseries
from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from grafana_dashboards.panels import BAD, GOOD, WARN, empty_dashboard, over_time, query, query_variable, stat_panel

__all__ = ["dashboard"]

OWN = '{instance=~"$instance"}'
UP = ((None, BAD), (1.0, GOOD))


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


def _rate(metric: str, *by: str) -> str:
    """Return the rate per second, by these labels."""
    return f"sum by ({', '.join(by)}) (rate({metric}{OWN}[$__rate_interval]))"


def _now() -> Iterator[stat.Panel]:
    yield stat_panel("Prometheus answers", f"min(anomaly_exporter_source_up{OWN})", steps=UP)
    reached = stat_panel(
        "Alertmanagers up", f"avg(anomaly_exporter_alertmanager_up{OWN})", unit="percentunit", steps=UP
    )
    yield reached.no_value("not asked yet")
    yield stat_panel("Configuration loaded", f"min(anomaly_exporter_config_last_reload_successful{OWN})", steps=UP)
    yield stat_panel(
        "Oldest evaluation",
        f"time() - min(anomaly_exporter_last_success_timestamp_seconds{OWN})",
        unit="s",
        steps=((None, GOOD), (180.0, WARN), (600.0, BAD)),
        text="Of the query that has waited longest.",
    )
    yield stat_panel("Alerts firing", 'sum(anomaly_exporter_alerts{instance=~"$instance",state="firing"})')
    yield stat_panel(
        "History read",
        f"avg(anomaly_exporter_backfill_progress_ratio{OWN})",
        unit="percentunit",
        steps=((None, WARN), (1.0, GOOD)),
        text="Since the start. Scores begin when it is complete.",
    )


def _input() -> Iterator[timeseries.Panel]:
    age = f"time() - anomaly_exporter_last_success_timestamp_seconds{OWN}"
    yield over_time("Age of the scores", query(age, "{{query}}"), unit="s")
    spent = _rate("anomaly_exporter_cycle_duration_seconds_sum", "phase")
    cycles = _rate("anomaly_exporter_cycle_duration_seconds_count", "phase")
    text = "`fetch` is the time in which Prometheus answers."
    yield over_time("Time of a cycle by phase", query(f"{spent} / {cycles}", "{{phase}}"), unit="s", text=text)
    yield over_time(
        "Cycles failed and missed",
        query(_rate("anomaly_exporter_cycles_failed_total", "query"), "{{query}} failed"),
        query(_rate("anomaly_exporter_cycles_missed_total", "query"), "{{query}} missed"),
        unit="cps",
    )
    # A counter with a reason begins to exist with its first error; until then a zero says more than "No data".
    errors = _rate("anomaly_exporter_query_errors_total", "query", "reason")
    yield over_time("Errors of Prometheus", query(f"{errors} or on () vector(0)", "{{query}} {{reason}}"), unit="cps")


def _model() -> Iterator[timeseries.Panel]:
    text = "`over_limit` are refused because of `max_series`."
    states = f"sum by (state) (anomaly_exporter_series{OWN})"
    yield over_time("Series by state", query(states, "{{state}}"), text=text)
    text = "Whether the model is honest: well below 1 over hours means that it does not fit."
    inside = query(f"anomaly_exporter_band_coverage_ratio{OWN}", "{{query}}")
    yield over_time("Samples inside the band", inside, unit="percentunit", text=text)
    shifts = _rate("anomaly_exporter_level_shifts_total", "query").replace("rate(", "increase(")
    yield over_time("New levels accepted", query(shifts, "{{query}}"), text="Series whose level moved and stayed.")
    absent = query(f"anomaly_exporter_series_absent{OWN}", "{{query}}")
    text = "Series that should have a sample now, as in past weeks at this hour, and have none."
    yield over_time("Series that are missing", absent, text=text)
    text = "The index of the last week against a pinned one (above 0.2: everything moves), and how much was anomalous."
    yield over_time(
        "Drift",
        query(f"anomaly_exporter_drift_stability_index{OWN}", "{{query}} index"),
        query(f"anomaly_exporter_drift_anomalous_ratio{OWN}", "{{query}} anomalous"),
        text=text,
    )
    text = "Alerts of the last period, and how many the budget of the query allows (docs/budget.md)."
    yield over_time(
        "Budgets of alerts",
        query(f"anomaly_exporter_alert_budget_spent{OWN}", "{{query}} spent"),
        query(f"anomaly_exporter_alert_budget_alerts{OWN}", "{{query}} allowed"),
        text=text,
    )
    rejected = _rate("anomaly_exporter_series_rejected_total", "query", "reason")
    unusable = query(f"{rejected} or on () vector(0)", "{{query}} {{reason}}")
    yield over_time("Series that could not be used", unusable, unit="cps")
    verdicts = f"sum by (query, verdict) (anomaly_exporter_feedback_total{OWN}) or on () vector(0)"
    text = "Verdicts on anomalies since the start. Many false alarms: see docs/tuning.md."
    yield over_time("What people said", query(verdicts, "{{query}} {{verdict}}"), text=text)


def _delivery() -> Iterator[timeseries.Panel]:
    alerts = f"sum by (query, state) (anomaly_exporter_alerts{OWN})"
    yield over_time("Alerts by state", query(alerts, "{{query}} {{state}}"))
    errors = _rate("anomaly_exporter_alertmanager_errors_total", "alertmanager", "reason")
    yield over_time(
        "Requests to Alertmanagers",
        query(_rate("anomaly_exporter_alertmanager_requests_total", "alertmanager"), "{{alertmanager}}"),
        query(f"{errors} or on () vector(0)", "{{alertmanager}} {{reason}}"),
        unit="reqps",
    )
    yield over_time(
        "Alerts that wait",
        query(f"anomaly_exporter_alertmanager_dirty{OWN}", "{{alertmanager}}"),
        query(f"anomaly_exporter_alertmanager_oldest_dirty_seconds{OWN}", "{{alertmanager}}, seconds"),
        text="How many, and for how long the one that waits longest has waited.",
    )
    buckets = _rate("anomaly_exporter_alertmanager_request_duration_seconds_bucket", "le", "alertmanager")
    slowest = query(f"histogram_quantile(0.99, {buckets})", "{{alertmanager}}")
    yield over_time("Time of a request, 99th percentile", slowest, unit="s")


def _resources() -> Iterator[timeseries.Panel]:
    def ours(expr: str) -> str:
        # Every Python program has these; the variable can hold instances of this one alone.
        return f"{expr} and on (instance) anomaly_exporter_build_info"

    processor = ours(f"rate(process_cpu_seconds_total{OWN}[$__rate_interval])")
    yield over_time("Processor", query(processor, "{{instance}}"), unit="percentunit", text="Of one core.")
    memory = ours(f"process_resident_memory_bytes{OWN}")
    yield over_time("Memory", query(memory, "{{instance}}"), unit="bytes")
    errors = _rate("anomaly_exporter_store_errors_total", "reason")
    yield over_time("Errors of the store", query(f"{errors} or on () vector(0)", "{{reason}}"), unit="cps")
    log = query(f"anomaly_exporter_store_wal_bytes{OWN}", "{{instance}}")
    text = "A checkpoint empties it; if it grows without end, something holds the database open."
    yield over_time("Write-ahead log", log, unit="bytes", text=text)
