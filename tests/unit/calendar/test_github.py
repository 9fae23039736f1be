"""Deployments as events."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from exporter.calendar.events import AnnouncedEvent
from exporter.calendar.github import Deployment, DeploymentSettings, event_of

CREATED = Deployment("acme/shop", 7, "production", "v1", "github:eve", "created", 1000.0, 1000.0)


def rule(**changes: Any) -> DeploymentSettings:
    return DeploymentSettings.model_validate(
        {"match": ['service="shop"'], "duration": "10m", "settle": "1m", **changes}
    )


def event(state: str = "created", at: float = 1000.0, *rules: DeploymentSettings) -> AnnouncedEvent | None:
    return event_of(replace(CREATED, state=state, changed_at=at), rules or (rule(),), at=2000.0)


def test_a_deployment_lasts_until_github_says_that_it_is_over() -> None:
    ends = {}
    for state in ("created", "queued", "in_progress", "success", "failure", "error"):
        found = event(state, 1100.0)
        assert found is not None
        assert (found.name, found.starts_at, found.action) == ("github/acme/shop/7", 1000.0, "ignore")
        ends[state] = found.ends_at
    assert ends == {
        "created": 1700,
        "queued": 1700,
        "in_progress": 1700,
        "success": 1160,
        "failure": 1160,
        "error": 1160,
    }


@pytest.mark.parametrize("state", ["inactive", "", "something new"])
def test_what_says_nothing_about_now_is_nothing(state: str) -> None:
    assert event(state) is None


def test_the_end_is_newer_than_what_is_said_in_the_same_second() -> None:
    running, over = event("in_progress"), event("success")
    assert running is not None
    assert over is not None
    assert over.revision > running.revision


def test_the_first_rule_that_fits_decides() -> None:
    found = event(
        "created", 1000.0, rule(repository="acme/web"), rule(environment="prod"), rule(action="silence"), rule()
    )
    assert found is not None
    assert found.action == "silence"
    assert event("created", 1000.0, rule(repository="shop")) is None
