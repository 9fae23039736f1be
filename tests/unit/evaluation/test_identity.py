"""Series whose labels become equal on their way to the page or the alert: nobody else loses anything by them."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from exporter.alerting.alert import Alert, AlertState, fingerprint
from exporter.calendar import CalendarEntry
from exporter.suppression.active_events import ActiveEvents
from exporter.suppression.sample_masks import SampleMasks
from tests.faults.cycling import Source, World, plan_of

PODS = {"shop-0": "shop", "shop-1": "shop", "cart-0": "cart"}


def named(metric: str, instance: str = "a", **more: str) -> dict[str, str]:
    return {"__name__": metric, "instance": instance, **more}


def world_of(directory: Path, extra: dict[str, dict[str, str]], **query: Any) -> World:
    source = Source(*extra)
    source.extra = extra
    world = World(directory, source, plan=plan_of(**query))
    assert world.prepare()
    return world


def by_pod(directory: Path, **rule: Any) -> World:
    series = {pod: {"instance": "", "pod": pod, "service": service} for pod, service in PODS.items()}
    return world_of(directory, series, alert={"labels": {"pod": ""}, **rule})


def alerts(world: World) -> list[Alert]:
    """Those that senders see, by what they are about."""
    sheet = world.alert_snapshots.read().by_query.get(world.plan.name)
    shown = [] if sheet is None else list(sheet.alerts.values())
    return sorted(shown, key=lambda alert: sorted(alert.labels.items()))


def test_metrics_of_one_instance_are_told_apart_by_name(tmp_path: Path) -> None:
    world = world_of(tmp_path, {name: named(name) for name in ("read", "written", "flushed")})
    world.source.loud = {"read", "written"}
    world.slot()
    assert world.scores() == 3
    assert [alert.labels["metric"] for alert in alerts(world)] == ["read", "written"]
    assert {alert.labels["instance"] for alert in alerts(world)} == {"a"}
    world.store.close()


def test_names_of_other_systems_stay_in_alerts_and_tell_them_apart(tmp_path: Path) -> None:
    series = {name: {"instance": "", "service.name": name} for name in ("cart", "pay")}
    world = world_of(tmp_path, series)
    world.source.loud = {"cart", "pay"}
    world.slot()
    assert [alert.labels["service.name"] for alert in alerts(world)] == ["cart", "pay"]
    assert 'anomaly_score{query="load",instance="",job="",service_name="cart"}' in world.page()
    utf8 = b"".join(world.exposition.scrape("text/plain;version=1.0.0;escaping=allow-utf-8").body).decode()
    assert 'anomaly_score{query="load",instance="",job="","service.name"="cart"}' in utf8
    assert "service_name" not in utf8
    assert 'anomaly_exporter_cycles_total{query="load"}' in utf8
    world.store.close()


def test_a_removed_label_makes_one_alert_that_ends_when_all_are_well(tmp_path: Path) -> None:
    world = by_pod(tmp_path)
    world.source.loud = {"shop-0"}
    world.slot()
    [first] = alerts(world)
    assert "same_labels" not in first.annotations
    world.source.loud = {"shop-0", "shop-1", "cart-0"}
    world.slot()
    assert world.scores() == 3
    cart, shop = alerts(world)
    assert (cart.labels["service"], shop.labels["service"]) == ("cart", "shop")
    assert (shop.episode, shop.fired_at) == (first.episode, first.fired_at)
    text = shop.annotations["same_labels"]
    assert text.startswith("2 series have the labels of this alert; the worst is pod=shop-")
    assert "pod=shop-0" in text
    assert "pod=shop-1" in text
    world.source.loud = {"shop-1"}
    world.slot()
    assert [alert.state for alert in alerts(world)] == [AlertState.RESOLVED, AlertState.FIRING]
    world.source.loud = set()
    world.slot()
    assert {alert.state for alert in alerts(world)} == {AlertState.RESOLVED}
    world.store.close()


@pytest.mark.parametrize("restart", [False, True], ids=["in one run", "after a restart"])
def test_a_series_that_is_away_for_a_moment_does_not_end_its_alert_because_another_is_well(
    restart: bool, tmp_path: Path
) -> None:
    world = by_pod(tmp_path)
    world.source.loud = {"shop-0"}
    world.slot(2)
    if restart:
        world.restart()
        assert world.prepare()
    world.source.gone = {"shop-0"}
    world.slot(2)
    assert [alert.state for alert in alerts(world)] == [AlertState.FIRING]
    world.source.gone, world.source.loud = set(), set()
    world.slot()
    assert [alert.state for alert in alerts(world)] == [AlertState.RESOLVED]
    world.store.close()


def test_a_collision_is_warned_about_when_it_exists_and_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        world = by_pod(tmp_path)
        world.slot(3)
    [record] = [record for record in caplog.records if "same alert labels" in record.msg]
    assert vars(record)["series"] == 1
    assert '"service": "shop"' in vars(record)["labels"]
    world.store.close()


def test_an_alert_that_is_open_keeps_its_labels_when_a_second_metric_comes(tmp_path: Path) -> None:
    world = world_of(tmp_path, {"read": named("read")})
    world.source.loud = {"read"}
    world.slot()
    [before] = alerts(world)
    world.source.extra["written"] = named("written")
    world.source.series.append("written")
    world.slot()
    [after] = alerts(world)
    assert (after.episode, dict(after.labels)) == (before.episode, dict(before.labels))
    assert "metric" not in after.labels
    world.restart()
    assert world.prepare()
    world.slot()
    [again] = alerts(world)
    assert (again.episode, again.state) == (before.episode, AlertState.FIRING)
    world.source.loud = set()
    world.slot()
    world.source.loud = {"read"}
    world.slot()
    assert [alert.labels.get("metric") for alert in alerts(world) if alert.is_open] == ["read"]
    world.store.close()


def test_other_labels_end_the_old_alert_at_once_also_after_a_restart(tmp_path: Path) -> None:
    world = world_of(tmp_path, {"a": {}, "b": {}})
    world.source.loud = {"a"}
    world.slot()
    world.plan = plan_of(alert={"labels": {"severity": "page"}})
    world.restart()
    assert world.prepare()
    world.slot()
    states = {alert.labels.get("severity"): alert.state for alert in alerts(world)}
    assert states == {None: AlertState.RESOLVED, "page": AlertState.FIRING}
    assert [entry.why for entry in world.store.audit.page(limit=9).entries if entry.event == "resolved"] == [
        "rule_changed"
    ]
    world.store.close()


def test_the_same_labels_after_a_restart_end_nothing(tmp_path: Path) -> None:
    world = world_of(tmp_path, {"a": {"reason": "x"}})
    world.source.loud = {"a"}
    world.slot()
    world.restart()
    assert world.prepare()
    world.slot()
    [alert] = alerts(world)
    assert (alert.state, alert.labels["exported_reason"]) == (AlertState.FIRING, "x")
    world.store.close()


def test_what_an_earlier_version_sent_under_other_labels_goes_on_under_them(tmp_path: Path) -> None:
    world = world_of(tmp_path, {"a": {"reason": "x"}})
    world.source.loud = {"a"}
    world.slot()
    [alert] = alerts(world)
    old = dict(alert.labels)
    old["reason"] = old.pop("exported_reason")
    rows = world.cycle.alerts.rows

    former = replace(alert, labels=old, fingerprint=fingerprint(old))
    rows.alert_store.alerts = {former.fingerprint: former}
    rows.alert_store.notes = b""
    world.slot()
    [after] = alerts(world)
    assert (after.episode, after.state, dict(after.labels)) == (alert.episode, AlertState.FIRING, old)
    world.store.close()


def test_the_audit_says_that_an_alert_ended_because_it_is_ignored(tmp_path: Path) -> None:
    world = world_of(tmp_path, {"a": {}, "b": {}})
    world.source.loud = {"a"}
    world.slot()
    events = ActiveEvents()
    swap = {"name": "swap", "cron": "* * * * *", "duration": "2m", "match": ["query=load"], "action": "ignore"}
    events.configure([CalendarEntry.model_validate(swap)], "UTC")
    ports = replace(world.cycle.context.ports, masks=SampleMasks(events, {}))
    context = replace(world.cycle.context, ports=ports)
    world.cycle.leave()
    assert world.cycle.join(10)
    world.cycle = world.cycle.take_over(world.plan, context, at=world.now)
    world.slot()
    entries = [entry for entry in world.store.audit.page(limit=9).entries if entry.event == "resolved"]
    assert [entry.why for entry in entries] == ["ignored"]
    world.store.close()


def test_storms_are_told_apart_by_labels_of_any_form(tmp_path: Path) -> None:
    series = {f"{zone}{n}": {"service.name": zone} for zone in ("cart", "pay") for n in range(6)}
    world = world_of(tmp_path, series, alert={"storm": {"by": ["service.name"], "members": 5}})
    world.source.loud = {name for name in series if name.startswith("pay")}
    world.slot()
    assert [alert.labels["service.name"] for alert in alerts(world) if "storm" in alert.labels] == ["pay"]
    world.store.close()
