"""TLS, client certificates and passwords: who gets in, and that nobody keeps others out."""

from __future__ import annotations

import asyncio
import ssl
import threading
import time

import bcrypt
import pytest
import requests
import trustme

from exporter.web import Limits, WebConfigFile

HASH = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
CLOSE = b"GET /-/healthy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
PATHS = ["/", "/metrics", "/-/healthy", "/-/ready", "/-/reload", "/api/v1/status/config", "/nothing"]

TLS = "tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n"
MTLS = TLS + "  client_ca_file: ca.pem\n  client_auth_type: RequireAndVerifyClientCert\n"


@pytest.fixture(scope="session")
def authority():
    return trustme.CA()


@pytest.fixture
def web_config(tmp_path, authority):
    """``web_config(text)`` writes the file and follows it."""
    server = authority.issue_cert("localhost", "127.0.0.1")
    server.private_key_pem.write_to_path(tmp_path / "key.pem")
    server.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")

    def make(text):
        (tmp_path / "web.yml").write_text(text)
        return WebConfigFile(tmp_path / "web.yml")

    return make


@pytest.fixture
def client(authority):
    """``client(cert=..., maximum=...)`` makes the context of a client that trusts the server."""

    def make(cert=None, maximum=None, trust=authority):
        context = ssl.create_default_context()
        trust.configure_trust(context)
        if cert is not None:
            cert.configure_cert(context)
        if maximum is not None:
            context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
            context.maximum_version = maximum
            context.set_ciphers("ALL:@SECLEVEL=0")
        return context

    return make


def wait_until(condition):
    give_up = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.01)


def gets_in(served, context):
    """Whether a request is answered; with TLS 1.3 a refusal only comes after the handshake."""
    try:
        said = served.say(CLOSE, context)
    except (ssl.SSLError, ConnectionError):
        return False
    assert said == b"" or said.startswith(b"HTTP/1.1 200 OK\r\n")
    return said != b""


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")
@pytest.mark.parametrize(
    ("minimum", "offered", "accepted"),
    [
        ("TLS12", ssl.TLSVersion.TLSv1, False),
        ("TLS12", ssl.TLSVersion.TLSv1_1, False),
        ("TLS12", ssl.TLSVersion.TLSv1_2, True),
        ("TLS12", ssl.TLSVersion.TLSv1_3, True),
        ("TLS13", ssl.TLSVersion.TLSv1_2, False),
        ("TLS13", ssl.TLSVersion.TLSv1_3, True),
        # Where somebody asks for it.
        ("TLS11", ssl.TLSVersion.TLSv1, False),
        ("TLS11", ssl.TLSVersion.TLSv1_1, True),
        ("TLS10", ssl.TLSVersion.TLSv1, True),
    ],
)
def test_old_versions_are_refused(serve, web_config, client, minimum, offered, accepted):
    served = serve(web_config=web_config(TLS + f"  min_version: {minimum}\n"))
    assert gets_in(served, client(maximum=offered)) is accepted


@pytest.mark.parametrize("cipher", ["AES128-SHA", "ECDHE-RSA-AES128-SHA", "NULL-SHA256"])
def test_weak_ciphers_are_refused(serve, web_config, client, cipher):
    served = serve(web_config=web_config(TLS))
    context = client(maximum=ssl.TLSVersion.TLSv1_2)
    try:
        context.set_ciphers(cipher + ":@SECLEVEL=0")
    except ssl.SSLError:
        pytest.skip(f"this OpenSSL does not have {cipher}")
    assert not gets_in(served, context)


@pytest.mark.parametrize(
    ("kind", "names", "who", "accepted"),
    [
        ("RequireAndVerifyClientCert", "[]", None, False),
        ("RequireAndVerifyClientCert", "[]", "ours", True),
        ("RequireAndVerifyClientCert", "[]", "foreign", False),
        ("RequireAndVerifyClientCert", "[prometheus]", "ours", True),
        ("RequireAndVerifyClientCert", "[other, another]", "ours", False),
        ("RequireAndVerifyClientCert", "[prometheus]", "foreign", False),
        ("VerifyClientCertIfGiven", "[]", None, True),
        ("VerifyClientCertIfGiven", "[]", "ours", True),
        ("VerifyClientCertIfGiven", "[]", "foreign", False),
    ],
)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda v: v.name)
def test_clients_show_a_certificate(serve, web_config, client, authority, kind, names, who, accepted, version):
    text = TLS + f"  client_ca_file: ca.pem\n  client_auth_type: {kind}\n  client_allowed_sans: {names}\n"
    served = serve(web_config=web_config(text))
    certificate = {"ours": authority, "foreign": trustme.CA()}[who].issue_cert("prometheus") if who else None
    assert gets_in(served, client(certificate, maximum=version)) is accepted
    wait_until(lambda: served.server.connections == 0)


