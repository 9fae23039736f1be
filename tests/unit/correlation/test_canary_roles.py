"""Which series are on which side of a canary."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from exporter.correlation.canary_roles import CanaryRoles
from exporter.correlation.canary_settings import CanarySettings
from exporter.engine.series import SeriesTable


class Answers:
    """Answers whose series come and go."""

    def __init__(self, **settings: Any) -> None:
        self.roles = CanaryRoles(CanarySettings.model_validate(settings))
        self.table = SeriesTable(100)
        self.at = 0.0

    def sides(self, *series: dict[str, str], seconds: float = 60.0) -> list[tuple[dict[str, str], str, str, str]]:
        """Return of each comparison its labels and names, and the side of each series in it as a letter."""
        self.at += seconds
        rows, _ = self.table.find([json.dumps(labels).encode() for labels in series])
        present = np.zeros(self.table.size, np.bool_)
        present[rows] = True
        roles = self.roles.assign(self.table, present, self.at)
        letters = np.where(roles.place[rows] >= 0, np.where(roles.side[rows] == 1, "c", "b"), "-")
        return [
            (
                json.loads(sides.key),
                sides.baseline,
                sides.candidate,
                "".join(np.where((roles.place[rows] == number) | (letters == "-"), letters, ".")),
            )
            for number, sides in enumerate(roles.sides)
        ]


def pod(name: str, version: str, service: str = "cart") -> dict[str, str]:
    return {"pod": name, "version": version, "service": service}


def test_the_newest_value_is_compared_with_the_one_before_it() -> None:
    answers = Answers(label="version", by=["service"])
    assert answers.sides(pod("a", "1.9"), pod("b", "1.9")) == []
    expected = ({"service": "cart", "version": "1.10"}, "1.9", "version=1.10", "bbc")
    assert answers.sides(pod("a", "1.9"), pod("b", "1.9"), pod("c", "1.10")) == [expected]
    # Also when most series have it, and when another scrape has none of it.
    assert answers.sides(pod("a", "1.9"), pod("d", "1.10"), pod("c", "1.10"))[0][3] == "bcc"
    assert answers.sides(pod("a", "1.9"))[0][3] == "b"
    # The rollout is over.
    assert answers.sides(pod("d", "1.10"), seconds=1200.0) == []
    assert answers.sides(pod("d", "1.10"), pod("e", "2.0"))[0][1:3] == ("1.10", "version=2.0")


def test_a_rollback_is_a_rollout_to_the_old_version() -> None:
    answers = Answers(label="version")
    answers.sides(pod("a", "1"))
    answers.sides(pod("a", "1"), pod("b", "2"))
    answers.sides(pod("b", "2"), seconds=3600.0)
    assert answers.sides(pod("b", "2"), pod("c", "1"))[0][1:3] == ("2", "version=1")


def test_values_that_were_there_first_are_in_the_order_of_their_numbers() -> None:
    assert Answers(label="version").sides(pod("a", "v1.10.0"), pod("b", "v1.9.2"))[0][1:] == (
        "v1.9.2",
        "version=v1.10.0",
        "cb",
    )


def test_sides_by_matchers() -> None:
    answers = Answers(baseline=['zone="a"'], candidate=['zone="b"'], by=["job"])
    series = [{"zone": zone, "job": job} for zone in ("a", "b", "c") for job in ("x", "y")]
    assert answers.sides(*series, {"zone": "a"}) == [
        ({"job": "x", "zone": "b"}, "zone=a", "zone=b", "b.c.---"),
        ({"job": "y", "zone": "b"}, "zone=a", "zone=b", ".b.c---"),
    ]


def test_what_both_sides_select_is_on_none() -> None:
    answers = Answers(baseline=['zone=~"a|b"'], candidate=['zone=~"b|c"'])
    [(labels, baseline, candidate, letters)] = answers.sides({"zone": "a"}, {"zone": "b"}, {"zone": "c"})
    assert (labels, baseline, candidate, letters) == ({}, 'zone=~"a|b"', 'zone=~"b|c"', "b-c")


def test_who_came_first_is_known_after_a_restart() -> None:
    answers, again = Answers(label="version"), Answers(label="version")
    answers.sides(pod("a", "2"))
    answers.sides(pod("a", "2"), pod("b", "1"))
    assert again.roles.restore(answers.roles.dump())
    again.at = answers.at
    assert again.sides(pod("a", "2"), pod("b", "1"))[0][1:3] == ("2", "version=1")
    assert not again.roles.restore(np.frombuffer(b"[1]", np.uint8))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "give either label, or baseline and candidate"),
        ({"label": "version", "candidate": ['a="b"']}, "give either label, or baseline and candidate"),
        ({"candidate": ['a="b"']}, "baseline and candidate are both needed"),
        ({"candidate": ['a="b"'], "baseline": ['a="b"']}, "select the same series"),
        ({"label": "version", "by": ["version"]}, "version cannot be in by"),
        ({"label": "version", "alert": {"budget": "2/week"}}, "a comparison has no budget"),
        ({"label": "version", "alert": None}, "empty; write alert: {}"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        CanarySettings.model_validate(settings)
