"""`anomaly-exporter mcp` as an agent uses it: what a person on call would ask, by stdio and by HTTP."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from tests.integration.daemon import Exporter, Feed, configuration
from tests.integration.process import eventually, free_port
from tests.integration.servers import Alertmanager, Prometheus

pytestmark = pytest.mark.integration

Ask = Callable[..., Any]


@pytest.fixture
def exporter(prometheus: Prometheus, alertmanager: Alertmanager, stack: ExitStack, tmp_path: Path) -> Exporter:
    """An exporter with an alert of host1 that fires."""
    feed = stack.enter_context(Feed(prometheus))
    exporter = stack.enter_context(Exporter(tmp_path / "exporter", configuration(prometheus.url, [alertmanager.url])))
    exporter.wait_for_scores()
    feed.factor[1] = 3.0
    eventually(lambda: exporter.ask("/api/v1/anomalies?fired=true").json()["data"]["anomalies"], 60.0)
    return exporter


async def answers(client: Client, calls: list[tuple[str, dict[str, Any]]]) -> list[Any]:
    results = [await client.call_tool(name, arguments) for name, arguments in calls]
    return [
        f"error: {result.content[0].text}" if result.is_error else json.loads(result.content[0].text)
        for result in results
    ]


def by_stdio(exporter: Exporter, calls: list[tuple[str, dict[str, Any]]]) -> list[Any]:
    async def talk() -> list[Any]:
        arguments = ["-m", "exporter", "mcp", f"--url={exporter.url}"]
        server = StdioServerParameters(command=sys.executable, args=arguments)
        async with Client(stdio_client(server)) as client:
            return await answers(client, calls)

    return asyncio.run(asyncio.wait_for(talk(), 120.0))


def test_what_a_person_on_call_asks_is_answered(exporter: Exporter) -> None:
    questions: list[tuple[str, dict[str, Any]]] = [
        ("anomalies", {}),
        ("anomalies", {"query": "load", "fired": True}),
        ("anomalies", {"match": ['instance="host1:9100"']}),
        ("anomalies", {"match": ['instance="host2:9100"'], "status": "all"}),
        ("anomalies", {"status": "resolved"}),
        ("anomalies", {"status": "acknowledged"}),
        ("anomalies", {"until": "2020-01-01T00:00:00Z", "status": "all"}),
        ("anomalies", {"limit": 1}),
        ("series", {"anomalous": True}),
        ("series", {"match": ['instance="host1:9100"']}),
        ("series", {"state": "no_data"}),
        ("series", {"query": "nothing"}),
        ("known_events", {}),
        ("known_events", {"active": True}),
        ("health", {}),
        ("configuration", {}),
        ("anomalies", {"status": "wrong"}),
        ("anomaly", {"id": "nonsense"}),
    ]
    result = by_stdio(exporter, questions)
    (episode,) = result[0]["anomalies"]
    assert episode["labels"]["instance"] == "host1:9100"
    assert episode["summary"]
    assert episode["opened_at"].startswith("20")
    assert [each["id"] for each in result[1]["anomalies"]] == [episode["id"]]
    assert [each["id"] for each in result[2]["anomalies"]] == [episode["id"]]
    assert [result[at]["anomalies"] for at in (3, 4, 5, 6)] == [[], [], [], []]
    assert len(result[7]["anomalies"]) == 1
    assert [series["labels"]["instance"] for series in result[8]["series"]] == ["host1:9100"]
    assert result[9]["series"][0]["observed"] > result[9]["series"][0]["upper"]
    assert result[10]["series"] == []
    assert isinstance(result[11], str) or result[11]["series"] == []
    assert (result[12]["events"], result[13]["events"]) == ([], [])
    assert result[14]["ready"] is True
    assert {"query": "load", "value": 0.0} in [
        {name: entry[name] for name in ("query", "value")} for entry in result[14]["metrics"]["cycles_failed_total"]
    ]
    assert "name: load" in json.dumps(result[15])
    assert "error: " in result[16]
    assert "open, acknowledged, resolved" in result[16] or "status" in result[16]
    assert "error: " in result[17]
    (whole, *_) = by_stdio(
        exporter, [("anomaly", {"id": episode["id"]}), ("anomalies", {"since": episode["opened_at"]})]
    )
    assert [step["event"] for step in whole["transitions"]][:1] == ["open"]
    assert "firing" in [step["event"] for step in whole["transitions"]]


def test_tools_say_what_they_are_for_and_change_nothing(exporter: Exporter) -> None:
    async def tools() -> list[Any]:
        server = StdioServerParameters(command=sys.executable, args=["-m", "exporter", "mcp", f"--url={exporter.url}"])
        async with Client(stdio_client(server)) as client:
            return list((await client.list_tools()).tools)

    listed = asyncio.run(asyncio.wait_for(tools(), 120.0))
    assert {tool.name for tool in listed} == {
        "anomalies", "anomaly", "series", "known_events", "health", "configuration",
    }  # fmt: skip
    assert all(len(tool.description) > 40 for tool in listed)


def test_the_same_by_http(exporter: Exporter) -> None:
    port = free_port()
    flags = [f"--url={exporter.url}", f"--listen-address=127.0.0.1:{port}"]
    process = subprocess.Popen([sys.executable, "-m", "exporter", "mcp", *flags])

    async def talk() -> list[Any]:
        async with Client(f"http://127.0.0.1:{port}/mcp") as client:
            return await answers(client, [("anomalies", {})])

    def served() -> list[Any]:
        try:
            return asyncio.run(asyncio.wait_for(talk(), 30.0))
        except Exception:
            return []

    try:
        (result,) = eventually(served, 60.0)
        assert len(result["anomalies"]) == 1
    finally:
        process.terminate()
        process.wait(20.0)


def test_an_exporter_that_is_away_is_an_error_of_the_tool(tmp_path: Path) -> None:
    async def talk() -> list[Any]:
        arguments = ["-m", "exporter", "mcp", "--url=http://127.0.0.1:9"]
        async with Client(stdio_client(StdioServerParameters(command=sys.executable, args=arguments))) as client:
            return await answers(client, [("anomalies", {})])

    (result,) = asyncio.run(asyncio.wait_for(talk(), 60.0))
    assert "error" in result
    assert "127.0.0.1:9" in result
