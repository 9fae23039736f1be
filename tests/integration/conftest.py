"""Servers as fixtures. Take `run_*` where a test needs options, the bare name where defaults do."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.integration.process import eventually, free_port
from tests.integration.servers import Alertmanager, Prometheus, VictoriaMetrics
from tests.integration.webhook import Target, Webhook

RunPrometheus = Callable[..., Prometheus]
RunAlertmanager = Callable[..., Alertmanager]
RunVictoria = Callable[..., VictoriaMetrics]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Whatever is entered here ends with the test, newest first."""
    with ExitStack() as entered:
        yield entered


@pytest.fixture
def run_prometheus(stack: ExitStack, tmp_path: Path) -> RunPrometheus:
    """``run_prometheus(**options)`` starts a Prometheus that ends with the test."""
    number = itertools.count()
    return lambda **options: stack.enter_context(Prometheus(tmp_path / f"prometheus{next(number)}", **options))


@pytest.fixture
def run_alertmanager(stack: ExitStack, tmp_path: Path) -> RunAlertmanager:
    """``run_alertmanager(**options)`` starts an Alertmanager that ends with the test."""
    number = itertools.count()
    return lambda **options: stack.enter_context(Alertmanager(tmp_path / f"alertmanager{next(number)}", **options))


@pytest.fixture
def run_cluster(run_alertmanager: RunAlertmanager) -> Callable[..., list[Alertmanager]]:
    """``run_cluster(**options)`` starts two Alertmanagers that know each other.

    The second waits `peer_timeout` for the first to have notified; `group_interval` must be well above.
    """

    def run(peer_timeout: str = "500ms", **options: Any) -> list[Alertmanager]:
        ports = [free_port(), free_port()]

        def member(own: int, other: int) -> Alertmanager:
            address = f"--cluster.listen-address=127.0.0.1:{own}"
            advertised, peer = f"--cluster.advertise-address=127.0.0.1:{own}", f"--cluster.peer=127.0.0.1:{other}"
            quick = ("--cluster.gossip-interval=50ms", "--cluster.pushpull-interval=1s")
            patience = f"--cluster.peer-timeout={peer_timeout}"
            flags = (address, advertised, peer, patience, *quick, "--cluster.settle-timeout=5s")
            return run_alertmanager(flags=flags, **options)

        members = [member(*ports), member(*reversed(ports))]
        for one in members:
            eventually(lambda one=one: len(one.ask("GET", "/api/v2/status").json()["cluster"]["peers"]) == 2, 60.0)
        return members

    return run


@pytest.fixture
def run_victoria(stack: ExitStack, tmp_path: Path) -> RunVictoria:
    """``run_victoria(**options)`` starts a VictoriaMetrics that ends with the test."""
    number = itertools.count()
    return lambda **options: stack.enter_context(VictoriaMetrics(tmp_path / f"victoria{next(number)}", **options))


@pytest.fixture
def prometheus(run_prometheus: RunPrometheus) -> Prometheus:
    """An empty Prometheus."""
    return run_prometheus()


@pytest.fixture
def webhook(stack: ExitStack) -> Webhook:
    """A recorder of notifications."""
    return stack.enter_context(Webhook())


@pytest.fixture
def alertmanager(run_alertmanager: RunAlertmanager, webhook: Webhook) -> Alertmanager:
    """An Alertmanager that notifies `webhook`."""
    return run_alertmanager(webhook=webhook.url)


@pytest.fixture
def target(stack: ExitStack) -> Target:
    """An empty /metrics page."""
    return stack.enter_context(Target())


@pytest.fixture
def victoria(run_victoria: RunVictoria) -> VictoriaMetrics:
    """An empty VictoriaMetrics."""
    return run_victoria()
