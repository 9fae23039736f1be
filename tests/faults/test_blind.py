"""Ten ways to be blind, each a source of one daemon: the shipped rules page for every one, and for nothing else.

The rules are those of deploy/prometheus with a shorter `judged_for`; a real Prometheus evaluates them. As they are
shipped it takes half an hour:

    ANOMALY_EXPORTER_JUDGED_FOR=10m python -m pytest -s tests/faults/test_blind.py
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest
import yaml

from exporter.settings import parse_duration
from scripts.rules import PROMETHEUS, rule_files
from tests.integration.conftest import RunPrometheus
from tests.integration.daemon import Exporter
from tests.integration.dialects import Dialect, Refusal, Request
from tests.integration.process import eventually
from tests.integration.servers import Prometheus

pytestmark = pytest.mark.integration

JUDGED_FOR = os.environ.get("ANOMALY_EXPORTER_JUDGED_FOR", "4s")
PATIENCE = 90.0 + parse_duration(JUDGED_FOR)

WAYS = (
    "full_table",
    "collisions",
    "rejected_rows",
    "own_output",
    "unread_history",
    "partial_answers",
    "paused_backend",
    "wrong_tenant",
    "empty_answer",
    "clock",
)


@dataclass
class Way(Dialect):
    """A server that is well, until it blinds who asks it in its own way."""

    way: str = ""
    blind: bool = False
    resumed: threading.Event = field(default_factory=threading.Event)

    def refusal(self, request: Request) -> Refusal | None:
        if self.way == "unread_history" and request.path.endswith("query_range"):
            return 502, "bad gateway"
        if self.way == "paused_backend" and self.blind:
            self.resumed.wait(30.0)
        return None

    def marks(self, request: Request) -> dict[str, Any]:
        return {"isPartial": True} if self.way == "partial_answers" and self.blind else {}

    def answer(self, request: Request) -> Refusal:
        status, whole = super().answer(request)
        if not self.blind or not isinstance(whole, dict) or not request.path.endswith("query"):
            return status, whole
        rows = whole["data"]["result"]
        sample = rows[0]["value"]
        if self.way == "full_table":
            rows += [{"metric": {"__name__": "load", "instance": f"new{n}"}, "value": sample} for n in range(9)]
        elif self.way == "collisions":
            # Control characters are replaced: what differs in nothing else is one.
            rows += [{"metric": {"__name__": "load", "instance": f"x{chr(n)}"}, "value": sample} for n in range(1, 9)]
        elif self.way == "rejected_rows":
            for row in rows[1:]:
                row["histogram"] = [row.pop("value")[0], {"count": "1", "sum": "1", "buckets": []}]
        elif self.way == "own_output":
            own = {"__name__": "anomaly_score", "query": "own_output"}
            rows += [{"metric": {**own, "instance": str(n)}, "value": sample} for n in range(9)]
        elif self.way == "partial_answers":
            del rows[1:]
        elif self.way == "empty_answer" or (self.way == "wrong_tenant" and request.headers["X-Scope-OrgID"] == "team"):
            rows.clear()
        return status, whole


def rules() -> dict[str, Any]:
    """The shipped rules about the exporter itself, with their `for`."""
    parameters = yaml.safe_load((PROMETHEUS / "parameters.yaml").read_text()) | {"judged_for": JUDGED_FOR}
    return dict(yaml.safe_load(rule_files(parameters)["anomaly-exporter.rules.yml"]))


def await_pages(prometheus: Prometheus, expected: set[str]) -> None:
    """Wait until the rules page for these queries, and for no other."""
    expr = 'ALERTS{alertname="AnomalyExporterSeriesUnjudged",alertstate="firing",severity="page"}'

    def check() -> bool:
        assert {row["metric"]["query"] for row in prometheus.query(expr)} == expected
        return True

    begin = time.monotonic()
    eventually(check, PATIENCE, what="pages")
    print(f"{len(expected)} page after {time.monotonic() - begin:.0f} s, where `for` is {JUDGED_FOR}")


@pytest.mark.timeout(300 + 3 * PATIENCE)
def test_whatever_blinds_a_query_pages(run_prometheus: RunPrometheus, stack: ExitStack, tmp_path: Any) -> None:
    servers = {way: stack.enter_context(Way(way=way).run()) for way in (*WAYS, "well")}
    config = {
        "global": {"interval": "1s"},
        "baseline": {"window": "1d", "min_history": "1h"},
        "sources": [
            {"name": way, "url": server.url, "headers": {"X-Scope-OrgID": "team"}} for way, server in servers.items()
        ],
        "queries": [
            {"name": way, "expr": "load", "source": way, "max_series": 3 if way == "full_table" else 100}
            for way in servers
        ],
    }
    exporter = stack.enter_context(Exporter(tmp_path / "exporter", config))
    scrape = {"job_name": "anomaly-exporter", "static_configs": [{"targets": [exporter.url.removeprefix("http://")]}]}
    prometheus = run_prometheus(rules=rules(), config={"scrape_configs": [{**scrape, "honor_labels": True}]})
    judged = "anomaly_exporter_judged_ratio"
    well = set(servers) - {"unread_history"}
    eventually(lambda: all(exporter.sample(judged, query=way) == 1.0 for way in well), 120.0, what="all are judged")
    await_pages(prometheus, {"unread_history"})

    for server in servers.values():
        server.blind = True
    servers["clock"].ahead = 7200.0
    await_pages(prometheus, set(WAYS))
    # Who is woken finds the reason at once.
    ready = exporter.ask("/-/ready").text
    for way in WAYS:
        assert f"{way}: " in ready
    assert "well: " not in ready

    for server in servers.values():
        server.blind, server.ahead = False, 0.0
        server.resumed.set()
    await_pages(prometheus, {"unread_history"})
