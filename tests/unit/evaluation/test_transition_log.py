"""A night can be read from the log: one line for each transition of an alert."""

from __future__ import annotations

import logging

import pytest

from tests.faults.cycling import World, plan_of


def test_every_transition_is_one_line_with_what_it_is_about(tmp_path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="exporter.evaluation.transition_log")
    world = World(tmp_path / "state", plan=plan_of(alert={"for": "1m", "keep_firing_for": "1m"}))
    assert world.prepare()
    world.source.loud = {"a"}
    world.slot(4)
    world.source.loud = set()
    world.slot(8)
    world.end()
    lines = [record for record in caplog.records if record.name == "exporter.evaluation.transition_log"]
    assert [line.message for line in lines] == ["alert pending", "alert firing", "alert resolved"]
    assert len({line.episode for line in lines}) == 1
    firing = lines[1]
    assert 'instance="a"' in firing.labels
    assert float(firing.score) >= 0.5
    assert float(firing.observed) > float(firing.upper)
