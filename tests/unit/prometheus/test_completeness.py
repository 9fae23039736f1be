"""Every mark of an answer that is not whole, in every dialect."""

from __future__ import annotations

import json

import pytest

from exporter.errors import PrometheusError
from exporter.prometheus.api import PrometheusApi
from exporter.prometheus.settings import PrometheusSettings
from tests.integration.scripted import Exchange, Scripted, answer

VECTOR = {"resultType": "vector", "result": [{"metric": {"i": "a"}, "value": [0, "1"]}]}
MATRIX = {"resultType": "matrix", "result": [{"metric": {"i": "a"}, "values": [[0, "1"]]}]}

PARTIAL = [
    pytest.param({"isPartial": True}, {}, id="VictoriaMetrics"),
    pytest.param({"warnings": ["No StoreAPIs matched for this query"]}, {}, id="Thanos"),
    pytest.param({"warnings": ["results truncated due to limit"]}, {}, id="Prometheus, limit"),
    pytest.param({"warnings": ["PromQL info: not a counter", "store s1: no connection"]}, {}, id="among remarks"),
    pytest.param({}, {"M3_Results_Limited": "max_fetch_series_limit_applied"}, id="M3"),
    pytest.param({}, {"X_Partial_Response": "true"}, id="a proxy"),
    pytest.param({}, {"Warning": '110 - "Response is Stale"'}, id="a cache"),
    pytest.param({"partial": 1}, {}, id="another field"),
    pytest.param({"partialResponse": True}, {}, id="as in a request of Thanos"),
    pytest.param({"warnings": "store s1 is down"}, {}, id="a text and no list"),
    pytest.param({"warnings": [{"store": "s1"}, None]}, {}, id="objects"),
    pytest.param({"error": {"message": "shard 2 timed out"}, "errorType": 504}, {}, id="an error beside the data"),
]
WHOLE = [
    pytest.param({}, {}, id="no mark"),
    pytest.param(
        {"isPartial": False, "warnings": None, "infos": None}, {"X_Partial_Response": "false"}, id="all false"
    ),
    pytest.param({"warnings": {}, "error": "", "errorType": None, "infos": "x"}, {}, id="nothing of another type"),
    pytest.param({"infos": ["PromQL info: metric might not be a counter", "anything"]}, {}, id="infos"),
    pytest.param({"warnings": ["PromQL warning: bucket label is missing"]}, {}, id="on the expression"),
    pytest.param({"warnings": ["PromQL info: a", "3 more info annotations omitted"]}, {}, id="more of them"),
]


def ask(fields: dict[str, object], headers: dict[str, str], status: str = "200 OK") -> tuple[bool, bool, int]:
    """Return whether an instant answer and a chunk of history are partial, and how many warnings there are."""

    def script(exchange: Exchange) -> None:
        data = MATRIX if exchange.path.endswith("query_range") else VECTOR
        exchange.send(
            answer(json.dumps({"status": "success", "data": data, **fields}).encode(), status=status, **headers)
        )

    with Scripted.run(script) as server:
        api = PrometheusApi(PrometheusSettings(url=server.url))
        frame = api.instant("load", 0.0, timeout=20)
        (block,) = api.history("load", 0.0, 0.0, 60.0, timeout=20, series=1)
        api.close()
    assert frame.warnings == block.warnings
    return frame.partial, block.partial, len(frame.warnings)


@pytest.mark.parametrize(("fields", "headers"), PARTIAL)
def test_what_a_marked_answer_lacks_is_unknown(fields: dict[str, object], headers: dict[str, str]) -> None:
    live, history, warnings = ask(fields, headers)
    assert live
    assert history
    assert warnings


@pytest.mark.parametrize(("fields", "headers"), WHOLE)
def test_remarks_say_nothing_about_what_is_missing(fields: dict[str, object], headers: dict[str, str]) -> None:
    assert ask(fields, headers)[:2] == (False, False)


def test_an_unknown_status_is_named_and_not_the_data() -> None:
    with pytest.raises(PrometheusError) as raised:
        ask({"status": "partial"}, {})
    assert raised.value.message == "the status of the answer is 'partial', and not success"


def test_the_status_of_a_part_is_a_mark() -> None:
    assert ask({}, {}, "206 Partial Content") == (True, True, 1)
