"""``anomaly-exporter mcp``: read-only tools over the API of a running exporter, for agents (Model Context Protocol)."""

from __future__ import annotations

import argparse
import functools
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from prometheus_client.parser import text_string_to_metric_families

from exporter import __version__
from exporter.cli.api_client import MOST_BYTES, PASSWORD, TIMEOUT, add_flags, connect, data_of
from exporter.cli.exit_codes import BAD, GOOD, complain
from exporter.errors import ExporterError
from exporter.http_client.client import Client

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer

__all__ = ["Tools", "add_parser", "run"]

_MOST = 100
_INSTRUCTIONS = """\
anomaly-exporter learns what is normal for every series of the PromQL queries that it is given. A score of 0.5 and above
is anomalous, for every query. Begin with `anomalies`; `anomaly` says everything about one: why, since when, what else,
who was notified. What has no score is unknown, and never normal: see `health` before you conclude that all is well.
Nothing here changes anything."""
_HEALTH = (
    "source_up", "judged_ratio", "series", "query_errors_total", "cycles_failed_total", "alertmanager_up",
    "alertmanager_errors_total", "last_success_timestamp_seconds", "config_last_reload_successful",
    "expected_false_alerts_per_week", "precision_ratio",
)  # fmt: skip
"""Of the exporter's own metrics, without the prefix: those that say how far its silence can be trusted."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command ``mcp``."""
    mcp = subparsers.add_parser(
        "mcp",
        help="serve read-only tools over a running exporter to agents",
        description="Serves read-only tools over the API of a running exporter by the Model Context Protocol: on "
        "standard input and output, or with --listen-address by HTTP at /mcp. Needs the extra `mcp`. "
        f"The password is read from --password-file or from the variable {PASSWORD}.",
        allow_abbrev=False,
    )
    add_flags(mcp)
    mcp.add_argument(
        "--listen-address", type=_address, metavar="HOST:PORT", help="address to serve HTTP on, such as 127.0.0.1:9878"
    )
    mcp.set_defaults(run=run)


def run(args: argparse.Namespace, *, environment: Mapping[str, str] = os.environ) -> int:
    """Serve until the input ends, or the process is stopped; returns the exit code."""
    try:
        from mcp.server.mcpserver import MCPServer  # An extra.
    except ImportError:
        return complain(["the package mcp is missing: pip install 'prometheus-anomaly-exporter[mcp]'"], BAD)
    try:
        client = connect(args, environment)
    except ExporterError as error:
        return complain([str(error)], BAD)
    server = MCPServer("anomaly-exporter", version=__version__, instructions=_INSTRUCTIONS, log_level="WARNING")
    Tools(client).add_to(server)
    try:
        if args.listen_address is None:
            server.run("stdio")
        else:
            host, port = args.listen_address
            server.run("streamable-http", host=host, port=port, stateless_http=True, json_response=True)
    except KeyboardInterrupt:
        pass
    finally:
        client.close()
    return GOOD