def test_many_answers_over_one_tls_connection(serve, web_config, client):
    served = serve(web_config=web_config(TLS), limits=Limits(write=10.0))
    ask = CLOSE.replace(b"Connection: close\r\n", b"").replace(b"/-/healthy", b"/metrics")
    with served.connect(client()) as connection:
        wait_until(lambda: any(ours.connected for ours in served.server._open))
        [ours] = served.server._open
        assert not ours.writing_paused
        for _ in range(20):
            connection.sendall(ask)
            answer = b""
            while not answer.endswith(b"\n") or b"anomaly_exporter_state_restore_age_seconds 0.0" not in answer:
                piece = connection.recv(65536)
                assert piece
                answer += piece
            # asyncio takes the empty buffer of a TLS connection for a full one if none is allowed.
            wait_until(lambda: not ours.busy)
            assert not ours.writing_paused
            assert ours._stall is None


@pytest.mark.parametrize("request_line", [b"GET /", b"POST /-/reload"])
def test_plain_http_to_a_tls_port_is_told_so_and_the_other_way_round(serve, web_config, client, request_line):
    served = serve(web_config=web_config(TLS))
    said = served.say(CLOSE.replace(b"GET /-/healthy", request_line))
    assert said.startswith(b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.")
    assert gets_in(served, client())
    assert not gets_in(serve(limits=Limits(linger=0.2)), client())


def test_silent_and_noisy_clients_do_not_keep_a_tls_scrape_waiting(serve, web_config, client):
    served = serve(web_config=web_config(TLS), limits=Limits(handshake=3.0, request=1.0, linger=0.2))
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"

    async def bad(say):
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(say)
        try:
            while await reader.read(65536):
                pass
        except ConnectionError:
            pass
        writer.transport.abort()

    async def slow_inside():
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", served.port, ssl=client(), server_hostname="localhost"
        )
        writer.write(b"GET / HTTP/1.1\r\n")
        said = await reader.read()
        writer.transport.abort()
        return said

    async def storm():
        clients = [bad(say) for say in (b"", hello, b"\0" * 100) for _ in range(33)] + [slow_inside() for _ in range(5)]
        waiting = asyncio.gather(*clients)
        good = 0
        while not waiting.done():
            assert await asyncio.to_thread(gets_in, served, client())
            good += 1
        return good, [said for said in await waiting if said]

    good, said = asyncio.run(asyncio.wait_for(storm(), 30))
    assert good > 2
    assert len(said) == 5
    assert all(text.startswith(b"HTTP/1.1 408 ") for text in said)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("auth", "accepted"),
    [
        (None, False),
        (("alice", "secret"), True),
        (("alice", "wrong"), False),
        (("mallory", "secret"), False),
        (("alice", "x" * 100), False),
        (("alice", "secret\0"), False),
        (("", ""), False),
    ],
    ids=["nobody", "right", "wrong password", "unknown user", "too long", "NUL", "empty"],
)
def test_every_path_asks_for_the_password(serve, web_config, path, auth, accepted):
    served = serve(web_config=web_config(f"basic_auth_users: {{alice: {HASH}}}\n"))
    method = "POST" if path == "/-/reload" else "GET"
    answer = requests.request(method, served.url + path, auth=auth, timeout=10)
    if accepted:
        assert answer.status_code == (404 if path == "/nothing" else 200)
    else:
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Basic ")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert served.program.reloads == 0


def test_passwords_within_tls(serve, web_config, authority, tmp_path):
    served = serve(web_config=web_config(MTLS + f"basic_auth_users: {{alice: {HASH}}}\n"))
    certificate = authority.issue_cert("prometheus")
    pair = tmp_path / "client.pem"
    pair.write_bytes(certificate.private_key_and_cert_chain_pem.bytes())
    with requests.Session() as session:
        # The environment of whoever runs the tests has no say.
        session.trust_env = False
        session.verify = str(tmp_path / "ca.pem")
        session.cert = str(pair)
        url = f"https://localhost:{served.port}/metrics"
        assert session.get(url, auth=("alice", "secret"), timeout=10).status_code == 200
        assert session.get(url, timeout=10).status_code == 401


def test_a_new_password_counts_from_the_next_request_on_an_open_connection(serve, web_config, tmp_path):
    served = serve(web_config=web_config(f"basic_auth_users: {{alice: {HASH}}}\n"))
    with requests.Session() as session:
        session.auth = ("alice", "secret")
        assert session.get(served.url + "/metrics", timeout=10).status_code == 200
        other = bcrypt.hashpw(b"changed", bcrypt.gensalt(5)).decode()
        (tmp_path / "web.yml").write_text(f"basic_auth_users: {{alice: {other}}}\n# a comment\n")
        assert session.get(served.url + "/metrics", timeout=10).status_code == 401
        session.auth = ("alice", "changed")
        assert session.get(served.url + "/metrics", timeout=10).status_code == 200


