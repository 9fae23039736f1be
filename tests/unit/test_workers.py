"""What is said of queries of whose series not all are judged."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest

from exporter.workers import Evaluators


def evaluator(**given: Any) -> SimpleNamespace:
    state = {"ready": True, "progress": 1.0, "judged": 60.0, "judged_ratio": 1.0, "trouble": None, "remark": None}
    return SimpleNamespace(**state | given)


@pytest.mark.parametrize(
    ("state", "line"),
    [
        ({}, None),
        ({"ready": False, "progress": 0.25}, "a: history is being read, 25%; it has no scores so far"),
        ({"judged": -math.inf, "judged_ratio": 0.0}, "a: not yet evaluated; its first slot is to come"),
        ({"judged": -math.inf, "judged_ratio": 0.0, "trouble": "x"}, "a: 0% of its series are judged: x"),
        ({"judged_ratio": 0.5, "remark": "y"}, "a: 50% of its series are judged: y"),
    ],
)
def test_reservations_say_why(state: dict[str, Any], line: str | None) -> None:
    evaluators = Evaluators()
    evaluators.by_query = {"a": evaluator(**state)}
    assert evaluators.reservations() == ([] if line is None else [line])