class Tools:
    """The tools: each reads the API once, and raises `ExporterError` with what the exporter said against it."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def add_to(self, server: MCPServer) -> None:
        """Add every tool to a server."""
        for tool in (self.anomalies, self.anomaly, self.series, self.known_events, self.health, self.configuration):
            server.tool(description=tool.__doc__, structured_output=False)(_expected_faults(tool))

    def anomalies(
        self,
        status: str = "open",
        query: str | None = None,
        match: list[str] | None = None,
        since: str | None = None,
        until: str | None = None,
        fired: bool | None = None,
        limit: int = 20,
    ) -> dict[str, Any]:
        """What is anomalous, newest first: one episode from its first anomalous sample to its end.

        status: open, acknowledged, resolved or all. query: name of a query. match: label matchers as in Alertmanager,
        such as service="checkout". since, until: episodes that overlap this time, RFC 3339 or Unix seconds. fired: only
        those that people were notified of, or only the others.
        """
        filters: list[tuple[str, str]] = [("match[]", matcher) for matcher in match or ()]
        given = {"query": query, "since": since, "until": until}
        filters += [(name, value) for name, value in given.items() if value is not None]
        filters += [] if status == "all" else [("status", status)]
        filters += [] if fired is None else [("fired", "true" if fired else "false")]
        page = self._get("anomalies", [*filters, ("limit", str(min(max(limit, 1), _MOST)))])
        return {"anomalies": [_readable(each) for each in page["anomalies"]], "more": page["next_cursor"] is not None}

    def anomaly(self, id: str) -> dict[str, Any]:  # noqa: A002 - the API's name.
        """One episode: what, how much, since when, against what, why, what else, and every transition.

        Where it fires, `alertmanagers` says what each Alertmanager does with it: who is notified, what holds it back.
        """
        episode: dict[str, Any] = _readable(self._get(f"anomalies/{quote(id, safe='')}", []))
        return episode

    def series(
        self,
        query: str | None = None,
        match: list[str] | None = None,
        state: str | None = None,
        anomalous: bool | None = None,
        limit: int = 20,
    ) -> dict[str, Any]:
        """The verdict on series in the newest evaluation, highest score first.

        state: scored, warming_up, masked or no_data. A series that is not here is unknown: its query fails, or has not
        been evaluated.
        """
        filters: list[tuple[str, str]] = [("match[]", matcher) for matcher in match or ()]
        filters += [(name, value) for name, value in {"query": query, "state": state}.items() if value is not None]
        filters += [] if anomalous is None else [("anomalous", "true" if anomalous else "false")]
        page = self._get("series", [*filters, ("limit", str(min(max(limit, 1), _MOST)))])
        return {"series": page["series"], "more": page["next_cursor"] is not None}

    def known_events(self, active: bool | None = None) -> dict[str, Any]:
        """Calendar entries and announced events: what is unusual and expected."""
        filters = [] if active is None else [("active", "true" if active else "false")]
        events: list[dict[str, Any]] = self._get("events", filters)["events"]
        return {"events": [_readable(event) for event in events]}

    def health(self) -> dict[str, Any]:
        """How far silence can be trusted: readiness, and of each query what was judged, failed and is expected."""
        ready = self._client.get("/-/ready", timeout=TIMEOUT, max_bytes=MOST_BYTES)
        page = self._client.get("/metrics", timeout=TIMEOUT, max_bytes=MOST_BYTES)
        if page.status != 200:
            raise ExporterError(f"the exporter answers {page.status} to /metrics")
        metrics: dict[str, list[dict[str, Any]]] = {}
        for family in text_string_to_metric_families(page.body.decode()):
            for sample in family.samples:
                name = sample.name.removeprefix("anomaly_exporter_")
                if name in _HEALTH:
                    metrics.setdefault(name, []).append({**sample.labels, "value": sample.value})
        text = ready.body.decode("utf-8", "replace").strip()
        return {"ready": ready.status == 200, "says": text, "metrics": metrics}

    def configuration(self) -> dict[str, Any]:
        """The configuration in force, as YAML, without secrets: which queries there are, and when they alert."""
        return self._get("status/config", [])

    def _get(self, path: str, filters: list[tuple[str, str]]) -> dict[str, Any]:
        query = f"?{urlencode(filters)}" if filters else ""
        return data_of(self._client.get(f"/api/v1/{path}{query}", timeout=TIMEOUT, max_bytes=MOST_BYTES))


def _expected_faults(tool: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Return a tool whose expected faults are results that say so, and no crash of the server."""
    from mcp.server.mcpserver.exceptions import ToolError

    @functools.wraps(tool)
    def called(*args: Any, **kwargs: Any) -> dict[str, Any]:
        try:
            return tool(*args, **kwargs)
        except ExporterError as error:
            raise ToolError(str(error)) from None

    return called


def _readable(value: Any) -> Any:
    """Return a response with times as text beside their numbers: models read dates better than seconds."""
    if isinstance(value, list):
        return [_readable(item) for item in value]
    if not isinstance(value, dict):
        return value
    result: dict[str, Any] = {}
    for name, item in value.items():
        is_time = name == "at" or name.endswith(("_at", "_until")) or name in ("until", "since")
        if is_time and isinstance(item, (int, float)) and not isinstance(item, bool):
            result[name] = datetime.fromtimestamp(item, UTC).isoformat(timespec="seconds")
        else:
            result[name] = _readable(item)
    return result


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT, such as 127.0.0.1:9878")
    return host.strip("[]") or "127.0.0.1", int(port)
