"""An answer of far too many series: its memory is bounded, and the series that are learned go on."""

from __future__ import annotations

import json
import threading
import tracemalloc

import pytest

from exporter.errors import PrometheusError, Reason
from exporter.http_client import Fault
from exporter.prometheus import AnswerBudget, PrometheusApi
from exporter.prometheus.flood import count_rows, thinned
from exporter.prometheus.settings import PrometheusSettings
from tests.integration.scripted import Exchange, Scripted, answer

MIB = 2**20
MANY = 45_000
LABELS = [{"i": str(number)} for number in range(MANY)]


def vector(labels: list[dict[str, str]], **more: object) -> bytes:
    rows = [{"metric": each, "value": [1700000000.5, "1.5"]} for each in labels]
    data = {"resultType": "vector", "result": rows}
    return json.dumps({"status": "success", "data": data, **more}, separators=(",", ":")).encode()


FLOOD = vector(LABELS, warnings=["a store did not answer"])


def is_learned(key: bytes) -> bool:
    return b'"777"' in key or key.replace(b" ", b"") in (b'{"i":"0"}', b'{"i":"%d"}' % (MANY - 1))


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": "), (" ,\n\t", " : ")], ids=["none", "space", "lines"])
def test_only_the_rows_of_learned_series_are_left(separators: tuple[str, str]) -> None:
    tricky = {"i": "777", "text": '"]},{"metric":{', "value": '"value":['}
    whole = json.loads(vector([LABELS[0], {"i": "1", "metric": '"metric"'}, tricky, {"i": "2"}]))
    whole |= {"warnings": ["x"], "data": {**whole["data"], "stats": {"a": [{"b": [1]}]}}}
    body, kept = thinned(json.dumps(whole, separators=separators).encode(), is_learned)
    whole["data"]["result"] = [row for row in whole["data"]["result"] if row["metric"]["i"] in ("0", "777")]
    assert (json.loads(body), kept) == (whole, 2)


HISTOGRAM = b'{"metric":{"i":"777"},"histogram":[1,{"count":"1","buckets":[[0,"1"]]}]}'


@pytest.mark.parametrize("number", range(3))
def test_a_learned_row_that_cannot_be_read_is_kept_wherever_it_stands(number: int) -> None:
    rows = [b'{"metric":{"i":"1","t":"]}]"},"value":[1,"2"]}', b'{"metric":5,"value":[1,2]}']
    rows.insert(number, HISTOGRAM)
    body, kept = thinned(b'{"data":{"result":[%b],"stats":[{"a":[1]}]}}' % b",".join(rows), is_learned)
    assert (body, kept) == (b'{"data":{"result":[%b],"stats":[{"a":[1]}]}}' % HISTOGRAM, 1)


@pytest.mark.parametrize("body", [b"", b"{}", b'{"data":{"result":[]}}', b'{"data":{"result":[{"metric":{"i":"0"}'])
def test_what_is_no_list_of_rows_is_left_alone(body: bytes) -> None:
    assert thinned(body, lambda _: True) == (body, 0)
    assert count_rows(body) <= 1


def test_the_learned_series_go_on_and_the_others_take_no_memory() -> None:
    with Scripted.run(lambda e: e.send(answer(FLOOD))) as server:
        api = PrometheusApi(PrometheusSettings(url=server.url), budget=AnswerBudget(lambda: 20 * MIB))
        tracemalloc.start()
        frame = api.instant("load", 0.0, timeout=60.0, is_learned=is_learned)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        api.close()
    assert [json.loads(key)["i"] for key in frame.keys] == ["0", "777", str(MANY - 1)]
    assert frame.values.tolist() == [1.5] * 3
    assert frame.refused == MANY - 3
    assert frame.partial
    # The text, and what is left of it; the rows as objects would take ten times as much.
    assert peak < 2.5 * len(FLOOD)


def test_without_a_learned_series_the_answer_is_refused_and_says_how_large_it_is() -> None:
    with Scripted.run(lambda e: e.send(answer(FLOOD))) as server:
        api = PrometheusApi(PrometheusSettings(url=server.url), budget=AnswerBudget(lambda: 20 * MIB))
        with pytest.raises(PrometheusError, match="45,000 series in one answer") as caught:
            api.instant("load", 0.0, timeout=60.0)
        assert caught.value.reason is Reason.TOO_LARGE
        api.close()


def test_with_room_every_row_is_read() -> None:
    with Scripted.run(lambda e: e.send(answer(FLOOD))) as server:
        for budget in (AnswerBudget(), AnswerBudget(lambda: 60 * MIB)):
            api = PrometheusApi(PrometheusSettings(url=server.url), budget=budget)
            for _ in range(3):  # What an answer took is given back.
                frame = api.instant("load", 0.0, timeout=60.0)
                assert (len(frame.keys), frame.refused) == (MANY, 0)
            api.close()


def test_history_of_too_many_series_is_asked_for_in_shorter_parts() -> None:
    rows = [{"metric": each, "values": [[0, "1"]]} for each in LABELS]
    body = json.dumps({"status": "success", "data": {"resultType": "matrix", "result": rows}}).encode()
    with Scripted.run(lambda e: e.send(answer(body))) as server:
        api = PrometheusApi(PrometheusSettings(url=server.url), budget=AnswerBudget(lambda: 20 * MIB))
        with pytest.raises(PrometheusError, match="45,000 series"):
            list(api.history("load", 0.0, 180.0, 60.0, timeout=60.0, series=1))
        api.close()
    ends = [exchange.body.split(b"end=")[1].split(b"&")[0] for exchange in server.exchanges]
    assert ends[0] == b"180.000"
    assert b"0.000" in ends


def test_answers_share_the_memory_and_give_it_back() -> None:
    budget = AnswerBudget(lambda: 30 * MIB)
    with budget.answer() as first, budget.answer() as second:
        first.read(20 * MIB)
        assert not second.fits(20 * MIB)
        second.read(10 * MIB)
        with pytest.raises(Fault, match=r"limits\.max_memory") as caught:
            first.read(1)
        assert caught.value.reason is Reason.TOO_LARGE
    with budget.answer() as third:
        third.read(30 * MIB)
    # A thread that is left behind takes nothing after the end.
    with pytest.raises(Fault):
        third.read(1)
    with AnswerBudget(lambda: -5.0).answer() as least:
        assert least.fits(16 * MIB)


def test_a_body_that_is_too_large_is_broken_off_while_it_is_read() -> None:
    sent = threading.Event()

    def script(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9000000000\r\n\r\n")
        for _ in range(40):
            exchange.send(b"x" * MIB)
        sent.set()

    with Scripted.run(script) as server:
        settings = PrometheusSettings(url=server.url, max_response_bytes=10**10)
        api = PrometheusApi(settings, budget=AnswerBudget(lambda: 20 * MIB))
        with pytest.raises(PrometheusError, match=r"limits\.max_memory"):
            api.instant("load", 0.0, timeout=60.0)
        api.close()
    assert not sent.is_set()
