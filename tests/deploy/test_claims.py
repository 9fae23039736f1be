"""What the documents say of the shipped files is so: each claim with what makes it true."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from exporter.config.model import Config
from exporter.silences.settings import SilenceSettings
from tests.deploy.test_kubernetes import build, container, only
from tests.deploy.tools import DEPLOY, ROOT

RULES: dict[str, dict[str, Any]] = {
    rule["alert"]: rule
    for file in (DEPLOY / "prometheus" / "rules").glob("*.rules.yml")
    for group in yaml.safe_load(file.read_text())["groups"]
    for rule in group["rules"]
    if "alert" in rule
}
COMPOSE = yaml.safe_load((DEPLOY / "docker" / "compose.yaml").read_text())["services"]
ROUTES = yaml.safe_load((DEPLOY / "alertmanager" / "alertmanager.yml").read_text())
UNIT = (DEPLOY / "systemd" / "anomaly-exporter.service").read_text()
DOCKERFILE = (DEPLOY / "docker" / "Dockerfile").read_text()
ALL_PODS = ("standalone", "pair", "shards", "sidecar")


def rule(name: str, *parts: str, wait: str = "") -> bool:
    """Whether the expression of a rule has these parts, and waits so long."""
    expr = re.sub(r"\s+", " ", RULES[name]["expr"])
    return all(part in expr for part in parts) and RULES[name].get("for", "") == wait


def restricted(name: str) -> bool:
    """Whether pods keep to the "restricted" standard of Kubernetes, and have no token of its API."""
    pod = only(name, "StatefulSet")["spec"]["template"]["spec"]
    kinds = {kind for volume in pod["volumes"] for kind in volume if kind != "name"}
    return (
        pod["automountServiceAccountToken"] is False
        and pod["securityContext"]["runAsNonRoot"]
        and pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
        and all(one["securityContext"]["capabilities"] == {"drop": ["ALL"]} for one in pod["containers"])
        and not any(one["securityContext"]["allowPrivilegeEscalation"] for one in pod["containers"])
        and kinds <= {"configMap", "emptyDir", "secret", "projected", "persistentVolumeClaim"}
    )


def default(section: str, field: str) -> Any:
    """The default of a field of the configuration."""
    return getattr(Config.model_fields[section].default, field)


def inhibits(source: str, target: str) -> bool:
    return any(
        source in str(one["source_matchers"]) and target in str(one["target_matchers"])
        for one in ROUTES["inhibit_rules"]
    )


CLAIMS: list[tuple[str, str, Callable[[], Any]]] = [
    ("operations", "More than three starts within an hour", lambda: rule("AnomalyExporterRestarts", "[1h]) > 3")),
    ("operations", "differ by more than 30 seconds", lambda: rule("AnomalyExporterClockSkew", ") > 30", wait="10m")),
    ("operations", "more than three times the alerts", lambda: rule("AnomalyExporterOverBudget", "> 3 *", wait="1h")),
    ("operations", "At least five anomalies", lambda: rule("AnomalyExporterImprecise", "< 0.5", ">= 5", wait="1h")),
    ("operations", "Less than nine in ten samples have been inside the band for two hours",
     lambda: rule("AnomalyExporterBandDishonest", "< 0.9", wait="2h")),
    ("operations", "for ten minutes (with a longer interval: for three intervals)",
     lambda: rule("AnomalyExporterQueryStale", "clamp_min(3 *", "600)", wait="5m")),
    ("operations", "More than three in ten series of a query, and three at least",
     lambda: rule("AnomalyWidespread", "> 0.3", ">= 3", wait="5m")),
    ("operations", "five times the threshold, or outside its `valid_range`, for ten minutes",
     lambda: rule("AnomalyExtreme", ">= 0.968", wait="10m") and 1 - 2**-5 >= 0.968),
    ("operations", "for longer than `silences.keep`",
     lambda: rule("AnomalyExporterSilencesUnknown", "> 900", wait="5m") and SilenceSettings().keep == 900.0),
    ("operations", "No Alertmanager accepts anything",
     lambda: rule("AnomalyExporterAlertsUndelivered", "== 0", "> 120", wait="2m")),
    ("operations", "Prometheus can scrape no exporter",
     lambda: RULES["AnomalyExporterDown"]["labels"]["severity"] == "page"),
    ("operations", "The other one scores the same series and sends the same alerts",
     lambda: RULES["AnomalyExporterReplicaDown"]["labels"]["severity"] == "ticket"),
    ("operations", "`limits.max_series` (200,000) and `max_series_per_query` (100,000)",
     lambda: (default("limits", "max_series"), default("limits", "max_series_per_query")) == (200_000, 100_000)),
    ("operations", "`prometheus.max_response_bytes` (64 MiB)",
     lambda: default("prometheus", "max_response_bytes") == 64 * 2**20),
    ("operations", "`baseline.window` (30 days) of history at `backfill_step` (5 minutes)",
     lambda: (default("baseline", "window"), default("baseline", "backfill_step")) == (30 * 86400.0, 300.0)),
    ("operations", "| 1Gi (the manifests, the unit) |",
     lambda: {container(name)["resources"]["limits"]["memory"] for name in ALL_PODS} == {"1Gi"}
     and COMPOSE["anomaly-exporter"]["mem_limit"] == "1g" and "\nMemoryMax=1G\n" in UNIT),
    ("operations", "With `--config.auto-reload`, which all files of `deploy/`\nset",
     lambda: all("--config.auto-reload" in container(name)["args"] for name in ALL_PODS)
     and "--config.auto-reload" in COMPOSE["anomaly-exporter"]["command"] and "--config.auto-reload" in UNIT),
    ("operations", "use it for the liveness probe",
     lambda: all(container(name)["livenessProbe"]["httpGet"]["path"] == "/-/healthy" for name in ALL_PODS)),
    ("operations", "exits within ten\nseconds",
     lambda: all(only(name, "StatefulSet")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] >= 10
                 for name in ("standalone", "pair", "shards")) and "TimeoutStopSec=20" in UNIT),
    ("security", "no shell, no package manager, user 65532",
     lambda: "distroless" in DOCKERFILE and "USER 65532" in DOCKERFILE),
    ("security", "Run it read-only with `/data` and `/tmp` writable and without capabilities, as the compose file does",
     lambda: COMPOSE["anomaly-exporter"]["read_only"] and COMPOSE["anomaly-exporter"]["cap_drop"] == ["ALL"]),
    ("security", 'the "restricted" pod security standard and no API token',
     lambda: all(restricted(name) for name in ALL_PODS)),
    ("security", "the network policy of `standalone`, `pair` and `shards`",
     lambda: all("NetworkPolicy" in {one["kind"] for one in build(name)} for name in ("standalone", "pair", "shards"))),
    ("security", "a dynamic user, a read-only system, no capability, no device",
     lambda: {"DynamicUser=yes", "ProtectSystem=strict", "CapabilityBoundingSet=", "PrivateDevices=yes"}
     <= set(UNIT.splitlines())),
    ("pages", "processes with low priority (nice 5)", lambda: "SystemCallFilter=setpriority" in UNIT),
    ("alerts", "let the root inhibit its effects", lambda: inhibits('incident_role="root"', 'incident_role="effect"')),
    ("scaling", "the shipped rules and dashboards drop it", lambda: all("without (replica)" in one["expr"]
     for one in RULES.values() if re.search(r"\banomaly_(group_)?score\b", one["expr"]))),
    ("notifications", "is for Alertmanager 0.28 and newer",
     lambda: "msteamsv2_configs" in (DEPLOY / "alertmanager" / "teams.yml").read_text()),
]  # fmt: skip


@pytest.mark.parametrize(("document", "sentence", "true"), CLAIMS, ids=[sentence for _, sentence, _ in CLAIMS])
def test_claim(document: str, sentence: str, true: Callable[[], Any]) -> None:
    text = (ROOT / "docs" / f"{document}.md").read_text()
    flat = re.sub(r"\s+", " ", text)
    assert re.sub(r"\s+", " ", sentence) in flat, "the sentence has gone: so may its claim"
    assert true()
