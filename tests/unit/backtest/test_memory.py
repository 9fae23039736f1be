"""What a backtest holds at once: `limits.max_memory` is for its answers, too."""

from __future__ import annotations

from typing import Any

import pytest

from exporter.backtest import replay
from exporter.cli.backtest import _replay
from exporter.config.model import Config
from exporter.errors import PrometheusError, Reason
from tests.integration.scripted import Exchange, Scripted, answer

ROWS = 60_000


@pytest.mark.parametrize("limit", [20 * 2**20, None])
def test_an_answer_that_is_too_large_is_refused(limit: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(replay, "replay", lambda *_, **options: given.update(options))
    rows = ",".join(f'{{"metric":{{"i":"{row}"}},"value":[0,"1"]}}' for row in range(ROWS))
    body = f'{{"status":"success","data":{{"resultType":"vector","result":[{rows}]}}}}'.encode()

    def script(exchange: Exchange) -> None:
        exchange.send(answer(body))

    with Scripted.run(script) as server:
        config = Config.model_validate({"prometheus": {"url": server.url}, "queries": []})
        # Less than a configuration may say.
        config = config.model_copy(update={"limits": config.limits.model_copy(update={"max_memory": limit})})

        class Pool:
            sleep = None

        _replay(config, None, None, [], None, Pool)  # type: ignore[arg-type]
        client = given["connect"](config.servers[config.default_source])
        if limit is None:
            assert len(client.instant("x", 0.0, timeout=20).keys) == ROWS
        else:
            with pytest.raises(PrometheusError, match=r"limits\.max_memory") as raised:
                client.instant("x", 0.0, timeout=20)
            assert raised.value.reason is Reason.TOO_LARGE
        client.close()
