"""Files of other detectors become configurations that load, and what is lost is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter.cli.main import main
from exporter.config.load import load_text
from exporter.config.model import Config
from exporter.errors import ConfigError, UsageError
from exporter.migrate import Conversion, convert

VMANOMALY = """
settings: {n_workers: 4, restore_state: true}
schedulers:
  fast: {class: periodic, infer_every: 30s, fit_every: 10m, fit_window: 3h}
  slow: {class: scheduler.periodic.PeriodicScheduler, infer_every: 5m, fit_every: 1h, fit_window: 28d}
models:
  z:
    class: zscore_online
    z_threshold: 2.5
    schedulers: [fast]
    queries: [cpu, lat]
    detection_direction: above_expected
    scale: [1, 2]
  iso: {class: isolation_forest_multivariate, schedulers: [slow], queries: [mem, cpu], groupby: [instance]}
  prophet: {class: prophet, schedulers: slow, queries: [mem], args: {interval_width: 0.98}}
reader:
  class: vm
  datasource_url: "http://vmselect:8481/"
  tenant_id: "0:0"
  user: me
  password: "%{VM_PASSWORD}"
  sampling_period: 30s
  latency_offset: 10s
  tz: Europe/Berlin
  extra_filters: ['{env="prod"}']
  queries:
    cpu: 'avg(rate(node_cpu_seconds_total[5m])) by (instance)'
    lat:
      expr: histogram_quantile(0.99, sum by (le) (rate(x_bucket[5m])))
      step: 1m
      data_range: [0, "inf"]
      min_dev_from_expected: [0.05, 0.1]
      min_rel_dev_from_expected: 10
      offset: 1m
    "mem %": {expr: 'mem', max_points_per_query: 10}
    mem: {expr: 'mem{a="b"}'}
writer: {datasource_url: "http://vminsert:8480", metric_format: {__name__: $VAR}}
monitoring: {pull: {addr: 0.0.0.0, port: 8490}}
"""
RULES = """
groups:
- name: a
  rules:
  - record: anomaly:request:rate5m
    expr: sum(rate(x[5m])) by (job)
    labels: {anomaly_name: req, anomaly_type: requests, anomaly_strategy: adaptive}
  - record: anomaly:request:rate5m
    expr: sum(rate(x[5m])) by (job)
    labels: {anomaly_name: req, anomaly_type: requests, anomaly_strategy: robust}
  - record: anomaly:latency
    expr: histogram_quantile(.95, sum by (le) (rate(x_bucket[5m])))
    labels: {anomaly_name: lat, anomaly_type: latency, team: a}
  - {record: "anomaly:upper_band", expr: max(x)}
  - {record: "job:x", expr: max(x)}
  - {alert: AnomalyDetected, for: 10m, expr: "anomaly:select > anomaly:upper_band", labels: {severity: page}}
