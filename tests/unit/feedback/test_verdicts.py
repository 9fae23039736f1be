"""What people said of alerts is in the next ones like them, and may send those to a digest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from exporter.alerting.alert import AlertTransition, AuditEvent, Step
from exporter.alerting.episode import Feedback
from exporter.alerting.explanation.verdicts import verdicts
from exporter.engine.false_alerts import JudgedAlerts
from exporter.exposition import SelfMetrics
from exporter.feedback.episodes import EpisodeFeedback
from exporter.store import Store
from tests.contexts import context_of
from tests.storms import Stage


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "data", clock=lambda: 100.0) as store:
        yield store


@pytest.fixture
def feedback(store: Store) -> EpisodeFeedback:
    return EpisodeFeedback(store, SelfMetrics(CollectorRegistry()))


def judge(store: Store, fingerprint: str, *given: Feedback, query: str = "cpu") -> None:
    for number, verdict in enumerate(given):
        episode = f"{fingerprint}-{number}"
        opened = AlertTransition(fingerprint, query, episode, AuditEvent.OPEN, 10.0, "", details={"labels": "{}"})
        store.alerts.record(query, Step({}, (opened,)))
        store.episodes.give_feedback(episode, verdict, at=20.0, who="eve", comment="")


def test_nothing_is_said_before_anybody_judged(feedback: EpisodeFeedback) -> None:
    assert verdicts(feedback.verdicts("cpu", "a")) == ""


def test_alerts_of_the_same_series_count_and_before_three_those_of_the_query(
    store: Store, feedback: EpisodeFeedback
) -> None:
    judge(store, "a", Feedback.CONFIRMED)
    judge(store, "b", Feedback.FALSE_ALARM, Feedback.FALSE_ALARM, Feedback.EXPECTED, Feedback.NEW_NORMAL)
    judge(store, "c", Feedback.CONFIRMED, query="other")
    assert verdicts(feedback.verdicts("cpu", "a")) == (
        "1 of 5 alerts of this query that somebody judged were real (20 %); "
        "2 were false alarms, 1 was expected, 1 was the new normal"
    )
    assert verdicts(feedback.verdicts("cpu", "b")).startswith("0 of 4 alerts of this series ")
    assert (
        verdicts(feedback.verdicts("other", "x")) == "1 of 1 alert of this query that somebody judged was real (100 %)"
    )


def test_what_was_false_and_what_was_confirmed_is_counted_for_the_rate_of_false_alerts(
    store: Store, feedback: EpisodeFeedback
) -> None:
    judge(store, "a", Feedback.CONFIRMED, Feedback.CONFIRMED, Feedback.EXPECTED)
    judge(store, "b", Feedback.FALSE_ALARM, query="cpu")
    feedback.count()
    assert feedback.judged("cpu") == JudgedAlerts(false_alarms=1, confirmed=2)
    assert feedback.judged("another") == JudgedAlerts()


def test_the_newest_word_counts_and_a_restart_knows_it(store: Store, feedback: EpisodeFeedback) -> None:
    judge(store, "a", Feedback.FALSE_ALARM)
    store.episodes.give_feedback("a-0", Feedback.CONFIRMED, at=30.0, who="eve", comment="")
    for known in (feedback, EpisodeFeedback(store, SelfMetrics(CollectorRegistry()))):
        assert (known.verdicts("cpu", "a").confirmed, known.verdicts("cpu", "a").total) == (1, 1)


@pytest.mark.parametrize(
    ("below", "confirmed", "digest"),
    [
        pytest.param(0.5, 1, True, id="few were real"),
        pytest.param(0.2, 1, False, id="as many as are enough"),
        pytest.param(None, 0, False, id="nobody wants a digest"),
    ],
)
def test_alerts_that_are_hardly_ever_real_are_for_a_digest(
    store: Store, feedback: EpisodeFeedback, below: float | None, confirmed: int, digest: bool
) -> None:
    stage = Stage(["a", "b"], digest_below=below)
    given = [Feedback.CONFIRMED] * confirmed + [Feedback.FALSE_ALARM] * (5 - confirmed)
    judge(store, "x", *given)
    stage.rows.context = context_of(alerting=stage.limits, root_causes=stage.causes, feedback=feedback)
    stage.slot(["a"])
    (alert,) = stage.alert_store.alerts.values()
    assert alert.labels.get("notify_as") == ("digest" if digest else None)
    assert alert.annotations["verdicts"].startswith(f"{confirmed} of 5 alerts of this query ")
    judge(store, "y", *[Feedback.CONFIRMED] * 30)
    stage.slot(["a"])
    (later,) = stage.alert_store.alerts.values()
    assert later.labels == alert.labels, "an alert that fires keeps its labels"
    stage.crash()
    stage.slot(["a"])
    assert [each.episode for each in stage.alert_store.alerts.values()] == [alert.episode]
