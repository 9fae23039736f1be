"""Credentials, redirects, TLS: what the client sends, and to whom."""

from __future__ import annotations

import base64
import os
import select
import socket
import socketserver
import ssl
import threading
from pathlib import Path

import pytest
import requests
import trustme
import urllib3.exceptions
from pydantic import ValidationError

from exporter.errors import AlertmanagerError, PrometheusError, Reason
from exporter.http_client.client import Client
from exporter.http_client.errors import classify
from exporter.http_client.settings import HttpSettings
from tests.integration.process import free_port
from tests.integration.scripted import Exchange, Scripted, answer
from tests.integration.webhook import Target

CANARY = "kanarienvogel"


def ok(exchange: Exchange) -> None:
    exchange.send(answer(b"ok"))


def client(url: str, **options: object) -> Client:
    return Client(HttpSettings(url=url, **options), user_agent="anomaly-exporter/1", pool=2, error=PrometheusError)


def get(one: Client, path: str = "/path") -> bytes:
    return one.get(path, {"a": "b c"}, timeout=20, max_bytes=1000).body


def failure(one: Client, path: str = "/path") -> PrometheusError:
    with pytest.raises(PrometheusError) as caught:
        get(one, path)
    assert CANARY not in repr(caught.value) + str(caught.value) + repr(one)
    return caught.value


def test_a_get_has_its_query_in_the_path_and_a_form_in_the_body() -> None:
    with Scripted.run(ok) as server:
        one = client(server.url + "/prefix/")
        assert get(one) == b"ok"
        one.post_form("/q", {"query": "up == 1"}, timeout=20, max_bytes=1000)
        one.post_json("/j", b"[]", timeout=20, max_bytes=1000)
        one.delete("/d", timeout=20, max_bytes=1000)
    asked, form, json, deleted = server.exchanges
    assert (asked.method, asked.path, asked.headers["user-agent"]) == (
        "GET",
        "/prefix/path?a=b+c",
        "anomaly-exporter/1",
    )
    assert (form.method, form.path, form.body) == ("POST", "/prefix/q", b"query=up+%3D%3D+1")
    assert form.headers["content-type"] == "application/x-www-form-urlencoded"
    assert (json.path, json.body, json.headers["content-type"]) == ("/prefix/j", b"[]", "application/json")
    assert (deleted.method, deleted.path) == ("DELETE", "/prefix/d")
    assert server.accepted == 1


def test_any_status_is_an_answer() -> None:
    with Scripted.run(lambda e: e.send(answer(b"no", status="418 Teapot", Retry_After="7"))) as server:
        said = client(server.url).get("/", timeout=20, max_bytes=10)
        assert (said.status, said.headers["retry-after"], said.body) == (418, "7", b"no")


def test_the_type_of_the_error_is_the_callers() -> None:
    one = Client(HttpSettings(url=f"http://127.0.0.1:{free_port()}/am"), user_agent="", pool=1, error=AlertmanagerError)
    with pytest.raises(AlertmanagerError) as caught:
        one.post_json("/api/v2/alerts", b"[]", timeout=20, max_bytes=10)
    assert caught.value.url.endswith("/am/api/v2/alerts")
    assert caught.value.reason.retryable


def test_compression_is_asked_for_over_a_wire_only() -> None:
    assert client("http://127.0.0.1:1")._headers["Accept-Encoding"] == "identity"
    assert client("http://[::1]:1")._headers["Accept-Encoding"] == "identity"
    assert client("http://localhost")._headers["Accept-Encoding"] == "identity"
    assert client("http://prometheus:9090")._headers["Accept-Encoding"] == "gzip"


