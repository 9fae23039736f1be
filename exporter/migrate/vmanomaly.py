"""Configurations of vmanomaly."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from exporter.errors import UsageError
from exporter.migrate.conversion import Conversion, query_name
from exporter.settings import format_duration, parse_duration

__all__ = ["convert", "of_resource"]

_DIRECTIONS = {"above_expected": "above", "below_expected": "below", "both": "both"}
_POLICIES = ("detection_direction", "min_dev_from_expected", "min_rel_dev_from_expected", "data_range")
_OF_MODELS = {
    "scale": "is another width of the band; `detection` has thresholds",
    "anomaly_score_outside_data_range": "is fixed: 0.97",
    "clip_predictions": "always, by valid_range",
    "provide_series": "all series are served",
    "decay": "`baseline.window` is the memory",
    "min_n_samples_seen": "`baseline.min_history` says when series may alert",
    "seasonal_interval": "seasons are found",
    "min_subseason": "seasons are found",
    "tz_aware": "hours are those of `timezone`",
    "tz_seasonalities": "seasons are found",
}
_OF_READER = {
    "class": "",
    "sampling_period": "instant queries have none",
    "max_points_per_query": "long ranges are halved where the server refuses them",
    "query_range_path": "put a prefix into prometheus.url",
    "query_from_last_seen_timestamp": "missed slots are read by themselves",
    "extra_filters": "",
    "series_processing_batch_size": "is not needed",
    "verify_tls": "",
}
_WORDS = re.compile(r"%\{([A-Za-z_][A-Za-z0-9_]*)\}")
_LEAST_WINDOW = 14 * 86400.0
"""Seconds: a shorter memory would know no weeks."""


def of_resource(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the sections of a VMAnomaly resource of the operator."""
    spec = _map(data.get("spec"))
    raw = spec.get("configRawYaml")
    if not isinstance(raw, str):
        raise UsageError("spec.configRawYaml is missing; give the text of the secret that it is in")
    try:
        sections = _map(yaml.safe_load(raw))
    except yaml.YAMLError as error:
        raise UsageError(f"spec.configRawYaml is no YAML: {error}") from None
    of_spec = _map(spec.get("reader"))
    reader = {"datasource_url": of_spec.get("datasourceURL"), "sampling_period": of_spec.get("samplingPeriod")}
    return {**sections, "reader": {**reader, **_map(sections.get("reader"))}}


def convert(data: Mapping[str, Any]) -> Conversion:
    """Return the configuration."""
    result = Conversion("vmanomaly")
    data = _expanded(data)
    reader = _map(data.get("reader"))
    if str(reader.get("class", "vm")) not in ("vm", "reader.vm.VmReader"):
        raise UsageError(f"reader.class {reader['class']}: only metrics can be read, no logs and no traces")
    models = _named(data, "models", "model", "default_model")
    schedulers = _named(data, "schedulers", "scheduler", "default_scheduler")
    queries = [
        _query(str(alias), raw, reader, models, schedulers, result)
        for alias, raw in _map(reader.get("queries")).items()
    ]
    if not queries:
        raise UsageError("reader.queries has no query")
    names: set[str] = set()
    renamed = {query["name"]: query_name(query["name"], names) for query in queries}
    for query in queries:
        if renamed[query["name"]] != query["name"]:
            result.note(f"reader.queries.{query['name']}", f"is called {renamed[query['name']]}")
        query["name"] = renamed[query["name"]]
    intervals = [query["interval"] for query in queries if "interval" in query]
    common = Counter(intervals).most_common(1)[0][0] if intervals else "1m"
    for query in queries:
        if query.get("interval", common) == common:
            query.pop("interval", None)
    sections: dict[str, Any] = {"global": {"interval": common}}
    if reader.get("tz"):
        sections["global"]["timezone"] = str(reader["tz"])
    if reader.get("timeout"):
        sections["global"]["timeout"] = _duration(reader["timeout"], "reader.timeout", result)
    sections["prometheus"] = _prometheus(reader, result)
    window = _window(schedulers, result)
    sections |= {"baseline": {"window": window}} if window else {}
    sections["queries"] = queries
    groups = _groups(models, renamed, result)
    sections |= {"groups": groups} if groups else {}
    result.sections = sections
    _note_models(models, result)
    _note_sections(data, result)
    return result


