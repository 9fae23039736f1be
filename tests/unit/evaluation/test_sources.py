"""Several servers: clients that outlive a reload, and one that is down while the others are asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from exporter.calendar import Occurrence
from exporter.config.model import Config
from exporter.config.plan import QueryPlan
from exporter.correlation.changes import ChangeLog
from exporter.correlation.root_causes import RootCauses
from exporter.errors import PrometheusError
from exporter.evaluation.scheduled_queries import ScheduledQueries
from exporter.evaluation.sources import Sources
from exporter.exposition import SelfMetrics
from tests.faults.cycling import START, Source, refused


def config_of(**fields: Any) -> Config:
    sources = [{"name": "eu", "url": "http://eu:9090"}, {"name": "us", "url": "http://us:9090"}]
    return Config.model_validate({"sources": sources, "queries": [{"name": "a", "expr": "up"}], **fields})


def plan_of(**fields: Any) -> QueryPlan:
    return config_of(queries=[{"name": "a", "expr": "up", **fields}]).plans()[0]


class Client(Source):
    closed = False

    def close(self) -> None:
        self.closed = True


def test_a_query_asks_the_first_source_unless_it_names_another() -> None:
    only = Config.model_validate({"queries": [{"name": "a", "expr": "up"}]}).plans()[0]
    assert (only.source, plan_of().source, plan_of(source="us").source) == ("prometheus", "eu", "us")
    # The state of an only server is that of the first of several; that of another one is another.
    assert only.identity == plan_of().identity == plan_of(source="eu").identity != plan_of(source="us").identity


def test_clients_of_servers_that_stay_are_taken_over() -> None:
    before = Sources(config_of().servers, lambda _: Client())
    assert before.default == "eu"
    changed = config_of(sources=[{"name": "us", "url": "http://us:9090"}, {"name": "eu", "url": "http://other:9090"}])
    after = Sources(changed.servers, lambda _: Client(), before)
    assert after.default == "us"
    assert after.apis["us"] is before.apis["us"]
    before.close(besides=after)
    assert [client.closed for client in before.apis.values()] == [True, False]
    assert not any(client.closed for client in after.apis.values())


def test_a_configuration_that_cannot_be_applied_leaves_the_clients_of_the_old_one() -> None:
    before = Sources(config_of().servers, lambda _: Client())
    made: list[Client] = []

    def connect(_: object) -> Client:
        made.append(Client())
        return made[-1]

    new = config_of(sources=[{"name": "us", "url": "http://us:9090"}, {"name": "asia", "url": "http://asia:9090"}])
    with pytest.raises(ZeroDivisionError), Sources.trial(new.servers, connect, before):
        raise ZeroDivisionError
    assert [client.closed for client in made] == [True]
    assert not any(client.closed for client in before.apis.values())


class Asked:
    """Incidents, changes and dependencies of two servers."""

    def __init__(self, **clients: Client) -> None:
        incidents = [{"name": name, "expr": "ALERTS", "match": ["a=b"], "source": name} for name in clients]
        changes = [{"name": name, "expr": "up", "source": name} for name in clients]
        config = config_of(incidents=incidents, changes=changes, dependencies=[{"preset": "tempo", "source": "us"}])
        self.metrics = SelfMetrics(CollectorRegistry())
        changes_log, causes = ChangeLog(), RootCauses()
        changes_log.configure(config.changes)
        causes.configure(config.dependencies, ())
        self.unlearned: Sequence[Occurrence] = ()
        waiting = iter(clients.values())
        self.queries = ScheduledQueries(
            config,
            Sources(config.servers, lambda _: next(waiting)),
            self.metrics,
            causes,
            changes_log,
            changed=lambda: None,
            unlearn=self.unlearn,
        )

    def unlearn(self, occurrences: Sequence[Occurrence]) -> None:
        self.unlearned = occurrences


def test_incidents_of_all_servers_are_left_out_together() -> None:
    asked = Asked(eu=Client("a"), us=Client("b"))
    asked.queries.cover("eu", START, START + 600.0)
    assert {each.name for each in asked.unlearned} == {"eu", "us"}


def test_the_incidents_of_a_server_that_is_down_hold_up_nothing_of_another() -> None:
    down = Client("a")
    down.down = refused()
    asked = Asked(eu=Client("a"), us=down)
    asked.queries.cover("eu", START, START + 600.0)
    assert {each.name for each in asked.unlearned} == {"eu"}
    assert asked.metrics.registry.get_sample_value("anomaly_exporter_incident_queries_failed_total") == 1.0
    # Its own history waits for them.
    with pytest.raises(PrometheusError):
        asked.queries.cover("us", START, START + 600.0)


def test_each_server_is_asked_by_jobs_of_its_own() -> None:
    eu, us = Client("a"), Client("b")
    jobs = Asked(eu=eu, us=us).queries.jobs()
    named = {"(changes eu)", "(incidents eu)", "(changes us)", "(incidents us)", "(dependencies us)"}
    assert jobs.keys() == named
    assert {name: job.pool for name, job in jobs.items()} == {name: name.rstrip(")")[-2:] for name in named}
    jobs["(changes eu)"].run(START)
    assert (len(eu.ranges), len(us.ranges)) == (1, 0)
