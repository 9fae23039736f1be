"""Every answer of a server, or of a proxy before it, that is not a result."""

from __future__ import annotations

import json

import pytest

from exporter.errors import PrometheusError, Reason
from exporter.prometheus.api import PrometheusApi
from exporter.prometheus.response import single_line
from exporter.prometheus.settings import PrometheusSettings
from tests.integration.scripted import Exchange, Scripted, answer

HTML = b"<html><head><title>502</title><style>p {color: red}</style></head><body><h1>Bad\r\nGateway</h1></body></html>"
EMPTY = {"status": "success", "data": {"resultType": "vector", "result": []}}


def said(kind: str, text: str) -> bytes:
    return json.dumps({"status": "error", "errorType": kind, "error": text}).encode()


def ask(data: bytes, **options: object) -> PrometheusError:
    with Scripted.run(lambda e: e.send(data)) as server:
        one = PrometheusApi(PrometheusSettings(url=server.url, **options), user_agent="test/1")
        with pytest.raises(PrometheusError) as caught:
            one.instant("up", 0.0, timeout=20)
        one.close()
    return caught.value


@pytest.mark.parametrize(
    ("status", "body", "reason", "message"),
    [
        ("400 Bad Request", said("bad_data", "parse error"), Reason.BAD_DATA, "parse error"),
        ("422 Unprocessable Entity", said("execution", "many-to-many"), Reason.EXECUTION, "many-to-many"),
        ("422 U", said("execution", "expanding series: context deadline exceeded"), Reason.TIMEOUT, "expanding series"),
        ("422 U", said("422", "unparsed data left"), Reason.EXECUTION, "unparsed data left"),
        ("422 U", said("422", "timeout exceeded during query"), Reason.TIMEOUT, "timeout exceeded"),
        ("503 S", said("timeout", "query timed out in query queue"), Reason.TIMEOUT, "query queue"),
        ("503 S", said("canceled", "query was canceled"), Reason.TIMEOUT, "canceled"),
        ("503 S", said("unavailable", "not yet"), Reason.UNAVAILABLE, "not yet"),
        ("500 I", said("internal", "disk"), Reason.UNAVAILABLE, "disk"),
        ("404 N", said("not_found", "none"), Reason.HTTP, "none"),
        ("429 T", said("too_many_requests", "slow down"), Reason.RATE_LIMITED, "slow down"),
        ("429 T", said("bad_data", "slow down"), Reason.RATE_LIMITED, "slow down"),
        ("401 U", said("bad_data", "no org id"), Reason.UNAUTHORIZED, "no org id"),
        ("200 OK", said("execution", "partly"), Reason.EXECUTION, "partly"),
        ("200 OK", said("of tomorrow", "something"), Reason.EXECUTION, "something"),
        ("418 T", said("of tomorrow", "something"), Reason.HTTP, "something"),
        ("400 B", said("bad_data", ""), Reason.BAD_DATA, "HTTP 400 without a message"),
        ("503 S", b"Service Unavailable\n", Reason.UNAVAILABLE, "HTTP 503: Service Unavailable"),
        ("404 N", b"404 page not found\n", Reason.HTTP, "HTTP 404: 404 page not found"),
        ("405 M", b"Method Not Allowed", Reason.HTTP, "HTTP 405: Method Not Allowed"),
        ("401 U", b"Unauthorized\n", Reason.UNAUTHORIZED, "HTTP 401: Unauthorized"),
        ("403 F", b"", Reason.UNAUTHORIZED, "HTTP 403"),
        ("502 B", HTML, Reason.UNAVAILABLE, "HTTP 502: 502 Bad Gateway"),
        ("504 G", HTML, Reason.TIMEOUT, "HTTP 504"),
        ("500 I", b"\x1b[31m\x00oops\xff", Reason.UNAVAILABLE, "HTTP 500: \\x1b[31m\\x00oops\ufffd"),
        ("503 S", json.dumps(EMPTY).encode(), Reason.UNAVAILABLE, "HTTP 503"),
        ("204 N", b"", Reason.HTTP, "HTTP 204"),
        ("200 OK", b"", Reason.MALFORMED, "not an answer of the Prometheus API: an empty body"),
        ("200 OK", HTML, Reason.MALFORMED, "not an answer of the Prometheus API: 502 Bad Gateway"),
        ("200 OK", b"{" + b"x" * 500, Reason.MALFORMED, "not an answer of the Prometheus API: {xxx"),
        ("200 OK", b'{"status":"maybe"}', Reason.MALFORMED, "is 'maybe', and not success"),
        ("200 OK", b'{"status":"success"}', Reason.MALFORMED, "an answer without data"),
    ],
)
def test_it_has_a_reason_and_a_sentence(status: str, body: bytes, reason: Reason, message: str) -> None:
    error = ask(answer(body, status=status))
    assert (error.reason, message in error.message) == (reason, True), error.message
    assert error.status == int(status.split()[0])
    assert len(error.message) <= 200
    assert error.message.isprintable()


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry_After": "120"}, 120.0),
        ({"Retry_After": "0"}, 0.0),
        ({"Retry_After": "soon"}, None),
        ({"Retry_After": "-5"}, None),
        ({"Retry_After": "٣"}, None),
        ({}, None),
        ({"Retry_After": "Sun, 22 Nov 2026 10:01:30 GMT", "Date": "Sun, 22 Nov 2026 10:00:00 GMT"}, 90.0),
        ({"Retry_After": "Sun, 22 Nov 2026 09:00:00 GMT", "Date": "Sun, 22 Nov 2026 10:00:00 GMT"}, 0.0),
        ({"Retry_After": "Sun, 22 Nov 2026 10:01:30 GMT"}, None),
    ],
)
def test_retry_after_is_handed_on(headers: dict[str, str], seconds: float | None) -> None:
    raw = {name: value.encode().decode("latin-1") for name, value in headers.items()}
    error = ask(answer(b"slow down", status="429 Too Many Requests", **raw))
    assert (error.reason, error.retry_after) == (Reason.RATE_LIMITED, seconds)


