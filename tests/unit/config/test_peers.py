"""The section `peers` of a query, and what follows from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.config.engine_settings import engine_settings
from exporter.config.load import load_text
from exporter.config.plan import QueryPlan
from exporter.errors import ConfigError

CONFIG = """prometheus: {url: "http://127.0.0.1:9090"}
queries:
  - name: q
    expr: up
    detection: {quorum: 4}
"""


def plan(peers: str) -> QueryPlan:
    (query,) = load_text(CONFIG + peers, Path("config.yaml")).config.plans()
    return query


def test_it_adds_a_detector_that_decides_alone() -> None:
    query = plan("    peers: {by: [job]}\n")
    peers = query.detection.detectors[-1]
    assert (peers.kind, peers.votes) == ("peers", 4)
    assert engine_settings(query).peers == query.peers
    assert [each.kind for each in query.detection.alone] == [each.kind for each in plan("").detection.detectors]


def test_history_is_read_again_for_other_siblings_and_not_for_another_limit() -> None:
    identity = plan("    peers: {by: [job]}\n").identity
    assert plan("    peers: {by: [job], limit: 2, min_size: 8}\n").identity == identity
    others = {plan("").identity, plan("    peers: {}\n").identity, plan("    peers: {by: [job, zone]}\n").identity}
    assert len(others | {identity}) == 4


def test_two_are_no_group() -> None:
    with pytest.raises(ConfigError, match="min_size"):
        plan("    peers: {min_size: 2}\n")
