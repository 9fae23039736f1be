from __future__ import annotations

from typing import Any

import pytest

from exporter.config.model import Config
from exporter.config.plan import QueryPlan


def plan(query: dict[str, Any] | None = None, **sections: Any) -> QueryPlan:
    config = Config.model_validate({**sections, "queries": [{"name": "a", "expr": "up", **(query or {})}]})
    return config.plans()[0]


def test_a_query_inherits_what_it_does_not_say() -> None:
    inherited = plan({"detection": {"detectors": ["zscore"]}, "baseline": {"window": "14d"}}, detection={"quorum": 1})
    assert inherited.interval == 60.0
    assert inherited.zone == "UTC"
    assert inherited.detection.quorum == 1
    assert [detector.kind for detector in inherited.detection.detectors] == ["zscore"]
    assert inherited.baseline.window == 14 * 86400.0
    assert inherited.baseline.backfill_step == 300.0
    assert inherited.max_series == 100_000
    assert inherited.alert is None


@pytest.mark.parametrize(
    ("general", "query", "timeout"),
    [
        pytest.param({}, {}, 30.0, id="the default"),
        pytest.param({}, {"interval": "10s"}, 8.0, id="an inherited timeout leaves time to score"),
        pytest.param({"interval": "10s"}, {}, 8.0, id="also with the interval for all"),
        pytest.param({"timeout": "5s"}, {}, 5.0, id="the timeout for all"),
        pytest.param({}, {"interval": "10s", "timeout": "9s"}, 9.0, id="its own timeout is taken as it is"),
    ],
)
def test_the_timeout_of_a_query_fits_its_interval(
    general: dict[str, str], query: dict[str, str], timeout: float
) -> None:
    assert plan(query, **{"global": general}).timeout == timeout


DEFAULT = ["zscore", "iqr", "novelty", "far", "counts", "window", "texture", "collective"]


@pytest.mark.parametrize(
    ("query", "same"),
    [
        pytest.param({"expr": "down"}, False, id="expression"),
        pytest.param({"expr": "  up\n"}, True, id="space around the expression"),
        pytest.param({"timezone": "Europe/Berlin"}, False, id="zone"),
        pytest.param({"timezone": "UTC"}, True, id="the zone that holds anyway"),
        pytest.param({"baseline": {"window": "14d"}}, False, id="window"),
        pytest.param({"baseline": {"backfill_step": "1m"}}, False, id="backfill step"),
        pytest.param({"baseline": {"min_history": "1d"}}, True, id="min_history only decides who may alert"),
        pytest.param({"detection": {"detectors": ["zscore"]}}, False, id="detectors"),
        pytest.param({"detection": {"detectors": DEFAULT[::-1]}}, True, id="order of the detectors"),
        pytest.param(
            {"detection": {"detectors": [{"kind": "zscore", "threshold": 4}, *DEFAULT[1:]]}}, True, id="threshold"
        ),
        pytest.param(
            {"detection": {"detectors": [*DEFAULT[:-1], {"kind": "collective", "limit": 20}]}}, True, id="limit"
        ),
        pytest.param(
            {"detection": {"detectors": [*DEFAULT[:3], {"kind": "far", "alone": 3}, *DEFAULT[4:]]}}, True, id="alone"
        ),
        pytest.param({"detection": {"quorum": 1}}, True, id="quorum"),
        pytest.param({"alert": {"labels": {"severity": "page"}}}, True, id="alert"),
        pytest.param({"interval": "5m"}, True, id="interval"),
        pytest.param({"direction": "above", "min_deviation": 1, "valid_range": [0, None]}, True, id="what counts"),
        pytest.param({"name": "b"}, True, id="name"),
    ],
)
def test_the_identity_changes_exactly_when_learned_state_is_of_no_use(query: dict[str, Any], same: bool) -> None:
    assert (plan(query).identity == plan().identity) is same


def test_the_identity_is_stable_over_versions_of_this_program() -> None:
    # A change here makes every installation relearn after an upgrade: do it on purpose only.
    assert plan().identity == "dd05c3912882a186e8aa2444d058ef08"


def test_an_alert_that_is_switched_off_leaves_the_query_and_what_it_learned() -> None:
    def plan(**alert: Any):
        config = Config.model_validate(
            {
                "queries": [{"name": name, "expr": "up", "alert": {"budget": "2/week", **alert}} for name in "ab"],
                "groups": [{"name": "g", "queries": ["a", "b"], "alert": alert}],
            }
        )
        return config.plans()[0], config.groups[0].rule

    (on, group), (off, no_group) = plan(), plan(enabled=False)
    assert on.alert is not None
    assert group is not None
    assert off.alert is no_group is None
    assert off.identity == on.identity