"""


def converted(text: str) -> tuple[Conversion, Config]:
    conversion = convert(yaml.safe_load(text), prometheus="http://prom:9090", alertmanager="http://am:9093")
    config = load_text(conversion.as_yaml(), "config.yaml", environ={"VM_PASSWORD": "secret"}).config
    return conversion, config


def noted(conversion: Conversion, place: str) -> bool:
    return any(note.startswith(f"{place}: ") for note in conversion.notes)


def test_a_configuration_of_vmanomaly() -> None:
    conversion, config = converted(VMANOMALY)
    assert config.prometheus.url == "http://vmselect:8481/select/0:0/prometheus"
    assert config.prometheus.query_offset == 10.0
    assert config.prometheus.params == {"extra_filters[]": ['{env="prod"}']}
    assert config.prometheus.basic_auth is not None
    plans = {plan.name: plan for plan in config.plans()}
    assert [(name, plan.interval) for name, plan in plans.items()] == [
        ("cpu", 30.0), ("lat", 30.0), ("mem__", 30.0), ("mem", 300.0)
    ]  # fmt: skip
    latency = plans["lat"]
    assert (latency.direction, latency.min_deviation, latency.min_relative_deviation) == ("above", 0.05, 0.1)
    assert latency.valid_range == (0.0, None)
    assert config.global_.timezone == "Europe/Berlin"
    assert config.baseline.window == 28 * 86400.0
    assert [(group.name, list(group.queries)) for group in config.groups] == [("iso", ["mem", "cpu"])]
    lost = ("models.z", "models.z.scale", "models.prophet.args", "writer", "monitoring.pull", "settings")
    assert all(noted(conversion, place) for place in lost)


def test_old_forms_of_vmanomaly_and_resources_of_its_operator() -> None:
    reader = "reader: {datasource_url: 'http://vm:8428', queries: {a: up}}"
    old = f"{{scheduler: {{infer_every: 1m}}, model: {{class: zscore}}, {reader}}}"
    assert [plan.interval for plan in converted(old)[1].plans()] == [60.0]
    raw = "reader: {queries: {a: {expr: up}}}\nmodels: {}"
    spec = {"reader": {"datasourceURL": "http://vm:8428"}, "configRawYaml": raw}
    resource = yaml.safe_dump({"kind": "VMAnomaly", "spec": spec})
    assert converted(resource)[1].prometheus.url == "http://vm:8428"


def test_recording_rules() -> None:
    conversion, config = converted(RULES)
    plans = {plan.name: plan for plan in config.plans()}
    assert {name: plan.direction for name, plan in plans.items()} == {"req": "both", "lat": "above"}
    assert all(plan.alert is not None and plan.alert.for_ == 600.0 for plan in plans.values())
    assert plans["req"].alert is not None
    assert plans["req"].alert.labels == {"severity": "page"}
    assert config.prometheus.url == "http://prom:9090"
    assert noted(conversion, "groups[a] job:x")
    assert noted(conversion, "groups[a] anomaly:latency")
    assert any("another strategy" in note for note in conversion.notes)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{reader: {class: vlogs, queries: {a: x}}, models: {}}", "no logs and no traces"),
        ("{reader: {queries: []}, models: {}}", "reader.queries has no query"),
        ("{kind: VMAnomaly, spec: {configRawYaml: '{'}}", "is no YAML"),
        ("{kind: VMAnomaly}", "configRawYaml is missing"),
        ("{a: 1}", "neither"),
        ("[1]", "no sections"),
        ("{scrape_configs: []}", "configuration of Prometheus"),
    ],
)
def test_what_cannot_be_converted_is_refused(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        convert(yaml.safe_load(text), prometheus="http://prom:9090", alertmanager="http://am:9093")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"scrape_configs": []}, "this is a configuration of Prometheus"),
        ({"global": {"scrape_interval": "1m"}, "rule_files": []}, "this is a configuration of Prometheus"),
        ({"route": {}, "receivers": []}, "this is a configuration of Alertmanager"),
        ({"panels": [], "schemaVersion": 39}, "this is a dashboard of Grafana"),
        ({"apiVersion": 1, "groups": [{"orgId": 1, "rules": []}]}, "this is a provisioning file of Grafana"),
        ({"groups": [{"name": "a", "rules": [{"record": "x", "expr": "up"}]}]}, "this is a rule file of Prometheus"),
        (yaml.safe_load(RULES), "`anomaly-exporter migrate FILE` converts them"),
        (yaml.safe_load(VMANOMALY), "`anomaly-exporter migrate FILE` converts it"),
    ],
)
def test_a_pasted_file_is_recognised(data: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as refused:
        load_text(yaml.safe_dump(data), "config.yaml")
    assert len(refused.value.problems) == 1


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = tmp_path / "vm.yaml", tmp_path / "config.yaml"
    source.write_text(VMANOMALY)
    monkeypatch.setenv("VM_PASSWORD", "secret")
    assert main(["migrate", str(source), "--output", str(target)]) == 0
    notes = capsys.readouterr().err.splitlines()
    assert all(f"# - {note.removeprefix(f'{source}: ')}" in target.read_text() for note in notes)
    monkeypatch.delenv("VM_PASSWORD")
    assert main(["migrate", str(source)]) == 1
    assert "VM_PASSWORD" in capsys.readouterr().err
    source.write_text("a: 1")
    assert main(["migrate", str(source)]) == 2
