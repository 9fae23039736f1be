"""The vote of single metrics together with the joint detector."""

from __future__ import annotations

import numpy as np
import pytest

from exporter.engine.multivariate.joint import Joint
from exporter.engine.multivariate.members import MemberLoad
from exporter.engine.multivariate.votes import together

NAN = np.nan


def voted(joint: float, severities: list[float], quorum: int, *, load: bool = False) -> tuple[float, list[float]]:
    one, metrics = (1, len(severities)), len(severities)
    held, none = np.full(one, load), np.zeros(one, np.bool_)
    share = np.full(one, 1.0 / metrics)
    members = MemberLoad(np.array([1.5 if load else NAN]), held, none, none, none, np.array([load]))
    result = together(
        Joint(np.array([joint]), share, np.array([False])), np.array([severities]), members, (0, 1), quorum
    )
    return float(result.severity[0]), result.share[0].tolist()


@pytest.mark.parametrize(
    ("joint", "severities", "quorum", "expected"),
    [
        (0.4, [3.0, 0.2, 9.0], 1, 3.0),
        (0.4, [3.0, 0.2, 9.0], 2, 0.4),
        (1.2, [3.0, 0.2, 9.0], 2, 1.2),
        (1.2, [3.0, 2.0, 9.0], 3, 1.2),
        (NAN, [3.0, 2.0, 9.0], 2, 2.0),
        (NAN, [3.0, NAN, 9.0], 2, NAN),
        (1.2, [np.inf, 0.1, 0.1], 2, 1.2),
        (1.2, [3.0, 2.0, 9.0], 4, NAN),
    ],
)
def test_the_severity_is_what_so_many_voters_reach(
    joint: float, severities: list[float], quorum: int, expected: float
) -> None:
    severity, share = voted(joint, severities, quorum)
    np.testing.assert_equal(severity, expected)
    assert sum(share) == pytest.approx(1.0)


def test_what_goes_with_a_load_has_no_vote() -> None:
    assert voted(0.1, [3.0, 2.0, 9.0], 2, load=True)[0] == 0.5
    assert voted(0.1, [0.2, 0.1, 9.0], 1, load=True)[0] == 0.2


def test_the_shares_are_those_of_the_voters_too() -> None:
    assert np.argmax(voted(0.3, [0.1, 4.0, 0.0], 1)[1]) == 1
    assert voted(NAN, [NAN, NAN, 1.0], 1)[1] == [0.0, 0.0, 0.0]
