"""A real server on a free port, and clients that say exactly the bytes they are told to."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest
from prometheus_client import CollectorRegistry

from exporter.errors import ConfigError, Problem
from exporter.exposition import Exposition, SelfMetrics
from exporter.web import Limits, Site, WebConfigFile, WebServer, build_app
from exporter.web.api import Endpoint
from tests.page_facts import Pages

# Everything waits for a condition; this is only how long a failing test takes.
PATIENCE = 20.0


@dataclass
class Program:
    """What the endpoints show, changed by tests."""

    reason: str | None = None
    broken: Exception | None = None
    reloads: int = 0
    reservations: list[str] = field(default_factory=list)
    while_reloading: Callable[[], None] = lambda: None
    pages: Pages = field(default_factory=Pages)

    def reload(self) -> None:
        self.while_reloading()
        if self.broken is not None:
            raise self.broken
        self.reloads += 1


class Served:
    """A running server and its program."""

    def __init__(self, server: WebServer, program: Program, exposition: Exposition) -> None:
        self.server = server
        self.program = program
        self.exposition = exposition
        self.port = server.start()
        self.url = f"http://127.0.0.1:{self.port}"

    def connect(self, tls: ssl.SSLContext | None = None) -> socket.socket:
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
        return plain if tls is None else tls.wrap_socket(plain, server_hostname="localhost")

    def say(self, data: bytes, tls: ssl.SSLContext | None = None) -> bytes:
        """Send bytes and return everything until the server closes."""
        with self.connect(tls) as client:
            client.sendall(data)
            return read_all(client)


def read_all(client: socket.socket) -> bytes:
    answer = b""
    try:
        while piece := client.recv(65536):
            answer += piece
    except ConnectionError:
        pass
    return answer


@pytest.fixture
def serve() -> Iterator[Callable[..., Served]]:
    """``serve(limits=..., web_config=..., lifecycle=True)`` starts a server that ends with the test."""
    with ExitStack() as running:

        def start(
            *,
            limits: Limits | None = None,
            web_config: WebConfigFile | None = None,
            lifecycle: bool = True,
            address: str = "127.0.0.1:0",
            endpoints: Iterable[Endpoint] = (),
            actions: bool = False,
            explore: bool = False,
        ) -> Served:
            program = Program()
            registry = CollectorRegistry()
            SelfMetrics(registry)
            exposition = Exposition(registry, plain=0)
            site = Site(
                metrics=exposition.scrape,
                not_ready=lambda: program.reason,
                config=lambda: "password: <secret>\n",
                build={"version": "1.2.3"},
                pages=program.pages,
                reload=program.reload if lifecycle else None,
                reservations=lambda: program.reservations,
            )
            app = build_app(site, endpoints=endpoints, actions=actions, explore=explore)
            server = WebServer(app, address, web_config, limits=limits or Limits())
            served = Served(server, program, exposition)
            running.callback(server.stop, 2.0)
            return served

        yield start


@pytest.fixture
def bad_config() -> ConfigError:
    return ConfigError("config.yaml", [Problem(3, 5, "queries[0].expr", "required")])