def test_a_secret_in_a_file_is_read_for_every_request(tmp_path: Path) -> None:
    file = tmp_path / "token"
    with Scripted.run(ok) as server:
        one = client(server.url, authorization={"credentials_file": file})
        assert failure(one).reason is Reason.CREDENTIALS
        for token in ("first", "second\n"):
            file.write_text(token)
            get(one)
        file.write_text("\n")
        assert failure(one).reason is Reason.CREDENTIALS
        file.write_text(f"{CANARY}\nX-Injected: yes")
        assert failure(one).reason is Reason.CREDENTIALS
        file.write_text(CANARY * 100_000)
        assert failure(one).reason is Reason.CREDENTIALS
    assert [e.headers["authorization"] for e in server.exchanges] == ["Bearer first", "Bearer second"]


def test_basic_auth_takes_any_character(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("pä:ss\n")
    with Scripted.run(ok) as server:
        get(client(server.url, basic_auth={"username": "jürgen", "password_file": tmp_path / "password"}))
        get(client(server.url, basic_auth={"username": "a", "password": "b"}))
    sent = [base64.b64decode(e.headers["authorization"].removeprefix("Basic ")).decode() for e in server.exchanges]
    assert sent == ["jürgen:pä:ss", "a:b"]


def test_configured_headers_are_sent() -> None:
    with Scripted.run(ok) as server:
        get(client(server.url, headers={"X-Scope-OrgID": "tenant-1"}))
        assert server.exchanges[0].headers["x-scope-orgid"] == "tenant-1"


def test_no_secret_is_in_any_error_when_the_server_cannot_be_reached() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    for options in (
        {"basic_auth": {"username": "me", "password": CANARY}},
        {"authorization": {"credentials": CANARY}},
        {"headers": {"X-Token": CANARY}},
    ):
        assert failure(client(url, **options)).reason is Reason.REFUSED


def test_cookies_are_not_kept() -> None:
    with Scripted.run(lambda e: e.send(answer(b"ok", Set_Cookie="session=1; Path=/"))) as server:
        one = client(server.url)
        get(one)
        get(one)
        assert "cookie" not in server.exchanges[1].headers


@pytest.mark.parametrize("obeyed", [False, True])
def test_the_environment_proxy_is_used_only_when_asked_for(monkeypatch: pytest.MonkeyPatch, obeyed: bool) -> None:
    with Scripted.run(ok) as proxy, Scripted.run(ok) as server:
        for name in ("http_proxy", "HTTP_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        get(client(server.url, proxy_from_environment=obeyed))
        assert (len(proxy.exchanges), len(server.exchanges)) == ((1, 0) if obeyed else (0, 1))


class _Tunnel(socketserver.StreamRequestHandler):
    """Connects to what a CONNECT names, and passes on what both sides send."""

    def handle(self) -> None:
        head = list(iter(self.rfile.readline, b"\r\n"))
        self.server.heads.append(b"".join(head))  # type: ignore[attr-defined]
        port = int(head[0].split()[1].rpartition(b":")[2])
        with socket.create_connection(("127.0.0.1", port)) as there:
            self.connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            sides = {self.connection: there, there: self.connection}
            while (ready := select.select(list(sides), [], [], 20)[0]) and (data := ready[0].recv(65536)):
                sides[ready[0]].sendall(data)


def test_tls_goes_through_a_tunnel_of_the_environment_proxy(
    authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("prometheus.example").configure_cert(context)
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(ca)
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Tunnel) as proxy, Scripted.run(ok, tls=context) as server:
        proxy.heads = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=proxy.serve_forever)
        thread.start()
        for name in ("https_proxy", "HTTPS_PROXY"):
            monkeypatch.setenv(name, f"http://user:{CANARY}@127.0.0.1:{proxy.server_address[1]}")
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        url = f"https://prometheus.example:{server.port}/prefix"
        one = client(url, proxy_from_environment=True, tls_config={"ca_file": ca})
        assert [get(one, "/a b") for _ in range(2)] == [b"ok", b"ok"]
        one.close()
        proxy.shutdown()
        thread.join()
        assert [e.path for e in server.exchanges] == ["/prefix/a%20b?a=b+c"] * 2
        (head,) = proxy.heads  # type: ignore[attr-defined]
        assert b"Proxy-Authorization: Basic " + base64.b64encode(f"user:{CANARY}".encode()) in head


def redirect(status: int, target: str, final: str = "/final"):
    def script(exchange: Exchange) -> None:
        body = b"x" * 100_000
        exchange.send(
            answer(b"ok")
            if exchange.path.startswith(final)
            else answer(body, status=f"{status} Moved", Location=target)
        )

    return script


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_an_error_that_names_its_target_unless_it_is_to_be_followed(status: int) -> None:
    with Scripted.run(redirect(status, f"/final?session={CANARY}")) as server:
        error = failure(client(server.url))
        assert error.reason is Reason.REDIRECT
        assert f"HTTP {status} redirects to http://127.0.0.1:{server.port}" in error.message
        assert get(client(server.url, follow_redirects=True)) == b"ok"


def test_secrets_follow_a_redirect_to_the_same_origin_only() -> None:
    with Scripted.run(ok) as other:
        for target in (
            f"http://127.0.0.1:{other.port}/final",
            f"http://localhost:{other.port}/final",
            f"https://127.0.0.1:{other.port}/final",
            f"//u:p@127.0.0.1:{other.port}/final",
            "ftp://127.0.0.1/final",
            "http://127.0.0.1:99999/",
            "http://[::1/",
        ):
            with Scripted.run(redirect(302, target)) as server:
                one = client(server.url, follow_redirects=True, headers={"X-Token": CANARY})
                assert failure(one).reason is Reason.REDIRECT
        assert other.accepted == 0


def test_redirects_end_after_five() -> None:
    with Scripted.run(redirect(302, "/again")) as server:
        error = failure(client(server.url, follow_redirects=True))
        assert (error.reason, error.message) == (Reason.REDIRECT, "more than 5 redirects")
        assert len(server.exchanges) == 6


@pytest.mark.parametrize(("status", "followed"), [(302, False), (303, False), (307, True), (308, True)])
def test_a_form_is_sent_again_only_where_its_body_is_kept(status: int, followed: bool) -> None:
    with Scripted.run(redirect(status, "/final")) as server:
        one = client(server.url, follow_redirects=True)
        if followed:
            assert one.post_form("/q", {"query": "up"}, timeout=20, max_bytes=100).body == b"ok"
            assert server.exchanges[1].body == b"query=up"
        else:
            with pytest.raises(PrometheusError, match="lose the request's body"):
                one.post_form("/q", {"query": "up"}, timeout=20, max_bytes=100)
        with pytest.raises(PrometheusError, match="not followed"):
            one.post_json("/q", b"[]", timeout=20, max_bytes=100)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def served(authority: trustme.CA, *names: str, clients: trustme.CA | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    if clients is not None:
        clients.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def test_a_certificate_is_checked_against_the_ca_file_and_the_name(authority: trustme.CA, tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(ca)
    with Scripted.run(ok, tls=served(authority, "prometheus.test")) as server:
        named = {"ca_file": ca, "server_name": "prometheus.test"}
        assert get(client(server.url, tls_config=named)) == b"ok"
        assert get(client(server.url, tls_config={"insecure_skip_verify": True})) == b"ok"
        mismatch = failure(client(server.url, tls_config={"ca_file": ca}))
        assert (mismatch.reason, "IP address mismatch" in mismatch.message) == (Reason.TLS, True)
        unknown = failure(client(server.url, tls_config={"server_name": "prometheus.test"}))
        assert (unknown.reason, "unable to get local issuer certificate" in unknown.message) == (Reason.TLS, True)


def test_only_the_ca_file_is_trusted_and_a_new_one_is_used_at_the_next_request(
    authority: trustme.CA, tmp_path: Path
) -> None:
    ca = tmp_path / "ca.pem"
    with Scripted.run(ok, tls=served(authority, "127.0.0.1")) as server:
        one = client(server.url, tls_config={"ca_file": ca})
        assert failure(one).reason is Reason.CREDENTIALS
        ca.write_text("not a certificate")
        assert failure(one).reason is Reason.CREDENTIALS
        trustme.CA().cert_pem.write_to_path(ca)
        assert failure(one).reason is Reason.TLS
        authority.cert_pem.write_to_path(ca)
        assert [get(one), get(one)] == [b"ok", b"ok"]
        # The connection that was opened under the old trust is not used again.
        trustme.CA().cert_pem.write_to_path(ca)
        assert failure(one).reason is Reason.TLS


def test_a_client_certificate_is_shown_and_rotated(authority: trustme.CA, tmp_path: Path) -> None:
    ca, cert, key = tmp_path / "ca.pem", tmp_path / "cert.pem", tmp_path / "key.pem"
    authority.cert_pem.write_to_path(ca)
    clients = trustme.CA()

    def issue(by: trustme.CA) -> None:
        issued = by.issue_cert("client.test")
        issued.cert_chain_pems[0].write_to_path(cert)
        issued.private_key_pem.write_to_path(key)

    with Scripted.run(ok, tls=served(authority, "127.0.0.1", clients=clients)) as server:
        assert failure(client(server.url, tls_config={"ca_file": ca})).reason in (Reason.TLS, Reason.CONNECTION)
        one = client(server.url, tls_config={"ca_file": ca, "cert_file": cert, "key_file": key})
        issue(trustme.CA())
        assert failure(one).reason in (Reason.TLS, Reason.CONNECTION)
        issue(clients)
        assert get(one) == b"ok"
        # Half of a rotation: the key does not belong to the certificate yet.
        clients.issue_cert("client.test").private_key_pem.write_to_path(key)
        assert failure(one).reason is Reason.CREDENTIALS


def test_http_where_https_is_meant_and_the_reverse(authority: trustme.CA) -> None:
    with Target() as target:
        plain = failure(client(f"https://{target.address}"))
        assert (plain.reason, "does not speak TLS at this port" in plain.message) == (Reason.TLS, True)
    with Scripted.run(ok, tls=served(authority, "127.0.0.1")) as server:
        assert failure(client(server.url.replace("https:", "http:"))).reason in (Reason.CONNECTION, Reason.MALFORMED)


def exceptions(module: object) -> list[type[Exception]]:
    found = [one for one in vars(module).values() if isinstance(one, type) and issubclass(one, Exception)]
    return [one for one in found if one.__module__ == module.__name__ and not issubclass(one, Warning)]


@pytest.mark.parametrize("kind", exceptions(requests.exceptions) + exceptions(urllib3.exceptions), ids=str)
def test_every_exception_of_the_libraries_has_a_reason_and_none_of_its_text_is_shown(kind: type[Exception]) -> None:
    error = kind.__new__(kind)
    error.args = (CANARY,)
    fault = classify(error)
    assert fault.reason in Reason
    assert CANARY not in fault.message


@pytest.mark.parametrize(
    "headers", [{"X-Tenant": "a\r\nX-Other: b"}, {"X-Tenant": "a\0"}, {"X Tenant": "a"}, {"": "a"}]
)
def test_headers_that_would_be_others_are_refused_where_they_are_configured(headers: dict[str, str]) -> None:
    with pytest.raises(ValidationError) as refused:
        HttpSettings.model_validate({"url": "http://h", "headers": headers})
    assert CANARY not in str(refused.value)
    assert f"{next(iter(headers))!r}" in str(refused.value)
    # A line break at the end is that of a file.
    assert HttpSettings.model_validate({"url": "http://h", "headers": {"X-Tenant": "a\n"}}).headers


def test_a_pipe_in_the_place_of_a_secret_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for options in (
        {"basic_auth": {"username": "u", "password_file": pipe}},
        {"authorization": {"credentials_file": pipe}},
        {"tls_config": {"ca_file": pipe}},
    ):
        error = failure(client("https://127.0.0.1:1", **options))
        assert error.reason is Reason.CREDENTIALS
        assert error.message.endswith(f"{pipe} is not a regular file")
