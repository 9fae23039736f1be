"""Incidents: read from a file with every mistake named, and held against alerts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from exporter.backtest.incidents import Incident, match, past_alerts, read_incidents
from exporter.backtest.recorder import RecordedAlert
from exporter.errors import UsageError
from exporter.prometheus import HistoryChunk

START = 1_772_355_600.0  # 2026-03-01T09:00:00Z


def alert(told: float | None, resolved: float | None, **labels: str) -> RecordedAlert:
    fired = 0.0 if told is None else told
    return RecordedAlert("q", "f", {"query": "q", **labels}, "", fired, fired, told, resolved)


def read(tmp_path: Path, text: str) -> list[Incident]:
    file = tmp_path / "incidents.csv"
    file.write_text(text)
    return read_incidents(file)


def test_a_file_with_all_columns(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        "\ufeffstart, end,query,name,service\n"
        "# what the pager said\n"
        '2026-03-01T10:00:00Z,2026-03-01T11:00:00Z,,"late, and long",\n'
        "\n"
        f"{START:.0f},2026-03-01T09:10:00+00:00,latency,,checkout\n",
    )
    assert found == [
        Incident(START, START + 600, "", "latency", {"service": "checkout"}),
        Incident(START + 3600, START + 7200, "late, and long"),
    ]


def test_every_line_that_is_wrong_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as fault:
        read(
            tmp_path, "start,end\nsoon,2026-03-01\n2026-03-02,2026-03-01\n2026-03-01\n2026-03-01,2026-03-02\nnow,now\n"
        )
    lines = [line.partition("incidents.csv:")[2] for line in str(fault.value).splitlines()]
    assert [line.partition(":")[0] for line in lines] == ["2", "3", "4", "6"]
    assert "not a time: 'soon'" in lines[0]
    assert "it ends before it starts" in lines[1]
    assert "1 cells, and 2 columns" in lines[2]


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "no header"), ("begin,end\n", "no column 'start'"), ("start,end,end\n", "two columns 'end'")],
)
def test_a_header_that_cannot_be_used(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read(tmp_path, text)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        read_incidents(tmp_path / "none.csv")


def found_by(told: float | None, resolved: float | None, **labels: str) -> tuple[float | None, bool]:
    incident = Incident(1000.0, 2000.0, labels={"service": "a"})
    (met,) = match([incident], [alert(told, resolved, **labels)], ahead=300.0, end=5000.0)
    return met.lead, met.already_firing


def test_lead_time() -> None:
    assert found_by(900.0, 1500.0) == (100.0, False)
    assert found_by(1060.0, None) == (-60.0, False)
    assert found_by(800.0, 900.0) == (200.0, False)  # A warning that was over before it began.
    assert found_by(500.0, 600.0) == (None, False)  # Too early to be about it.
    assert found_by(500.0, 1500.0) == (500.0, True)
    assert found_by(2001.0, 3000.0) == (None, False)
    assert found_by(None, 1500.0) == (None, False)  # It was silenced.


def test_only_an_alert_that_can_be_about_it() -> None:
    assert found_by(900.0, 1500.0, service="a") == (100.0, False)
    assert found_by(900.0, 1500.0, service="b") == (None, False)
    (met,) = match([Incident(1000.0, 2000.0, query="other")], [alert(900.0, None)], ahead=300.0, end=5000.0)
    assert met.alert is None


def test_an_alert_that_fires_for_days_steps_back_behind_one_that_is_news() -> None:
    standing, news = alert(10.0, None), alert(1100.0, 1200.0)
    (met,) = match([Incident(1000.0, 2000.0)], [standing, news], ahead=300.0, end=5000.0)
    assert (met.alert, met.lead, met.already_firing, met.others) == (news, -100.0, False, 1)


class Server:
    """Past alerts on a grid of a minute: two of one name that overlap, and a later one."""

    def history(
        self, expr: str, start: float, end: float, step: float, *, timeout: float, series: int, **_: object
    ) -> Iterator[HistoryChunk]:
        self.expr = expr
        times = np.arange(start, end + 1, step)
        keys = [b'{"alertname":"Slow","instance":"a"}', b'{"alertname":"Slow","instance":"b"}']
        values = np.full((len(times), 2), np.nan)
        values[10:20, 0] = values[15:30, 1] = values[60:62, 1] = 1.0
        for part in (slice(0, 18), slice(18, None)):
            yield HistoryChunk(times[part], keys, values[part])


def test_past_alerts_of_one_name_that_touch_are_one_incident() -> None:
    server = Server()
    found = past_alerts(server, '{alertname=~"S.*",}', 0.0, 6000.0)
    assert server.expr == 'ALERTS{alertstate="firing",alertname=~"S.*"}'
    assert found == [Incident(600.0, 1740.0, "Slow"), Incident(3600.0, 3660.0, "Slow")]
    past_alerts(server, "ALERTS", 0.0, 60.0)
    assert server.expr == 'ALERTS{alertstate="firing"}'
