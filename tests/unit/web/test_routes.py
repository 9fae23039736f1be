from __future__ import annotations

import socket
import threading

import pytest
import requests

from exporter.errors import ExporterError

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE")
ROUTES = {
    "/": ("GET", "HEAD"),
    "/metrics": ("GET", "HEAD"),
    "/static/style.css": ("GET", "HEAD"),
    "/-/healthy": ("GET", "HEAD"),
    "/-/ready": ("GET", "HEAD"),
    "/-/reload": ("POST", "PUT"),
    "/api/v1/status/config": ("GET", "HEAD"),
    "/api/v1/status/buildinfo": ("GET", "HEAD"),
    "/api/v1/openapi.json": ("GET", "HEAD"),
}


@pytest.mark.parametrize("path", [*ROUTES, "/nothing", "/metrics/", "/-/"])
def test_every_route_answers_its_methods_and_no_other(serve, path):
    served = serve()
    with requests.Session() as session:
        for method in METHODS:
            answer = session.request(method, served.url + path, timeout=10)
            allowed = ROUTES.get(path)
            if allowed is None:
                assert answer.status_code == 404, method
            elif method in allowed:
                assert answer.status_code == 200, method
                assert bool(answer.content) is (method != "HEAD")
            else:
                assert answer.status_code == 405, method
                assert set(answer.headers["Allow"].split(",")) == set(allowed)
            assert_safe_headers(answer.headers)


def assert_safe_headers(headers):
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Content-Security-Policy"].startswith(("default-src 'self';", "default-src 'none';"))
    assert "Access-Control-Allow-Origin" not in headers
    assert "aiohttp" not in headers.get("Server", "")
    assert "Python" not in headers.get("Server", "")


@pytest.mark.parametrize("path", [path for path, methods in ROUTES.items() if "GET" in methods])
def test_head_says_how_long_the_body_of_get_is(serve, path):
    served = serve()
    head = requests.head(served.url + path, timeout=10)
    got = requests.get(served.url + path, timeout=10)
    assert head.headers["Content-Type"] == got.headers["Content-Type"]
    if path != "/metrics":  # Where the numbers move.
        assert head.headers["Content-Length"] == got.headers["Content-Length"]


def test_ready_says_why_it_is_not(serve):
    served = serve()
    served.program.reason = "cpu: history is being read, 40 %"
    answer = requests.get(served.url + "/-/ready", timeout=10)
    assert (answer.status_code, answer.headers["Content-Type"]) == (503, "text/plain; charset=utf-8")
    assert answer.text == "Anomaly Exporter is not ready: cpu: history is being read, 40 %\n"
    assert requests.head(served.url + "/-/ready", timeout=10).status_code == 503
    assert requests.get(served.url + "/-/healthy", timeout=10).status_code == 200


def test_ready_says_which_queries_have_no_scores_yet(serve):
    served = serve()
    served.program.reservations = ["cpu: history is being read, 40%; it has no scores so far"]
    answer = requests.get(served.url + "/-/ready", timeout=10)
    assert answer.status_code == 200
    assert answer.text == f"Anomaly Exporter is Ready.\n{served.program.reservations[0]}\n"


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_reload_reloads(serve, method):
    served = serve()
    assert requests.request(method, served.url + "/-/reload", timeout=10).status_code == 200
    assert served.program.reloads == 1


def test_reload_says_what_is_wrong_with_the_file(serve, bad_config):
    served = serve()
    served.program.broken = bad_config
    answer = requests.post(served.url + "/-/reload", timeout=10)
    assert answer.status_code == 500
    assert "config.yaml:3:5: queries[0].expr: required" in answer.text


def test_reload_is_off_unless_enabled(serve):
    served = serve(lifecycle=False)
    answer = requests.post(served.url + "/-/reload", timeout=10)
    assert answer.status_code == 403
    assert "--web.enable-lifecycle" in answer.text
    assert served.program.reloads == 0


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
    ],
    ids=str,
)
def test_another_site_cannot_make_a_browser_reload(serve, headers, status):
    served = serve()
    assert requests.post(served.url + "/-/reload", headers=headers, timeout=10).status_code == status
    assert served.program.reloads == (1 if status == 200 else 0)
    assert requests.get(served.url + "/metrics", headers=headers, timeout=10).status_code == 200


