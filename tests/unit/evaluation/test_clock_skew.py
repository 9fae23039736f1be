"""At which differences of clocks a slot is still judged: an hour ahead, five minutes behind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from exporter.evaluation.clock_skew import ClockSkew, OutOfTime
from exporter.exposition import SelfMetrics
from exporter.prometheus import Frame
from tests.contexts import context_of
from tests.faults.cycling import plan_of

NOW = 1_790_000_040.0


def rewound(*, server: float | None, slot: float = NOW, newest: float = NOW - 60.0, now: float = NOW) -> bool:
    """Compare the clocks once; `server` is how far the server's clock is ahead of ours."""
    context: Any = context_of(clock=lambda: now, metrics=SelfMetrics(CollectorRegistry()))
    # The header has whole seconds; half a second is added.
    frame = Frame(slot, [], np.zeros(0), np.zeros(0), 0, (), None if server is None else now + server - 0.5)
    return ClockSkew().is_rewound(plan_of(), context, frame, slot, newest)


@pytest.mark.parametrize("server", [None, 0.0, 3600.0, -300.0])
def test_within_the_limits_a_slot_is_judged(server: float | None) -> None:
    assert not rewound(server=server)


@pytest.mark.parametrize(
    ("server", "words"), [(3601.0, "3601 s ahead of ours"), (-301.0, "301 s behind ours"), (86400.0, "86400 s ahead")]
)
def test_beyond_the_limits_an_answer_does_not_describe_the_present(server: float, words: str) -> None:
    with pytest.raises(OutOfTime, match=words):
        rewound(server=server)


def test_a_slot_may_be_a_minute_ahead_of_our_clock() -> None:
    assert not rewound(server=0.0, slot=NOW + 60.0, newest=NOW)
    with pytest.raises(OutOfTime, match="while prometheus was asked"):
        rewound(server=0.0, slot=NOW + 61.0, newest=NOW)


def test_slots_come_again_when_the_clocks_agree_and_the_newest_is_five_minutes_ahead() -> None:
    assert rewound(server=0.0, newest=NOW + 300.0)
    assert rewound(server=60.0, newest=NOW + 300.0)
    assert rewound(server=0.0, slot=NOW - 300.0, newest=NOW)


@pytest.mark.parametrize(
    "given",
    [
        {"server": 0.0, "newest": NOW + 299.0},
        {"server": 61.0, "newest": NOW + 300.0},
        {"server": None, "newest": NOW + 300.0},
        {"server": 0.0, "slot": NOW - 301.0, "newest": NOW},
    ],
    ids=["newest-near", "clocks-disagree", "no-clock", "slot-long-ago"],
)
def test_otherwise_slots_that_were_judged_before_are_left_out(given: dict[str, float | None]) -> None:
    with pytest.raises(OutOfTime, match="judged before the clock was set back"):
        rewound(**given)  # type: ignore[arg-type]
