"""How a source is asked: the URL, its parameters and the method."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import ValidationError

from exporter.delivery.settings import AlertmanagerSettings
from exporter.errors import PrometheusError, Reason
from exporter.prometheus.api import PrometheusApi
from exporter.prometheus.settings import PrometheusSettings
from tests.integration.scripted import Exchange, Scripted, answer

EMPTY = answer(json.dumps({"status": "success", "data": {"resultType": "vector", "result": []}}).encode())


@pytest.mark.parametrize("method", ["post", "get"])
def test_params_are_in_the_url_of_every_request(method: str) -> None:
    params = {"deny_partial_response": "1", "extra_label": ["tenant=a", "stage=b c"]}
    with Scripted.run(lambda e: e.send(EMPTY)) as server:
        api = PrometheusApi(PrometheusSettings(url=server.url, params=params, method=method))
        api.instant("up", 0.0, timeout=20)
        api.ready(timeout=20)
        api.close()
    for exchange in server.exchanges:
        query = parse_qs(urlsplit(exchange.path).query)
        assert exchange.method == method.upper()
        assert query["deny_partial_response"] == ["1"]
        assert query["extra_label"] == ["tenant=a", "stage=b c"]
        assert ("query" in query) == (method == "get")


@pytest.mark.parametrize("status", ["405 Method Not Allowed", "501 Not Implemented", "403 Forbidden"])
def test_a_source_that_refuses_post_is_asked_with_get_from_then_on(status: str) -> None:
    with Scripted.run(lambda e: e.send(EMPTY if e.method == "GET" else answer(b"no", status=status))) as server:
        api = PrometheusApi(PrometheusSettings(url=server.url))
        for _ in range(3):
            api.instant("up", 0.0, timeout=20)
        api.close()
    assert [exchange.method for exchange in server.exchanges] == ["POST", "GET", "GET", "GET"]


def test_who_forbids_both_methods_forbids_the_query() -> None:
    with Scripted.run(lambda e: e.send(answer(e.method.encode(), status="403 Forbidden"))) as server:
        api = PrometheusApi(PrometheusSettings(url=server.url))
        for _ in range(2):
            with pytest.raises(PrometheusError, match="POST") as caught:
                api.instant("up", 0.0, timeout=20)
            assert caught.value.reason is Reason.UNAUTHORIZED
        api.close()


def test_a_given_method_is_the_only_one() -> None:
    def script(exchange: Exchange) -> None:
        exchange.send(answer(b"no", status="405 Method Not Allowed"))

    with Scripted.run(script) as server:
        api = PrometheusApi(PrometheusSettings(url=server.url, method="post"))
        with pytest.raises(PrometheusError, match="405"):
            api.instant("up", 0.0, timeout=20)
        api.close()
    assert [exchange.method for exchange in server.exchanges] == ["POST"]


@pytest.mark.parametrize("end", ["", "/", "/api/v1", "/api/v1/", "/api/v1/query", "/api/v1/query_range", "/graph"])
@pytest.mark.parametrize("base", ["http://p:9090", "https://p/select/0/prometheus"])
def test_the_url_of_a_request_is_understood(base: str, end: str) -> None:
    assert PrometheusSettings(url=base + end).url == base


@pytest.mark.parametrize("end", ["", "/", "/api/v2", "/api/v2/alerts", "/api/v2/silences", "/api/v1/alerts"])
def test_the_url_of_a_request_to_an_alertmanager_is_understood(end: str) -> None:
    assert AlertmanagerSettings(url="http://a:9093/am" + end).url == "http://a:9093/am"


def test_the_url_of_a_page_is_refused_with_the_right_one() -> None:
    with pytest.raises(ValidationError, match=r"write http://a:9093$|write http://a:9093 "):
        AlertmanagerSettings(url="http://a:9093/#/alerts")
    with pytest.raises(ValidationError, match=r"write http://p:9090/graph"):
        PrometheusSettings(url="http://p:9090/graph?g0.expr=up")


@pytest.mark.parametrize("name", ["query", "time", "step", "timeout", "lookback_delta"])
def test_a_parameter_that_the_exporter_sets_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match=name):
        PrometheusSettings(params={name: "1"})
