"""How it begins: with nothing in Prometheus, with half a window of history, with a query that fails at first."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from tests.integration.daemon import Exporter, Feed, configuration
from tests.integration.process import eventually
from tests.integration.servers import Prometheus

pytestmark = pytest.mark.integration

PATIENCE = 90.0
DAY = 86400.0


class Source:
    """Writes what a test says into Prometheus, history and single samples: 100 and a little noise."""

    def __init__(self, prometheus: Prometheus) -> None:
        self._prometheus = prometheus
        self._rng = np.random.default_rng(7)

    def write(self, name: str, times: np.ndarray, instances: int = 2, *, factor: float = 1.0, **labels: str) -> None:
        self._prometheus.push(
            (
                {"__name__": name, "job": "app", "instance": f"host{number}", **labels},
                times,
                factor * (100.0 + self._rng.standard_normal(len(times))),
            )
            for number in range(instances)
        )

    def now(self, *names: str, **options: float) -> None:
        for name in names:
            self.write(name, np.array([time.time()]), **options)  # type: ignore[arg-type]


@pytest.fixture
def source(prometheus: Prometheus) -> Source:
    return Source(prometheus)


def begin(prometheus: Prometheus, directory: Path, *queries: dict[str, object], **baseline: str) -> Exporter:
    config = configuration(prometheus.url, [])
    config["queries"] = [{"alert": {"for": "0s", "storm": {"enabled": False}}, **query} for query in queries]
    config["storage"] = {"checkpoint_interval": "1s"}
    config["baseline"] |= baseline
    return Exporter(directory / "exporter", config)


def states(exporter: Exporter, query: str) -> dict[str, float]:
    """How many series a query has in each state; those with none are left out."""
    found = exporter.samples("anomaly_exporter_series", query=query)
    return {dict(labels)["state"]: value for labels, value in found.items() if value}


def assert_sane(exporter: Exporter) -> None:
    assert exporter.ask("/-/ready").status_code == 200
    assert exporter.ask("/-/healthy").status_code == 200
    assert exporter.ask("/").status_code == 200
    for query in ("load", "late"):
        assert exporter.ask(f"/graph?query={query}").status_code == 200
        assert not exporter.sample("anomaly_exporter_cycles_failed_total", query=query)
    log = exporter.process.log.read_text()
    assert "level=error" not in log
    assert "Traceback" not in log


def test_a_prometheus_that_is_empty_at_first(
    prometheus: Prometheus, source: Source, stack: ExitStack, tmp_path: Path
) -> None:
    """One query has series while the exporter runs, the other one while it does not."""
    queries = ({"name": "load", "expr": "load"}, {"name": "late", "expr": "late"})
    exporter = stack.enter_context(begin(prometheus, tmp_path, *queries, min_history="10s"))
    eventually(lambda: exporter.sample("anomaly_exporter_cycles_total", query="late") > 2, PATIENCE)
    assert states(exporter, "load") == states(exporter, "late") == {}
    assert not exporter.samples("anomaly_score")
    assert exporter.ask("/api/v1/series").json()["data"]["series"] == []
    assert exporter.process.log.read_text().count("gives no series") == 2
    assert_sane(exporter)

    def shown(query: str, *wanted: str) -> bool:
        source.now("load")
        return states(exporter, query) in [{state: 2.0} for state in wanted]

    eventually(lambda: shown("load", "warming_up"), PATIENCE, every=0.3)
    assert not exporter.samples("anomaly_score")
    eventually(lambda: shown("load", "scored"), PATIENCE, every=0.3)
    assert len(exporter.samples("anomaly_score", query="load")) == 2
    assert_sane(exporter)

    exporter.stop()
    source.now("load", "late")
    exporter.start()
    eventually(lambda: shown("late", "warming_up", "scored"), PATIENCE, every=0.3)
    eventually(lambda: shown("load", "scored"), PATIENCE, every=0.3)
    assert exporter.process.log.read_text().count("the query has series now") >= 1
    assert_sane(exporter)


def test_series_that_are_forgotten_come_back_and_change_their_labels(
    prometheus: Prometheus, source: Source, stack: ExitStack, tmp_path: Path
) -> None:
    """History begins in the middle of the window; the first answers are errors, and then series come and go."""
    now = time.time()
    source.write("load", np.arange(now - 4 * DAY, now, 300.0))
    # Many on both sides: an error of the query, and of nothing else.
    source.write("late", np.array([now]), which="a")
    source.write("late", np.array([now]), which="b")
    failing = {"name": "late", "expr": "load * on(instance) late"}
    queries = ({"name": "load", "expr": "load"}, failing)
    exporter = stack.enter_context(begin(prometheus, tmp_path, *queries, min_history="3d", series_ttl="2s"))

    def feed(**labels: str) -> None:
        source.write("load", np.array([time.time()]), **labels)

    def shown(query: str, wanted: dict[str, float], **labels: str) -> bool:
        feed(**labels)
        return states(exporter, query) == wanted

    eventually(lambda: shown("load", {"scored": 2.0}), PATIENCE, every=0.3)
    errors = "anomaly_exporter_query_errors_total"
    eventually(lambda: bool(exporter.sample(errors, query="late", reason="execution")), PATIENCE, every=0.3)
    assert exporter.ask("/-/ready").status_code == 200

    prometheus.delete('late{which="b"}')
    eventually(lambda: shown("late", {"warming_up": 2.0}), PATIENCE, every=0.3)

    prometheus.delete("load")
    eventually(lambda: shown("load", {"warming_up": 2.0}, version="2"), PATIENCE, every=0.3)
    prometheus.delete("load")
    eventually(lambda: states(exporter, "load") == {}, PATIENCE, every=0.3)
    eventually(lambda: shown("load", {"warming_up": 2.0}), PATIENCE, every=0.3)
    assert exporter.ask("/-/ready").status_code == 200
    assert "level=error" not in exporter.process.log.read_text()


def test_a_prometheus_that_was_started_a_minute_ago(prometheus: Prometheus, stack: ExitStack, tmp_path: Path) -> None:
    """Scores come with the first samples, they are provisional everywhere, and nothing alerts, whatever happens."""
    feed = stack.enter_context(Feed(prometheus, days=60.0 / DAY, step=5.0))
    born = time.time()
    exporter = stack.enter_context(begin(prometheus, tmp_path, {"name": "load", "expr": "load"}))

    def cycles() -> float:
        return exporter.sample("anomaly_exporter_cycles_total", query="load") or 0.0

    eventually(lambda: len(exporter.samples("anomaly_score", query="load")) == 3, PATIENCE)
    eventually(lambda: cycles() >= 15, PATIENCE)
    assert max(exporter.samples("anomaly_score", query="load").values()) < 0.5
    assert states(exporter, "load") == {"warming_up": 3.0}
    suppressed = exporter.samples("anomaly_suppressed", query="load")
    assert [dict(labels)["reason"] for labels in suppressed] == ["warming_up"] * 3
    alerts_from = exporter.sample("anomaly_exporter_alerts_from_timestamp_seconds", query="load")
    assert alerts_from is not None
    assert born - 700.0 < alerts_from - 7 * DAY < time.time()
    assert exporter.sample("anomaly_exporter_first_score_timestamp_seconds", query="load") is None
    page = " ".join(exporter.ask("/").text.split())
    assert "3 provisional scores, alerts from" in page
    assert "All well" not in page

    feed.factor = [5.0, 1.0, 1.0]
    hot = {"instance": "host0:9100"}
    eventually(
        lambda: max(exporter.samples("anomaly_score", query="load", **hot).values(), default=0.0) >= 0.5, PATIENCE
    )
    seen = cycles()
    eventually(lambda: cycles() >= seen + 5, PATIENCE)
    assert not any(exporter.samples("anomaly_exporter_alerts", query="load").values())
    assert exporter.ask("/api/v1/anomalies").json()["data"]["anomalies"] == []
    assert "level=error" not in exporter.process.log.read_text()
