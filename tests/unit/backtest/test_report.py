"""The figures of a report, and how text and HTML say them."""

from __future__ import annotations

from exporter.backtest.html import to_html
from exporter.backtest.incidents import Incident
from exporter.backtest.recorder import AlertRecorder, RecordedAlert, ScoreCounts
from exporter.backtest.replay_result import ReplayResult, TimeSpan
from exporter.backtest.report import BacktestReport, ReportLimits, broken, side, to_json
from exporter.backtest.text import to_text
from exporter.config.model import Config

HOUR = 3600.0
WITHIN = TimeSpan(0.0, 14 * 86400.0)
PLANS = Config.model_validate({"queries": [{"name": "q", "expr": "x"}]}).plans()


def outcome(*alerts: RecordedAlert, scores: ScoreCounts | None = None) -> ReplayResult:
    record = AlertRecorder(lambda _: ())
    record.alerts += alerts
    record.scores["q"] = scores or ScoreCounts(slots=100, empty=5, samples=95, scored=95, counted=95, anomalous=19)
    return ReplayResult(WITHIN, PLANS, (), record, {"q": ("something is missing",)})


def alert(at: float, lasts: float | None = HOUR, *, told: bool = True, **labels: str) -> RecordedAlert:
    resolved = None if lasts is None else at + lasts
    return RecordedAlert(
        "q", f"{labels}", {"query": "q", **labels}, "it is bad", at, at, at if told else None, resolved
    )


NO_LIMITS = ReportLimits()


def report(
    new: ReplayResult, old: ReplayResult | None = None, *incidents: Incident, limits: ReportLimits = NO_LIMITS
) -> BacktestReport:
    sides = [side(name, one, incidents, ahead=600.0) for name, one in (("new", new), ("old", old)) if one is not None]
    return BacktestReport(WITHIN, "UTC", sides[0], (*sides, None)[1], incidents, broken(limits, sides[0]))


def test_lengths_and_rates() -> None:
    (one,) = report(outcome(alert(0.0), alert(10 * HOUR, 3 * HOUR), alert(20 * HOUR, told=False))).new.counted
    assert (one.alerts, one.silenced, one.per_week, one.mean, one.longest) == (2, 1, 1.0, 2 * HOUR, 3 * HOUR)
    assert (one.anomalous, one.young) == (0.2, 0.0)


def test_one_that_goes_on_lasts_until_the_end() -> None:
    (one,) = report(outcome(alert(WITHIN.end - HOUR / 2, None))).new.counted
    assert one.longest == HOUR / 2


def test_what_was_found_and_what_was_useless() -> None:
    found, missed = Incident(HOUR, 2 * HOUR), Incident(50 * HOUR, 51 * HOUR)
    new = report(outcome(alert(HOUR - 300), alert(20 * HOUR)), None, found, missed).new
    assert (new.missed, new.lead, new.useless, new.precision) == (1, 300.0, 1, 0.5)


def test_limits() -> None:
    late = Incident(HOUR, 2 * HOUR, "late")
    new = outcome(alert(HOUR + 60), alert(20 * HOUR), alert(30 * HOUR))
    said = report(new, None, late, Incident(80 * HOUR, 81 * HOUR), limits=ReportLimits(1.0, 0, -30.0)).broken
    assert said == (
        "q: 1.50 alerts a week, 1 at most",
        "1 incidents missed, 0 at most",
        "incident late: told -60 s before it began, -30 s at least",
    )
    assert report(new, None, late, limits=ReportLimits(1.5, 0, -60.0)).broken == ()


def test_text_of_two_configurations() -> None:
    outage = Incident(HOUR, 2 * HOUR, "outage")
    text = to_text(
        report(
            outcome(alert(HOUR, host="a"), alert(50 * HOUR, host="a\x1b[1m")),
            outcome(alert(HOUR + 600, host="a")),
            outage,
        )
    )
    assert "outage: told 10 min earlier by the new one." in text
    assert "The new configuration tells 1 alert more than the old one." in text
    assert "2 (1)" in text
    assert "told at the same time by both" in to_text(report(outcome(alert(HOUR)), outcome(alert(HOUR)), outage))
    assert "host=a\\x1b[1m" in text
    assert "new: q: 5 of 100 slots (5.0 %) had no sample" in text
    assert "new: q: warning: something is missing" in text
    assert max(map(len, text.splitlines())) <= 100


def test_why_an_alert_fired_stands_below_its_summary() -> None:
    fired = alert(HOUR, service="shop")
    fired.reasons = {"drill_down": "version=1.4.2 carries 91 %\nwithout it 34/s of 35/s"}
    only_here = report(outcome(fired), outcome())
    lines = [line.strip() for line in to_text(only_here).splitlines()]
    place = lines.index("it is bad")
    assert lines[place + 1 : place + 3] == ["version=1.4.2 carries 91 %", "without it 34/s of 35/s"]
    (written,) = to_json(only_here)["new"]["alerts"]
    assert written["drill_down"].startswith("version=1.4.2")
    assert "<p>version=1.4.2 carries 91 %</p>" in to_html(only_here, {})


def test_nothing_to_say() -> None:
    text = to_text(report(outcome(scores=ScoreCounts(slots=10, empty=10))))
    assert "0 alerts in 14 d, 0.0 a week." in text
    assert "no samples in this range; is the expression right?" in text


def test_labels_in_html_are_only_text() -> None:
    page = to_html(report(outcome(alert(HOUR, host="<b>&"))), {})
    assert "<b>" not in page
    assert "host=&lt;b&gt;&amp;" in page
