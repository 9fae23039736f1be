"""What is asked once when an alert fires: it is in the alert from then on, whatever happens meanwhile."""

from __future__ import annotations

import pytest

from exporter.alerting.explanation.explanation import Explanation
from exporter.evaluation.inquiries import FiringAlert, Inquiries
from exporter.prometheus import PrometheusApi
from exporter.prometheus.settings import PrometheusSettings
from tests.storms import INTERVAL, Stage


class Question:
    """Says how often it was asked."""

    names = ("answer",)

    def __init__(self) -> None:
        self.asked: list[FiringAlert] = []
        self.timeouts: list[float] = []
        self.fails = False

    def ask(self, api: PrometheusApi, alert: FiringAlert, timeout: float) -> dict[str, str]:
        self.asked.append(alert)
        self.timeouts.append(timeout)
        if self.fails:
            raise RuntimeError("a mistake")
        return {"answer": f"answer {len(self.asked)}"}


class Scene:
    def __init__(self, series: tuple[str, ...] = ("a", "b", "c"), **changes: object) -> None:
        self.question = Question()
        self.stage = Stage(series, **changes)
        self.api = PrometheusApi(PrometheusSettings(url="http://localhost:1"))
        self.begin()

    def begin(self) -> None:
        self.stage.rows.inquiries = Inquiries([self.question], self.api, interval=INTERVAL)

    def answers(self) -> list[str | None]:
        return [alert.annotations.get("answer") for alert in self.stage.alert_store.alerts.values()]


def test_it_is_asked_when_the_alert_fires_and_not_before_or_after() -> None:
    scene = Scene(for_=120.0)
    scene.stage.slot(["a"])
    scene.stage.slot(["a"])
    assert (scene.answers(), scene.question.asked) == ([None], [])
    began = scene.stage.alert_store.alerts.copy().popitem()[1].active_at
    for _ in range(3):
        scene.stage.slot(["a"])
        assert scene.answers() == ["answer 1"]
    (alert,) = scene.question.asked
    assert (alert.series, alert.since, alert.at) == ({"instance": "a"}, began, began + 120.0)


def test_the_first_thing_that_is_sent_and_audited_has_the_answer() -> None:
    scene = Scene()
    step = scene.stage.judge(["a"])
    (firing,) = [each for each in step.transitions if each.event == "firing"]
    assert firing.details["answer"] == "answer 1"


def test_a_restart_keeps_the_answer_and_the_next_episode_asks_again() -> None:
    scene = Scene()
    scene.stage.slot(["a"])
    scene.stage.crash()
    scene.begin()
    scene.stage.slot(["a"])
    assert scene.answers() == ["answer 1"]
    scene.stage.slot([])
    scene.stage.slot(["a"])
    assert scene.answers() == ["answer 2"]


def test_an_own_annotation_may_use_the_answer() -> None:
    template = Explanation({}, {"note": "says {{ context.answer }}{{ context.other }}"}, {}, {"answer": "yes"})
    assert template.annotations == {"note": "says yes", "answer": "yes"}


def test_an_inquiry_that_breaks_does_not_hold_the_alert_back() -> None:
    scene = Scene()
    scene.question.fails = True
    scene.stage.slot(["a"])
    (alert,) = scene.stage.alert_store.alerts.values()
    assert alert.fired_at is not None
    assert "answer" not in alert.annotations


def test_many_alerts_at_once_are_not_all_asked_about_and_share_the_time() -> None:
    names = tuple(f"host{number}" for number in range(30))
    scene = Scene(names, storm={"enabled": False})
    scene.stage.slot(names)
    assert sum(answer is not None for answer in scene.answers()) == len(scene.question.asked) == 10
    assert max(scene.question.timeouts) == pytest.approx(5.0 / 3)


def test_a_storm_is_about_no_single_series() -> None:
    scene = Scene(tuple(f"host{number}" for number in range(8)))
    scene.stage.slot([f"host{number}" for number in range(8)])
    assert [alert.series for alert in scene.question.asked] == [{}]


def test_where_nobody_can_be_asked_nothing_is() -> None:
    scene = Scene()
    scene.stage.rows.inquiries = Inquiries([scene.question], None, interval=INTERVAL)
    scene.stage.slot(["a"])
    assert scene.answers() == [None]
