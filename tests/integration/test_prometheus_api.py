"""`PrometheusApi` against a real Prometheus."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import bcrypt
import numpy as np
import pytest
import requests
import trustme

from exporter.engine.series import labels_of
from exporter.errors import PrometheusError, Reason
from exporter.prometheus.api import PrometheusApi
from exporter.prometheus.settings import PrometheusSettings
from tests.integration.conftest import RunPrometheus
from tests.integration.process import eventually, free_port
from tests.integration.remote_write import STALE
from tests.integration.servers import Prometheus

pytestmark = pytest.mark.integration

NOW = float(round(time.time()))
POINTS = 12_000
TIMEOUT = 30.0


def api(url: str, **options: object) -> PrometheusApi:
    return PrometheusApi(PrometheusSettings(url=url, **options), user_agent="test/1")


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with Prometheus(tmp_path_factory.mktemp("prometheus"), flags=["--query.max-samples=200000"]) as server:
        times = NOW - 60.0 * np.arange(POINTS)[::-1]
        series = [({"__name__": "load", "zone": f"z{i}"}, times, np.arange(POINTS) + 0.25 + i) for i in range(3)]
        gaps = times[np.arange(POINTS) % 10 != 3]
        server.push(
            [
                *series,
                ({"__name__": "gappy"}, gaps, gaps),
                ({"__name__": "odd", "n": "1"}, [NOW], [np.nan]),
                ({"__name__": "odd", "n": "2"}, [NOW], [np.inf]),
                ({"__name__": "odd", "n": "3"}, [NOW], [-np.inf]),
                ({"__name__": "odd", "n": "4"}, [NOW], [1e-300]),
                ({"__name__": "odd", "n": "5"}, [NOW], [1.2345678901234568e29]),
                ({"__name__": "odd", "n": 'quo"te\\ \n é'}, [NOW], [-0.0]),
                ({"__name__": "gone"}, [NOW - 60, NOW - 1], [1.0, STALE]),
                ({"__name__": "old"}, [NOW - 120], [7.0]),
            ]
        )
        yield server


@pytest.fixture(scope="module")
def asked(filled: Prometheus) -> Iterator[PrometheusApi]:
    one = api(filled.url)
    yield one
    one.close()


def failure(one: PrometheusApi, expr: str, timeout: float = TIMEOUT) -> PrometheusError:
    with pytest.raises(PrometheusError) as caught:
        one.instant(expr, NOW, timeout=timeout)
    return caught.value


def test_an_instant_vector_is_one_row_a_series(asked: PrometheusApi) -> None:
    frame = asked.instant("sort(load)", NOW, timeout=TIMEOUT)
    assert frame.at == NOW
    assert frame.values.tolist() == [POINTS - 0.75, POINTS + 0.25, POINTS + 1.25]
    assert frame.timestamps.tolist() == [NOW] * 3
    assert labels_of(frame.keys[1]) == (("__name__", "load"), ("zone", "z1"))
    assert (frame.unreadable.rows, frame.warnings) == (0, ())
    assert frame.server_time is not None
    assert abs(frame.server_time - time.time()) < 60


def test_numbers_arrive_as_they_are(asked: PrometheusApi) -> None:
    frame = asked.instant("odd", NOW, timeout=TIMEOUT)
    found = {dict(labels_of(key))["n"]: value for key, value in zip(frame.keys, frame.values.tolist(), strict=True)}
    expected = {"1": np.nan, "2": np.inf, "3": -np.inf, "4": 1e-300, "5": 1.2345678901234568e29, 'quo"te\\ \n é': 0.0}
    assert found.keys() == expected.keys()
    np.testing.assert_array_equal([found[n] for n in expected], list(expected.values()))
    assert frame.unreadable.rows == 0


@pytest.mark.parametrize(("expr", "value"), [("1+1", 2.0), ("0/0", np.nan), ("1/0", np.inf), ("-1/0", -np.inf)])
def test_a_scalar_is_one_series_without_labels(asked: PrometheusApi, expr: str, value: float) -> None:
    frame = asked.instant(expr, NOW, timeout=TIMEOUT)
    np.testing.assert_array_equal(frame.values, [value])
    assert (frame.keys, labels_of(frame.keys[0])) == ([b"{}"], ())


@pytest.mark.parametrize("expr", ["nothing_of_this_name", "gone", "load > 1e9"])
def test_no_data_is_an_empty_frame(asked: PrometheusApi, expr: str) -> None:
    frame = asked.instant(expr, NOW, timeout=TIMEOUT)
    assert (len(frame.keys), frame.values.shape, frame.timestamps.shape) == (0, (0,), (0,))


@pytest.mark.parametrize(
    ("expr", "reason", "sentence"),
    [
        ("sum(rate(x[5m])", Reason.BAD_DATA, "unclosed left parenthesis"),
        ("", Reason.BAD_DATA, "no expression found in input"),
        ("rate(load)", Reason.BAD_DATA, "expected type range vector"),
        ("load[5m]", Reason.BAD_DATA, "the expression is a matrix"),
        ('"text"', Reason.BAD_DATA, "the expression is a string"),
        ("load + on() load", Reason.EXECUTION, "many-to-many matching not allowed"),
        ('label_replace(load, "zone", "x", "", "")', Reason.EXECUTION, "same labelset"),
        ("sum_over_time(load[30d]) + sum_over_time(load[30d:1s])", Reason.EXECUTION, "too many samples"),
    ],
)
def test_what_prometheus_refuses_has_a_reason_and_its_sentence(
    asked: PrometheusApi, expr: str, reason: Reason, sentence: str
) -> None:
    error = failure(asked, expr)
    assert (error.reason, sentence in error.message) == (reason, True), error.message
    assert len(error.message) <= 200
    assert not error.reason.retryable


def test_a_long_expression_is_no_problem(asked: PrometheusApi) -> None:
    matcher = "|".join(f"z{number}" for number in range(200_000))
    assert len(asked.instant(f'load{{zone=~"{matcher}"}}', NOW, timeout=TIMEOUT).keys) == 3


def test_readiness(asked: PrometheusApi) -> None:
    assert asked.ready(timeout=TIMEOUT)


def test_history_is_split_below_the_limit_of_points(asked: PrometheusApi) -> None:
    start = NOW - 60.0 * (POINTS - 1)
    found = list(asked.history("load", start, NOW, 60.0, timeout=TIMEOUT, series=3))
    assert [len(block.times) for block in found] == [10_000, 2_000]
    for column in range(3):
        zone = int(dict(labels_of(found[0].keys[column]))["zone"][1])
        values = np.concatenate([block.values[:, column] for block in found])
        np.testing.assert_array_equal(values, np.arange(POINTS) + 0.25 + zone)
    np.testing.assert_array_equal(np.concatenate([block.times for block in found]), start + 60.0 * np.arange(POINTS))


def test_history_asks_for_less_when_the_server_says_it_is_too_much(run_prometheus: RunPrometheus) -> None:
    server = run_prometheus(flags=["--query.max-samples=5000"])
    times = NOW - 60.0 * np.arange(3000)[::-1]
    server.push([({"__name__": "load", "zone": f"z{i}"}, times, np.arange(3000.0)) for i in range(3)])
    found = list(api(server.url).history("load", times[0], NOW, 60.0, timeout=TIMEOUT, series=3))
    assert [len(block.times) for block in found] == [1500, 1500]
    np.testing.assert_array_equal(np.concatenate([block.values[:, 2] for block in found]), np.arange(3000.0))


def test_gaps_in_history_are_nan(asked: PrometheusApi) -> None:
    start = NOW - 60.0 * 99
    (block,) = asked.history("last_over_time(gappy[30s])", start, NOW, 60.0, timeout=TIMEOUT, series=1)
    expected = np.where((POINTS - 100 + np.arange(100)) % 10 == 3, np.nan, block.times)
    np.testing.assert_array_equal(block.values[:, 0], expected)


def test_history_of_nothing_still_says_which_times_were_asked(asked: PrometheusApi) -> None:
    (block,) = asked.history("nothing_of_this_name", NOW - 600, NOW, 60.0, timeout=TIMEOUT, series=5)
    assert block.values.shape == (11, 0)
    assert list(asked.history("load", NOW, NOW - 1, 60.0, timeout=TIMEOUT, series=5)) == []


def test_history_of_a_wrong_expression_is_an_error(asked: PrometheusApi) -> None:
    with pytest.raises(PrometheusError, match="invalid expression type") as caught:
        list(asked.history("load[5m]", NOW - 600, NOW, 60.0, timeout=TIMEOUT, series=1))
    assert caught.value.reason is Reason.BAD_DATA


def test_an_answer_above_the_limit_of_bytes_is_refused_and_history_is_read_in_smaller_pieces(
    filled: Prometheus,
) -> None:
    small = api(filled.url, max_response_bytes=20_000)
    assert failure(small, "count_values without() ('v', load[1h:1s])").reason is Reason.BAD_DATA
    found = list(small.history("load", NOW - 60 * 2000, NOW, 60.0, timeout=TIMEOUT, series=3))
    assert sum(len(block.times) for block in found) == 2001
    assert max(len(block.times) for block in found) < 2001
    tiny = api(filled.url, max_response_bytes=100)
    assert failure(tiny, "load").reason is Reason.TOO_LARGE


def test_a_query_that_takes_too_long_is_given_up_by_us(filled: Prometheus) -> None:
    one = api(filled.url)
    slow = "max_over_time(quantile_over_time(0.9, load[12h:1m])[12h:1m])"
    assert failure(one, slow, timeout=0.05).reason is Reason.TIMEOUT
    assert one.ready(timeout=TIMEOUT)


def test_lookback_delta_is_sent(filled: Prometheus) -> None:
    assert len(api(filled.url).instant("old", NOW, timeout=TIMEOUT).keys) == 1
    short = api(filled.url, lookback_delta="30s").instant("old", NOW, timeout=TIMEOUT)
    build = requests.get(f"{filled.url}/api/v1/status/buildinfo", timeout=TIMEOUT).json()
    version = tuple(int(part) for part in build["data"]["version"].split(".")[:2])
    # Prometheus before 2.44 does not know the parameter and ignores it.
    assert len(short.keys) == (0 if version >= (2, 44) else 1)


def test_a_query_limit_of_the_server_is_a_timeout(run_prometheus: RunPrometheus) -> None:
    server = run_prometheus(flags=["--query.timeout=1ms"])
    server.push([({"__name__": "load", "i": str(i)}, NOW - 15.0 * np.arange(2000), np.arange(2000)) for i in range(20)])
    assert failure(api(server.url), "sum(rate(load[8h:1s]))").reason is Reason.TIMEOUT


def test_a_server_that_is_down_or_starting_is_not_ready_and_comes_back(run_prometheus: RunPrometheus) -> None:
    server = run_prometheus()
    one = api(server.url)
    server.push([({"__name__": "load"}, [NOW], [1.0])])
    assert len(one.instant("load", NOW, timeout=TIMEOUT).keys) == 1
    server.kill()
    assert failure(one, "load").reason is Reason.REFUSED
    assert not one.ready(timeout=TIMEOUT)
    server.start(wait=False)
    reasons = set()

    def answered() -> bool:
        try:
            return len(one.instant("load", NOW, timeout=TIMEOUT).keys) == 1
        except PrometheusError as error:
            reasons.add(error.reason)
            return False

    eventually(answered, every=0.005)
    assert reasons <= {Reason.REFUSED, Reason.UNAVAILABLE, Reason.CONNECTION}


def test_a_port_where_nobody_listens_is_refused() -> None:
    assert failure(api(f"http://127.0.0.1:{free_port()}"), "up").reason is Reason.REFUSED


def test_tls_basic_auth_and_a_path_prefix(run_prometheus: RunPrometheus, tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(ca)
    issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    server = run_prometheus(
        prefix="/prom",
        auth=("alice", "secret"),
        ca=str(ca),
        web_config={
            "tls_server_config": {"cert_file": str(tmp_path / "cert.pem"), "key_file": str(tmp_path / "key.pem")},
            "basic_auth_users": {"alice": bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()},
        },
    )
    trust = {"ca_file": ca}
    alice = {"username": "alice", "password": "secret"}
    frame = api(server.url, tls_config=trust, basic_auth=alice).instant("vector(1)", NOW, timeout=TIMEOUT)
    assert frame.values.tolist() == [1.0]

    wrong = failure(api(server.url, tls_config=trust, basic_auth={**alice, "password": "wrong"}), "up")
    assert (wrong.reason, wrong.status, wrong.message) == (Reason.UNAUTHORIZED, 401, "HTTP 401: Unauthorized")
    assert failure(api(server.url, basic_auth=alice), "up").reason is Reason.TLS
    base = server.url.removesuffix("/prom")
    lost = failure(api(base, tls_config=trust, basic_auth=alice), "up")
    assert (lost.reason, lost.status) == (Reason.HTTP, 404)
    plain = failure(api(server.url.replace("https:", "http:"), basic_auth=alice), "up")
    # It says "Client sent an HTTP request to an HTTPS server.", and hangs up before it has read the request.
    assert plain.reason in (Reason.HTTP, Reason.CONNECTION)
