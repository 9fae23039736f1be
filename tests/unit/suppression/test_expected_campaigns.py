"""After three campaigns whose alerts people expected, the next of the same name is quiet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from exporter.alerting.alert import AlertTransition, AuditEvent, Step
from exporter.alerting.episode import Feedback
from exporter.calendar.events import AnnouncedEvent, event_id
from exporter.delivery import AlertSnapshots
from exporter.exposition import SelfMetrics
from exporter.store import Store
from exporter.suppression.suppression import Suppression

WEEK = 604_800.0


class Shop:
    def __init__(self, store: Store) -> None:
        self.store = store
        self.at = WEEK
        self.begin()

    def begin(self) -> None:
        """Start, or start again."""
        metrics = SelfMetrics(CollectorRegistry())
        self.suppression = Suppression(self.store, AlertSnapshots(), clock=lambda: self.at, metrics=metrics)

    def campaign(self, *verdicts: Feedback, name: str = "sale", query: str = "http", action: str = "note") -> None:
        """Announce a campaign of an hour; each verdict is one on an alert in the middle of it."""
        self.at += WEEK
        multiplier = 3.0 if action == "expect" else 1.0
        event = AnnouncedEvent(event_id(name), name, "api", action, multiplier, ('service="shop"',), self.at,
                               self.at + 3600.0, "", "eve", self.at, self.at, self.at)  # fmt: skip
        self.suppression.events.put(event, at=self.at)
        for number, verdict in enumerate(verdicts):
            episode = f"{query}-{self.at}-{number}"
            details = {"labels": '{"query": "http", "service": "shop"}'}
            opened = AlertTransition("f", query, episode, AuditEvent.OPEN, self.at + 1800.0, "", details=details)
            self.store.alerts.record(query, Step({}, (opened,)))
            self.store.episodes.give_feedback(episode, verdict, at=self.at + 1900.0, who="eve", comment="")

    def ignores(self, **labels: str) -> bool:
        """Whether an alert now, in the middle of a campaign, is ignored."""
        return any(
            rule.action == "ignore" and all(matcher.matches(labels.get(matcher.name, "")) for matcher in rule.matchers)
            for rule in self.suppression._active.rules(self.at + 1800.0)
        )


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with Store.open(tmp_path / "data", clock=lambda: WEEK) as store:
        yield Shop(store)


@pytest.mark.parametrize("action", ["note", "expect"])
def test_the_fourth_campaign_is_quiet_for_the_query_whose_alerts_were_expected(shop: Shop, action: str) -> None:
    for number in range(3):
        shop.campaign(action=action)
        assert not shop.ignores(query="http", service="shop"), number
        shop.campaign(Feedback.EXPECTED, Feedback.EXPECTED, action=action)
    shop.campaign(action=action)
    assert shop.ignores(query="http", service="shop")
    assert not shop.ignores(query="cpu", service="shop")
    assert not shop.ignores(query="http", service="mail")
    shop.campaign(name="another")
    assert not shop.ignores(query="http", service="shop")


def test_a_restart_knows_it(shop: Shop) -> None:
    for _ in range(3):
        shop.campaign(Feedback.EXPECTED)
    shop.campaign()
    shop.begin()
    assert shop.ignores(query="http", service="shop")


def test_a_campaign_counts_once_and_other_verdicts_do_not(shop: Shop) -> None:
    shop.campaign(*[Feedback.EXPECTED] * 5)
    shop.campaign(Feedback.CONFIRMED, Feedback.FALSE_ALARM)
    shop.campaign(Feedback.EXPECTED)
    shop.campaign()
    assert not shop.ignores(query="http", service="shop")


def test_who_changes_his_mind_is_alerted_again(shop: Shop) -> None:
    for _ in range(3):
        shop.campaign(Feedback.EXPECTED)
    episode = f"http-{shop.at}-0"
    shop.campaign()
    assert shop.ignores(query="http", service="shop")
    shop.store.episodes.give_feedback(episode, Feedback.CONFIRMED, at=shop.at, who="ann", comment="it was not")
    assert not shop.ignores(query="http", service="shop")
