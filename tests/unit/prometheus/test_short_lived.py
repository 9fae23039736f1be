"""History of series that come and go: each has a place at every instant of a chunk."""

from __future__ import annotations

import json
from urllib.parse import parse_qs

import numpy as np
import pytest

from exporter.prometheus import PrometheusApi, api
from exporter.prometheus.settings import PrometheusSettings
from tests.integration.scripted import Exchange, Scripted, answer


def test_a_chunk_of_many_short_lived_series_is_read_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "MAX_CELLS", 100)
    asked: list[int] = []

    def script(exchange: Exchange) -> None:
        form = {name: float(values[0]) for name, values in parse_qs(exchange.body.decode()).items() if name != "query"}
        times = np.arange(form["start"], form["end"] + 1.0, form["step"]).tolist()
        asked.append(len(times))
        series = [{"metric": {"i": str(round(at))}, "values": [[at, "1"]]} for at in times]
        data = {"resultType": "matrix", "result": series}
        exchange.send(answer(json.dumps({"status": "success", "data": data}).encode()))

    with Scripted.run(script) as server:
        client = PrometheusApi(PrometheusSettings(url=server.url))
        blocks = list(client.history("load", 60.0, 60.0 * 40, 60.0, timeout=20, series=1))
        client.close()
    assert asked == [40, 20, 10, 10, 10, 10]
    assert sum(len(block.times) for block in blocks) == 40
    assert all((np.isfinite(block.values).sum(axis=1) == 1).all() for block in blocks)