def test_a_long_sentence_is_cut_and_lines_are_joined() -> None:
    assert single_line("a\n b\t\x07c") == "a b \\x07c"
    assert len(single_line("word " * 1000)) == 200
    assert ask(answer(said("bad_data", "x\ny" * 10_000), status="400 B")).message.startswith("x yx yx")


@pytest.mark.parametrize(
    ("date", "at"),
    [
        ("Sun, 22 Nov 2026 10:00:00 GMT", 1795341600.0),
        ("Sun, 22 Nov 2026 10:00:00", 1795341600.0),
        ("Sun, 22 Nov 2026 10:00:00 -0000", 1795341600.0),
        ("yesterday", None),
        ("", None),
    ],
)
def test_the_clock_of_the_server_comes_with_the_data(date: str, at: float | None) -> None:
    with Scripted.run(lambda e: e.send(answer(json.dumps(EMPTY).encode(), Date=date))) as server:
        one = PrometheusApi(PrometheusSettings(url=server.url), user_agent="test/1")
        assert one.instant("up", 0.0, timeout=20).server_time == at


def test_what_is_asked_is_a_form_with_the_time_and_the_time_left() -> None:
    with Scripted.run(lambda e: e.send(answer(json.dumps(EMPTY).encode()))) as server:
        settings = PrometheusSettings(url=server.url + "/prom", lookback_delta="90s")
        PrometheusApi(settings, user_agent="test/1").instant("up == 1", 1795316160.3654, timeout=2.5)
    (asked,) = server.exchanges
    assert (asked.method, asked.path) == ("POST", "/prom/api/v1/query")
    assert asked.body == b"query=up+%3D%3D+1&time=1795316160.365&timeout=2.500&lookback_delta=90.000"


def test_ready_tells_what_may_pass_from_what_will_not() -> None:
    for status, ready in (("200 OK", True), ("503 S", False), ("429 T", False)):
        with Scripted.run(lambda e, status=status: e.send(answer(json.dumps(EMPTY).encode(), status=status))) as server:
            assert PrometheusApi(PrometheusSettings(url=server.url), user_agent="").ready(timeout=20) is ready
    with Scripted.run(lambda e: e.send(answer(b"no", status="401 U"))) as server, pytest.raises(PrometheusError):
        PrometheusApi(PrometheusSettings(url=server.url), user_agent="").ready(timeout=20)


def test_a_cut_answer_is_never_a_result() -> None:
    rows = [{"metric": {"a": "b"}, "value": [1, "2"]}] * 2
    whole = json.dumps({"status": "success", "data": {"resultType": "vector", "result": rows}}).encode()
    for cut in range(0, len(whole), 7):

        def script(exchange: Exchange, cut: int = cut) -> None:
            exchange.send(b"HTTP/1.1 200 OK\r\n\r\n" + whole[:cut])
            exchange.close()

        with Scripted.run(script) as server:
            one = PrometheusApi(PrometheusSettings(url=server.url), user_agent="test/1")
            with pytest.raises(PrometheusError) as caught:
                one.instant("up", 0.0, timeout=20)
            # To be asked for again, unless nothing came.
            assert caught.value.reason is (Reason.CONNECTION if cut else Reason.MALFORMED)