def _query(
    alias: str,
    raw: Any,
    reader: Mapping[str, Any],
    models: Mapping[str, Mapping[str, Any]],
    schedulers: Mapping[str, Mapping[str, Any]],
    result: Conversion,
) -> dict[str, Any]:
    place = f"reader.queries.{alias}"
    own = _map(raw) if isinstance(raw, Mapping) else {"expr": raw}
    query: dict[str, Any] = {"name": alias, "expr": str(own.get("expr", "")).strip()}
    attached = [model for model in models.values() if not model.get("queries") or alias in _list(model["queries"])]
    if not attached:
        result.note(place, "no model has it; it is scored here")
    of_schedulers = {
        name: scheduler
        for name, scheduler in schedulers.items()
        if any(not model.get("schedulers") or name in _list(model["schedulers"]) for model in attached)
    }
    every = [seconds for each in of_schedulers.values() if (seconds := _seconds(each.get("infer_every")))]
    if every:
        query["interval"] = format_duration(max(1.0, min(every)))
    policies = {name: _policy(name, own, reader, attached, place, result) for name in _POLICIES}
    direction = _DIRECTIONS.get(str(policies["detection_direction"] or "both"), "both")
    if direction != "both":
        query["direction"] = direction
    for name, field, divisor in (
        ("min_dev_from_expected", "min_deviation", 1.0),
        ("min_rel_dev_from_expected", "min_relative_deviation", 100.0),
    ):
        value = _smaller(policies[name], place, name, result)
        if value:
            query[field] = value / divisor
    limits = _range(policies["data_range"])
    if limits is not None:
        query["valid_range"] = limits
    if own.get("tz"):
        query["timezone"] = str(own["tz"])
    for name in sorted(set(own) - {"expr", "tz", "step", *_POLICIES}):
        result.note(f"{place}.{name}", _OF_READER.get(name, "") or "has no counterpart for a single query")
    return query


def _policy(
    name: str,
    own: Mapping[str, Any],
    reader: Mapping[str, Any],
    models: Sequence[Mapping[str, Any]],
    place: str,
    result: Conversion,
) -> Any:
    """Return what a query says, or its models, or the reader; the first of models that differ."""
    if own.get(name) is not None:
        return own[name]
    values = [model[name] for model in models if model.get(name) is not None]
    if any(value != values[0] for value in values[1:]) or 0 < len(values) < len(models):
        result.note(place, f"its models differ in {name}; {values[0]} is taken")
    return values[0] if values else reader.get(name)


def _smaller(value: Any, place: str, name: str, result: Conversion) -> float:
    """Return the smallest deviation; there it may have another value for each direction."""
    numbers = [number for each in _list(value) if (number := _number(each)) is not None]
    if len(set(numbers)) > 1:
        result.note(place, f"{name} {value} has two directions; the smaller value is taken for both")
    return min(numbers, default=0.0)


def _range(value: Any) -> list[float | None] | None:
    ends = _list(value)
    if len(ends) != 2:
        return None
    numbers = [_number(end) for end in ends]
    finite = [None if number is None or abs(number) == float("inf") else number for number in numbers]
    return None if finite == [None, None] else finite


def _prometheus(reader: Mapping[str, Any], result: Conversion) -> dict[str, Any]:
    url = str(reader.get("datasource_url") or "http://localhost:8428").rstrip("/")
    if not reader.get("datasource_url"):
        result.note("reader.datasource_url", "is missing; check prometheus.url")
    tenant = reader.get("tenant_id")
    if tenant is not None:
        url = f"{url}/select/{tenant}/prometheus"
    section: dict[str, Any] = {"url": url}
    if reader.get("user"):
        section["basic_auth"] = {"username": str(reader["user"]), "password": str(reader.get("password") or "")}
        result.note("reader.password", "is copied as it is; password_file keeps it out of the configuration")
    if reader.get("bearer_token_file"):
        section["authorization"] = {"credentials_file": str(reader["bearer_token_file"])}
    elif reader.get("bearer_token"):
        section["authorization"] = {"credentials": str(reader["bearer_token"])}
        result.note("reader.bearer_token", "is copied as it is; credentials_file keeps it out of the configuration")
    tls = {name: reader.get(f"tls_{name}") for name in ("cert_file", "key_file")}
    verify = reader.get("verify_tls")
    tls |= {"insecure_skip_verify": True} if verify is False else {"ca_file": verify} if isinstance(verify, str) else {}
    if tls := {name: value for name, value in tls.items() if value}:
        section["tls_config"] = tls
    if reader.get("extra_filters"):
        section["params"] = {"extra_filters[]": [str(each) for each in _list(reader["extra_filters"])]}
    # The newest samples are hidden there.
    offset = sum(abs(_seconds(reader.get(name)) or 0.0) for name in ("latency_offset", "offset"))
    section["query_offset"] = format_duration(offset) if offset else "30s"
    taken = {
        "datasource_url", "tenant_id", "user", "password", "bearer_token", "bearer_token_file", "tls_cert_file",
        "tls_key_file", "queries", "tz", "timeout", "latency_offset", "offset", *_POLICIES,
    }  # fmt: skip
    for name in sorted(set(reader) - taken):
        message = _OF_READER.get(name, "has no counterpart")
        if message:
            result.note(f"reader.{name}", message)
    return section