def test_configured_headers_replace_the_usual_ones(serve, web_config):
    headers = "{X-Frame-Options: sameorigin, Strict-Transport-Security: max-age=1, X-Content-Type-Options: ''}"
    text = f"http_server_config: {{headers: {headers}}}"
    answer = requests.get(serve(web_config=web_config(text)).url + "/nothing", timeout=10)
    assert answer.headers["X-Frame-Options"] == "sameorigin"
    assert answer.headers["Strict-Transport-Security"] == "max-age=1"
    assert "X-Content-Type-Options" not in answer.headers
    assert "Content-Security-Policy" in answer.headers


def test_a_flood_of_bad_logins_keeps_no_one_waiting_who_is_known(serve, web_config):
    slow = bcrypt.hashpw(b"secret", bcrypt.gensalt(10)).decode()
    served = serve(web_config=web_config(f"basic_auth_users: {{alice: '{slow}'}}\n"))
    right = ("alice", "secret")
    assert requests.get(served.url + "/metrics", auth=right, timeout=10).status_code == 200
    stop = threading.Event()
    refused: list[int] = []

    def attack(number):
        tries = 0
        while not stop.is_set():
            tries += 1
            answer = requests.get(served.url + "/metrics", auth=("alice", f"{number} {tries}"), timeout=60)
            refused.append(answer.status_code)

    attackers = [threading.Thread(target=attack, args=(number,)) for number in range(24)]
    for attacker in attackers:
        attacker.start()
    try:
        statuses = [requests.get(served.url + "/metrics", auth=right, timeout=60).status_code for _ in range(20)]
    finally:
        stop.set()
        for attacker in attackers:
            attacker.join()
    assert set(statuses) == {200}
    assert set(refused) <= {401, 429}
    assert 429 in refused


def inline(name, text):
    lines = "".join(f"    {line}\n" for line in text.splitlines())
    return f"  {name}: |\n{lines}"


def test_certificates_may_stand_in_the_file(serve, web_config, client, authority, tmp_path):
    web_config("")
    text = "tls_server_config:\n" + "".join(
        inline(name, (tmp_path / f"{file}.pem").read_text())
        for name, file in (("cert", "cert"), ("key", "key"), ("client_ca", "ca"))
    )
    served = serve(web_config=web_config(text + "  client_auth_type: RequireAndVerifyClientCert\n"))
    assert gets_in(served, client(cert=authority.issue_cert("prometheus")))
    assert not gets_in(served, client())


@pytest.mark.parametrize("suites", [["TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"], ["TLS_AES_128_GCM_SHA256"]])
def test_cipher_suites_are_those_that_are_listed(serve, web_config, client, suites):
    served = serve(web_config=web_config(TLS + f"  cipher_suites: {suites}\n"))
    for cipher, suite in (("ECDHE-ECDSA-AES256-GCM-SHA384", 0), ("ECDHE-ECDSA-AES128-GCM-SHA256", 1)):
        context = client(maximum=ssl.TLSVersion.TLSv1_2)
        context.set_ciphers(cipher)
        assert gets_in(served, context) is (suite == 0 and "ECDHE" in suites[0])
    assert gets_in(served, client(maximum=ssl.TLSVersion.TLSv1_3))


def test_the_curve_is_the_first_that_is_preferred(serve, web_config, client):
    served = serve(web_config=web_config(TLS + "  curve_preferences: [CurveP384, X25519]\n"))
    for curve, accepted in (("secp384r1", True), ("prime256v1", False)):
        context = client(maximum=ssl.TLSVersion.TLSv1_3)
        context.set_ecdh_curve(curve)
        assert gets_in(served, context) is accepted


def test_a_certificate_is_only_requested_and_not_required(serve, web_config, client, authority):
    served = serve(web_config=web_config(TLS + "  client_auth_type: RequestClientCert\n"))
    assert gets_in(served, client())
    assert gets_in(served, client(cert=trustme.CA().issue_cert("somebody")))


def test_addresses_of_certificates_are_compared_as_such(serve, web_config, client, authority):
    names = "  client_ca_file: ca.pem\n  client_auth_type: RequireAndVerifyClientCert\n  client_allowed_sans: ['::1']\n"
    served = serve(web_config=web_config(TLS + names))
    assert gets_in(served, client(cert=authority.issue_cert("::1")))
    assert not gets_in(served, client(cert=authority.issue_cert("::2")))


def test_more_requests_than_allowed_are_told_to_come_later(serve, web_config):
    served = serve(web_config=web_config("rate_limit: {interval: 1h, burst: 3}\n"))
    statuses = [requests.get(served.url + "/-/healthy", timeout=60).status_code for _ in range(5)]
    assert statuses == [200, 200, 200, 429, 429]
