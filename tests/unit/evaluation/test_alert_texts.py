"""What alerts say in ten situations: real evaluations of weeks of samples, printed in docs/annotations.md."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from exporter.alerting.alert import Alert, AlertState
from exporter.alerting.settings import DependencySettings
from exporter.correlation.root_causes import RootCauses
from exporter.evaluation.context import EvaluationContext
from tests.faults.cycling import Source, World, plan_of

MONDAY = 1_795_442_400.0
"""2026-11-23, 14:00 UTC."""
MINUTE, HOUR = 60.0, 3600.0
DOCUMENT = Path(__file__).parents[3] / "docs" / "annotations.md"
BEGIN, END = "<!-- situations: begin -->\n", "<!-- situations: end -->"
SHOWN = ("summary", "shape", "deviation", "since", "history", "level_shift", "why", "also", "members", "in_common")
SHOWN += ("suspected_cause", "suspected_effects", "chart_url")

Change = Callable[[float, float], float | None]
"""A value and the seconds since the anomaly began, to the value that was measured; None: no sample."""


def noise(name: str, at: float) -> float:
    """Return what looks like noise of one standard deviation, and follows from the name and the time."""
    parts = (math.sin(at * 12.9898 + len(name) + 78.233 * k) * 43758.5453 for k in range(3))
    return 2.0 * (sum(part - math.floor(part) for part in parts) - 1.5)


def usual(name: str, at: float, level: float) -> float:
    """Return a value with a day and a quieter weekend."""
    day = 1.0 + 0.3 * math.sin((at / HOUR - 8.0) / 24.0 * 2.0 * math.pi)
    weekend = 0.8 if (at // 86400.0 + 3.0) % 7.0 >= 5.0 else 1.0
    return level * day * weekend * (1.0 + 0.03 * noise(name, at))


class Measured(Source):
    """Series of one level; from `MONDAY` on some of them are changed."""

    def __init__(
        self, *series: str, level: float, change: Change, changed: tuple[str, ...] = (), **labels: str
    ) -> None:
        super().__init__(*series, labels=labels)
        self.level, self.change, self.changed = level, change, changed or series

    def value(self, name: str, at: float) -> float:
        value = usual(name, at, self.level)
        if name not in self.changed or at < MONDAY - 20.0 * HOUR:
            return value
        changed = self.change(value, at - MONDAY)
        return value if changed is None else changed

    def keys(self) -> list[str]:
        gone = self.change(1.0, self.now()) is None
        return [name for name in self.series if not gone or name not in self.changed]

    def now(self) -> float:
        return (self.instants[-1] if self.instants else -math.inf) - MONDAY


class Situation(World):
    """A query that has learned nine days, or three weeks, at ten minutes to two on a Monday."""

    def __init__(
        self, directory: Path, source: Source, causes: RootCauses | None = None, days: int = 9, **query: Any
    ) -> None:
        self.causes = causes or RootCauses()
        fields = {
            "min_relative_deviation": 0.0,
            "baseline": {"window": f"{days}d", "backfill_step": "15m"},
            "alert": {"storm": {"enabled": len(source.series) > 5}},
            **query,
        }
        super().__init__(directory, source, plan=plan_of(**fields), start=MONDAY - 10.0 * MINUTE)
        assert self.prepare()

    def context(self) -> EvaluationContext:
        context = super().context()
        settings = replace(context.settings, external_url="https://anomaly.example")
        return replace(context, settings=settings, ports=replace(context.ports, root_causes=self.causes))

    def until(self, minutes: float) -> dict[str, str]:
        """Evaluate slots until so long after the anomaly began, and an alert fires; return what it says."""
        while self.now < MONDAY + minutes * MINUTE or (not self.firing() and self.now < MONDAY + 2.0 * HOUR):
            self.slot()
        (alert,) = self.firing()
        return dict(alert.annotations)

    def firing(self) -> list[Alert]:
        return [alert for alert in self.cycle.alerts.alerts.values() if alert.state is AlertState.FIRING]


def times(factor: float) -> Change:
    return lambda value, after: value * factor if after >= 0.0 else value


def single(directory: Path) -> dict[str, Mapping[str, str]]:
    """Return the annotations of alerts of one series, by what happened."""

    def of(name: str, change: Change, level: float, minutes: float, **query: Any) -> Mapping[str, str]:
        # The other one is well.
        source = Measured("api-1:9100", "api-2:9100", level=level, change=change, changed=("api-1:9100",), job="api")
        return Situation(directory / name, source, name=name, **query).until(minutes)

    return {
        "A jump": of("latency_p99", times(4.0), 0.2, 12.0, unit="seconds", days=22),
        "A build-up": of(
            "queue_length", lambda value, after: value * min(3.0, 1.0 + max(after, 0.0) / 300.0), 400.0, 9.0
        ),
        "A drift: a leak since yesterday evening": of(
            "memory_bytes", lambda value, after: value + 2.0**31 * 0.012 * (after / HOUR + 20.0), 2.0**31, 30.0,
            unit="bytes", days=22,
        ),
        "A drop": of("requests", times(0.05), 800.0, 12.0, unit="per_second"),
        "A series that is missing": of(
            "heartbeats", lambda value, after: None if after >= 0.0 else value, 60.0, 40.0, unit="per_second"
        ),
        "A level that has moved and stays": of(
            "cpu", lambda value, after: value + 0.35 * (after >= 0.0), 0.3, 75.0, unit="ratio", days=22
        ),
        "More noise than usual": of(
            "power_watts",
            lambda value, after: value * (1.0 + (0.25 * noise("more", after) if after >= 0.0 else 0.0)),
            230.0,
            20.0, days=22,
        ),
    }  # fmt: skip


def of_several(directory: Path) -> dict[str, Mapping[str, str]]:
    """Return the annotations of a storm, and of a cause and its effect."""
    pods = tuple(f"pod-{number}" for number in range(40))
    source = Measured(*pods, level=12.0, change=times(3.0), changed=pods[:9], job="api")
    source.extra = {name: {"zone": "b" if number < 12 else "a"} for number, name in enumerate(pods)}
    storm = Situation(directory / "storm", source, name="errors", unit="per_second").until(6.0)
    causes = RootCauses([DependencySettings(caller={"service": "checkout"}, callee={"service": "payments"})])
    slow = Measured("db-1", level=0.05, change=times(5.0), service="payments")
    late = Measured("web-1", level=0.3, change=lambda value, after: value * (3.0 if after >= 120.0 else 1.0),
                    service="checkout")  # fmt: skip
    callee = Situation(directory / "callee", slow, causes, name="db_latency", unit="seconds")
    caller = Situation(directory / "caller", late, causes, name="checkout_latency", unit="seconds",
                       alert={"for": "3m"})  # fmt: skip
    effect: Mapping[str, str] = {}
    while callee.now < MONDAY + 9.0 * MINUTE:
        callee.slot()
        caller.slot()
    cause, effect = callee.until(9.0), caller.until(9.0)
    return {"Many series of one query": storm, "The cause of an incident": cause, "Its effect": effect}


@pytest.fixture(scope="module")
def situations(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Mapping[str, str]]:
    directory = tmp_path_factory.mktemp("situations")
    return {**single(directory), **of_several(directory)}


def test_each_situation_has_its_shape(situations: dict[str, Mapping[str, str]]) -> None:
    shapes = {name: texts.get("shape", "") for name, texts in situations.items()}
    assert list(shapes.values())[:7] == ["jump", "build-up", "drift", "drop", "missing", "level shift", "noisier"]
    for texts in situations.values():
        assert texts["summary"]
        assert texts["since"]
        assert "e-" not in texts["summary"]
        assert "band -" not in texts["summary"]


def test_ten_situations_are_in_the_documentation(situations: dict[str, Mapping[str, str]], update_golden: bool) -> None:
    assert len(situations) == 10
    parts = []
    for name, texts in situations.items():
        lines = [(key, line) for key in SHOWN if texts.get(key) for line in [texts[key].replace("\n", f"\n{'':19}")]]
        body = "\n".join(f"{key + ':':18} {line}" for key, line in lines)
        parts.append(f"**{name}**\n\n```\n{body}\n```\n\n")
    text = DOCUMENT.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    expected = before + BEGIN + "".join(parts) + END + after
    if update_golden:
        DOCUMENT.write_text(expected)
    assert DOCUMENT.read_text() == expected
