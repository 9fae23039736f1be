"""Whether label names of any form are sent: what the version of the Alertmanager takes."""

from __future__ import annotations

import json

import pytest

from exporter.delivery.label_names import LabelNames
from exporter.errors import AlertmanagerError, Reason
from exporter.http_client import HttpResponse
from tests.alerts import alert

PLAIN, DOTTED = alert("x"), alert("y", labels={"service.name": "cart"})


class Peer:
    """Answers with its status, and counts how often it was requested."""

    def __init__(self, version: object) -> None:
        self.version = version
        self.requests = 0

    def __call__(self) -> HttpResponse:
        self.requests += 1
        if self.version is None:
            raise AlertmanagerError("http://am", Reason.HTTP, "404")
        body = (
            self.version if isinstance(self.version, bytes) else json.dumps({"versionInfo": {"version": self.version}})
        )
        return HttpResponse(200, {}, body if isinstance(body, bytes) else body.encode())


@pytest.mark.parametrize(
    ("version", "takes"),
    [
        ("0.25.0", False), ("0.26.1", False), ("0.27.0", True), ("0.27.0-rc.0", True), ("0.34.0", True),
        ("v1.0.0", True), ("", False), ("unknown", False), (b"<html>", False), (b"{}", False), (None, False),
    ],
)  # fmt: skip
def test_names_are_sent_as_they_are_from_027_on(version: object, takes: bool) -> None:
    names, peer = LabelNames(), Peer(version)
    assert names.update([PLAIN, DOTTED], 0.0, peer) is takes
    assert names.takes_any is takes


def test_nobody_is_asked_while_all_names_are_plain() -> None:
    names, peer = LabelNames(), Peer("0.27.0")
    assert not names.update([PLAIN], 0.0, peer)
    assert (peer.requests, names.takes_any) == (0, False)


def test_the_version_is_asked_for_again_after_a_while_and_soon_where_it_was_not_said() -> None:
    names, peer = LabelNames(), Peer(None)
    for mono in (0.0, 1.0, 29.0, 30.0):
        names.update([DOTTED], mono, peer)
    assert peer.requests == 2
    peer.version = "0.27.0"
    for mono in (60.0, 61.0, 300.0, 660.0):
        names.update([DOTTED], mono, peer)
    assert peer.requests == 4
    peer.version = "0.26.0"
    assert names.update([DOTTED], 1260.0, peer)
    assert not names.takes_any


def test_who_refuses_them_in_spite_of_its_version_gets_plain_names_from_then_on() -> None:
    names, peer = LabelNames(), Peer("0.27.0")
    names.update([DOTTED], 0.0, peer)
    assert not names.refused([PLAIN])
    assert names.refused([DOTTED])
    assert not names.refused([DOTTED])
    names.update([DOTTED], 1000.0, peer)
    assert not names.takes_any
