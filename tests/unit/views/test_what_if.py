"""What other settings would have made of alerts, from verdicts and episodes that a real store has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from exporter.alerting.alert import AuditEvent
from exporter.alerting.episode import Feedback
from exporter.config.plan import QueryPlan
from exporter.engine.verdict import Verdict
from exporter.store import ChunkHeader, Store
from exporter.views.what_if import follow, what_if
from exporter.web.api.what_if import OtherSettings, WhatIfOutcome
from tests.faults.cycling import plan_of
from tests.store_values import a_transition, append

MINUTE = 60.0
SERIES = (("__name__", "load"), ("instance", "a"))
# Slot by slot: how far from the expected 10, and the votes. Three alerts of `for: 1m`.
DEVIATIONS = [0.0] * 5 + [1.0] * 4 + [0.0] * 5 + [2.0, 2.0, 6.0, 6.0, 6.0, 6.0] + [0.0] * 5 + [1.5] * 3 + [0.0] * 5
FIRED = {"small": (5, 9), "real": (14, 20), "false": (25, 28)}


@pytest.fixture
def store(tmp_path: Path):
    with Store.open(tmp_path / "state", clock=lambda: 10_000.0) as one:
        one.verdicts.configure(retention=1e9, most_bytes=1e9)
        header = ChunkHeader("load", "x", 2, MINUTE, ("zscore",))
        names = [SERIES]
        for slot, deviation in enumerate(DEVIATIONS):
            observed = np.array([10.0 + deviation])
            bad = deviation > 0
            no, nan = np.zeros(1, np.bool_), np.full(1, np.nan)
            score, votes = np.array([0.9 if bad else 0.1]), np.array([4.0 if deviation > 3 else 2.0 if bad else 0.0])
            expected = np.array([10.0])
            verdict = Verdict(
                slot * MINUTE, observed, score, expected, expected - 0.5, expected + 0.5, votes, nan, votes[None],
                ~no, no, nan, no, no,
            )  # fmt: skip
            one.verdicts.add(header, names, verdict, np.zeros(1, np.int8))
        for name, (begin, end) in FIRED.items():
            details = {"labels": '{"alertname": "A", "instance": "a", "query": "load"}'}
            append(one, [
                a_transition(name, AuditEvent.OPEN, begin * MINUTE, details=details, query="load"),
                a_transition(name, AuditEvent.FIRING, (begin + 1) * MINUTE, query="load"),
                a_transition(name, AuditEvent.RESOLVED, end * MINUTE, query="load", why="normal"),
            ])  # fmt: skip
        one.episodes.give_feedback("real-1", Feedback.CONFIRMED, at=5000.0, who="eve", comment="")
        one.episodes.give_feedback("false-1", Feedback.FALSE_ALARM, at=5000.0, who="eve", comment="")
        one.verdicts.flush()
        yield one


@pytest.fixture
def plan() -> QueryPlan:
    return plan_of(alert={"for": "1m"})


def tried(store: Store, plan: QueryPlan, **settings) -> WhatIfOutcome:
    followed, alerts = follow(plan, store.episodes, store.verdicts, lambda: [SERIES], 10_000.0)
    assert (len(followed), alerts) == (3, 3)
    (outcome,) = what_if(plan, followed, alerts, OtherSettings(**settings)).outcomes
    return outcome


@pytest.mark.parametrize(
    ("settings", "gone", "lost", "later"),
    [
        ({"min_deviation": 1.2}, 1, 0, 0.0),  # Only the small one is below.
        ({"min_deviation": 1.8}, 2, 0, 0.0),
        ({"min_deviation": 5.0}, 2, 0, 2 * MINUTE),  # The real one begins when it is large.
        ({"min_deviation": 7.0}, 3, 1, 0.0),
        ({"min_relative_deviation": 0.18}, 2, 0, 0.0),
        ({"quorum": 3}, 2, 0, 2 * MINUTE),
        ({"for_": 3 * MINUTE}, 1, 0, 2 * MINUTE),  # Three slots in a row are not three minutes.
        ({"for_": 10 * MINUTE}, 3, 1, 0.0),
    ],
    ids=str,
)
def test_each_setting_is_followed_sample_by_sample(store, plan, settings, gone, lost, later) -> None:
    outcome = tried(store, plan, **settings)
    assert (outcome.gone, outcome.confirmed_gone, outcome.confirmed_later_seconds) == (gone, lost, later)
    assert (outcome.alerts, outcome.confirmed, outcome.false_alarms) == (3, 1, 1)


def test_what_is_proposed_first_loses_nothing_real_and_spares_most(store, plan) -> None:
    followed, alerts = follow(plan, store.episodes, store.verdicts, lambda: [SERIES], 10_000.0)
    result = what_if(plan, followed, alerts, None)
    assert result.outcomes[0].confirmed_gone == 0
    assert result.outcomes[0].gone == 2
    assert all(each.gone for each in result.outcomes)


def test_alerts_of_series_that_are_gone_are_counted_as_not_followed(store, plan) -> None:
    followed, alerts = follow(plan, store.episodes, store.verdicts, list, 10_000.0)
    assert (followed, alerts) == ([], 3)
    (outcome,) = what_if(plan, followed, alerts, OtherSettings(quorum=3)).outcomes
    assert (outcome.alerts, outcome.not_followed) == (0, 3)
