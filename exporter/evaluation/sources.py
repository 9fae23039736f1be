"""The servers of a configuration, and a client of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from exporter.prometheus import PrometheusApi
from exporter.prometheus.settings import PrometheusSettings

__all__ = ["Sources"]


class Sources:
    """Clients by the name of their server, the default first.

    Parameters
    ----------
    servers : mapping
        Settings by name, the default first.
    connect : callable
        Makes a client.
    before : Sources, optional
        Those of an earlier configuration: clients whose settings are the same are taken over.
    """

    def __init__(
        self,
        servers: Mapping[str, PrometheusSettings],
        connect: Callable[[PrometheusSettings], PrometheusApi],
        before: Sources | None = None,
    ) -> None:
        self.servers = dict(servers)
        self._new = connect
        kept: dict[str, PrometheusApi] = {}
        if before is not None:
            kept = {name: before.apis[name] for name, each in before.servers.items() if each == servers.get(name)}
        self.apis: dict[str, PrometheusApi] = {name: kept.get(name) or connect(each) for name, each in servers.items()}

    @classmethod
    @contextmanager
    def trial(
        cls,
        servers: Mapping[str, PrometheusSettings],
        connect: Callable[[PrometheusSettings], PrometheusApi],
        before: Sources | None = None,
    ) -> Iterator[Sources]:
        """Yield sources; new clients are closed where their use fails."""
        sources = cls(servers, connect, before)
        try:
            yield sources
        except BaseException:
            sources.close(besides=before)
            raise

    @property
    def default(self) -> str:
        """The name of the server that is asked where none is named."""
        return next(iter(self.servers))

    def connect(self, name: str) -> PrometheusApi:
        """Return another client of a server."""
        return self._new(self.servers[name])

    def cancel(self) -> None:
        """Break off every query under way."""
        for api in self.apis.values():
            api.cancel()

    def close(self, besides: Sources | None = None) -> None:
        """Close the clients that `besides`, which came after, has not taken over."""
        kept = [] if besides is None else list(besides.apis.values())
        for api in self.apis.values():
            if api not in kept:
                api.close()