def _window(schedulers: Mapping[str, Mapping[str, Any]], result: Conversion) -> str | None:
    """Return the memory, where one that is long enough is named."""
    longest = 0.0
    for name, scheduler in schedulers.items():
        place = f"schedulers.{name}"
        if "periodic" not in str(scheduler.get("class", "periodic")).lower():
            result.note(place, "is no periodic one; `anomaly-exporter backtest` judges the past")
            continue
        window = _seconds(scheduler.get("fit_window")) or 0.0
        longest = max(longest, window)
        if 0.0 < window < _LEAST_WINDOW:
            result.note(
                f"{place}.fit_window", f"{scheduler['fit_window']} is too short to know weeks; the default holds"
            )
        if scheduler.get("fit_every"):
            result.note(f"{place}.fit_every", "there are no refits: every sample is learned")
    return format_duration(longest) if longest >= _LEAST_WINDOW else None


def _groups(
    models: Mapping[str, Mapping[str, Any]], names: Mapping[str, str], result: Conversion
) -> list[dict[str, Any]]:
    groups = []
    for alias, model in models.items():
        if "multivariate" not in str(model.get("class", "")).lower():
            continue
        members = [names[name] for name in _list(model.get("queries")) or names if name in names]
        if len(members) < 2 or not model.get("groupby"):
            result.note(f"models.{alias}", "a group needs two queries and labels that they share (groupby)")
            continue
        groups.append({"name": alias, "by": [str(label) for label in _list(model["groupby"])], "queries": members})
    return groups


def _note_models(models: Mapping[str, Mapping[str, Any]], result: Conversion) -> None:
    for alias, model in models.items():
        kind = str(model.get("class", "?"))
        if "custom" in kind.lower():
            result.note(f"models.{alias}", f"{kind} is code of yours; a detector in Python takes its place")
        else:
            result.note(f"models.{alias}", f"{kind}: the default detectors vote instead, with thresholds of their own")
        skipped = {"class", "queries", "schedulers", *_POLICIES}
        for name in sorted(set(model) - skipped):
            if name in _OF_MODELS:
                result.note(f"models.{alias}.{name}", _OF_MODELS[name])
            elif "holiday" in name or name == "special_events":
                result.note(f"models.{alias}.{name}", "write baseline.holidays, or entries of calendar:")
            elif name != "groupby":
                result.note(f"models.{alias}.{name}", "has no counterpart")


def _note_sections(data: Mapping[str, Any], result: Conversion) -> None:
    writer = _map(data.get("writer"))
    if writer:
        result.note("writer", "Prometheus or vmagent scrapes /metrics of this exporter, or remote_write: sends them")
    if writer.get("metric_format"):
        result.note("writer.metric_format", "names are fixed: anomaly_score{query=...}, expected_value, observed_value")
    monitoring = _map(data.get("monitoring"))
    if "pull" in monitoring:
        port = _map(monitoring["pull"]).get("port", 8490)
        result.note("monitoring.pull", f"/metrics has its own here; the flag is --web.listen-address=:{port}")
    if "push" in monitoring:
        result.note("monitoring.push", "is scraped, and not pushed")
    for name in sorted(set(data) - {"reader", "writer", "models", "model", "schedulers", "scheduler", "monitoring"}):
        always = ", or is always so" if name in ("settings", "server") else ""
        result.note(name, f"has no counterpart{always}")
    result.note("alerts", "were rules of vmalert: give queries an alert:, and alertmanagers:, and drop those rules")


def _named(data: Mapping[str, Any], plural: str, single: str, default: str) -> dict[str, Mapping[str, Any]]:
    """Return the entries of a section by their names, also in the form with a single one."""
    if isinstance(data.get(plural), Mapping):
        return {str(name): _map(entry) for name, entry in data[plural].items()}
    return {default: _map(data[single])} if data.get(single) else {}


def _expanded(data: Any) -> Any:
    """Write ``%{NAME}`` of the environment as ``${NAME}``, which is expanded in secrets."""
    if isinstance(data, Mapping):
        return {name: _expanded(value) for name, value in data.items()}
    if isinstance(data, list):
        return [_expanded(value) for value in data]
    return _WORDS.sub(r"${\1}", data) if isinstance(data, str) else data


def _seconds(value: Any) -> float | None:
    text = str(value).strip() if value is not None else ""
    try:
        return float(text) if text.replace(".", "", 1).isdigit() else parse_duration(text.lstrip("-"))
    except ValueError:
        return None


def _duration(value: Any, place: str, result: Conversion) -> str:
    seconds = _seconds(value)
    if seconds is None:
        result.note(place, f"{value} is no duration; the default holds")
    return format_duration(30.0 if seconds is None else seconds)


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, (list, tuple)) else [value]