def test_an_unexpected_error_is_told_to_the_log_and_not_to_the_client(serve, caplog):
    served = serve()
    served.program.broken = RuntimeError("secret detail")
    answer = requests.post(served.url + "/-/reload", timeout=10)
    assert answer.status_code == 500
    assert "secret detail" not in answer.text
    number = answer.text.split("request ")[1].split()[0]
    assert f"request {number}: POST '/-/reload' failed" in caplog.text
    assert requests.get(served.url + "/-/healthy", timeout=10).status_code == 200


def test_status_is_in_the_envelope_of_prometheus(serve):
    served = serve()
    assert requests.get(served.url + "/api/v1/status/buildinfo", timeout=10).json() == {
        "status": "success",
        "data": {"version": "1.2.3"},
    }
    assert requests.get(served.url + "/api/v1/status/config", timeout=10).json() == {
        "status": "success",
        "data": {"yaml": "password: <secret>\n"},
    }


@pytest.mark.parametrize(
    "path", ["/../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/static/../../x", "//etc/passwd", "/%00", "/metrics%00"]
)
def test_there_are_no_files(serve, path):
    answer = serve().say(b"GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % path.encode())
    assert answer.startswith((b"HTTP/1.1 404 ", b"HTTP/1.1 400 "))


def test_metrics_differ_by_what_is_asked_for(serve):
    served = serve()
    plain = requests.get(served.url + "/metrics", headers={"Accept-Encoding": "identity"}, timeout=10)
    packed = requests.get(served.url + "/metrics", headers={"Accept": "application/openmetrics-text"}, timeout=10)
    assert plain.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.headers["Vary"] == "Accept, Accept-Encoding"
    assert packed.text.endswith("# EOF\n")


@pytest.mark.parametrize("address", ["127.0.0.1:0", "localhost:0", ":0"])
def test_it_listens_where_it_is_told(serve, address):
    served = serve(address=address)
    assert requests.get(served.url + "/-/healthy", timeout=10).status_code == 200


def test_it_listens_on_ipv6(serve):
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this host has no IPv6 loopback")
    served = serve(address="[::1]:0")
    assert requests.get(f"http://[::1]:{served.port}/-/healthy", timeout=10).status_code == 200
    every = serve(address=":0")
    assert requests.get(f"http://[::1]:{every.port}/-/healthy", timeout=10).status_code == 200


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("9877", "not an address to listen on"),
        ("localhost:http", "not an address to listen on"),
        (":65536", "not an address to listen on"),
        ("::1:9877", "an IPv6 host stands in brackets"),
        ("192.0.2.1:0", "cannot listen on 192.0.2.1:0: "),
        ("no-such-host.invalid:0", "cannot listen on no-such-host.invalid:0: "),
    ],
)
def test_a_wrong_address_is_said(serve, address, message):
    with pytest.raises(ExporterError, match=message):
        serve(address=address)


def test_a_port_in_use_is_said(serve):
    served = serve()
    with pytest.raises(ExporterError, match=f"cannot listen on 127.0.0.1:{served.port}: Address already in use"):
        serve(address=f"127.0.0.1:{served.port}")


def test_stopping_lets_an_answer_end_and_frees_the_port(serve):
    served = serve()
    begun, go_on = threading.Event(), threading.Event()

    def wait():
        begun.set()
        assert go_on.wait(10)

    served.program.while_reloading = wait
    answers = []
    client = threading.Thread(target=lambda: answers.append(requests.post(served.url + "/-/reload", timeout=20)))
    client.start()
    assert begun.wait(10)
    stopper = threading.Thread(target=served.server.stop, args=(10.0,))
    stopper.start()
    go_on.set()
    stopper.join(20)
    client.join(20)
    assert [answer.status_code for answer in answers] == [200]
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", served.port))
    served.server.stop()


@pytest.mark.parametrize(
    ("host", "browser", "status"),
    [
        ("rebound.evil.example", True, 403),
        ("rebound.evil.example:80", True, 403),
        ("rebound.evil.example", False, 200),
        ("127.0.0.1", True, 200),
        ("[::1]:9877", True, 200),
        ("localhost:9877", True, 200),
        ("anomaly", True, 200),
        ("anomaly.monitoring.svc", True, 200),
    ],
)
def test_a_name_that_only_points_here_reloads_nothing(serve, host, browser, status):
    served = serve()
    headers = {"Host": host, **({"Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"} if browser else {})}
    assert requests.post(served.url + "/-/reload", headers=headers, timeout=60).status_code == status
    assert served.program.reloads == (status == 200)
    assert requests.get(served.url + "/-/healthy", headers=headers, timeout=60).status_code == 200
