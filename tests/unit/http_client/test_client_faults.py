"""What the client makes of servers that misbehave."""

from __future__ import annotations

import contextlib
import gzip
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from exporter.errors import PrometheusError, Reason
from exporter.http_client.client import Client
from exporter.http_client.settings import HttpSettings
from tests.integration.process import eventually, free_port
from tests.integration.scripted import Exchange, Scripted, answer

BODY = b'{"status":"success"}'
BOMB = gzip.compress(bytes(50_000_000))
TWO_GZIPS = gzip.compress(BODY[:9]) + gzip.compress(BODY[9:])
LARGE_CHUNK = b"186a1\r\n" + bytes(100_001) + b"\r\n0\r\n\r\n"
# Far below the 300 s of a test, far above what a busy machine needs for a local answer.
SHORT = 0.4


def client(url: str, **options: object) -> Client:
    return Client(HttpSettings(url=url, **options), user_agent="test/1", pool=2, error=PrometheusError)


def ask(url: str, *, timeout: float = 20.0, max_bytes: int = 100_000, **options: object) -> PrometheusError:
    with pytest.raises(PrometheusError) as caught:
        client(url, **options).get("/path", timeout=timeout, max_bytes=max_bytes)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return caught.value


def then_close(data: bytes) -> Callable[[Exchange], None]:
    def script(exchange: Exchange) -> None:
        exchange.send(data)
        exchange.close()

    return script


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
UNSTATED = b"HTTP/1.1 200 OK\r\n\r\n"


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(lambda e: e.hang(), id="black hole"),
        pytest.param(lambda e: e.drip(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 10000), id="dripped headers"),
        pytest.param(lambda e: e.drip(b"HTTP/1.1 100 Continue\r\n\r\n" * 10000), id="endless interim answers"),
        pytest.param(lambda e: (e.send(HEAD), e.drip(b" " * 10000)), id="dripped body"),
        pytest.param(lambda e: (e.send(UNSTATED), e.drip(b" " * 10000)), id="dripped body until close"),
        pytest.param(lambda e: (e.send(CHUNKED), e.drip(b"1\r\nx\r\n" * 10000)), id="dripped chunks"),
        pytest.param(lambda e: (e.send(HEAD + b"abc"), e.hang()), id="half a body, then silence"),
        pytest.param(lambda e: e.drip(answer(status="302 Found", Location=e.path + "x")), id="each redirect dripped"),
    ],
)
def test_the_deadline_is_for_the_whole_answer(script: Callable[[Exchange], None]) -> None:
    with Scripted.run(script) as server:
        started = time.monotonic()
        error = ask(server.url, timeout=SHORT, follow_redirects=True)
        assert error.reason is Reason.TIMEOUT
        assert time.monotonic() - started < 10


@pytest.mark.parametrize("failure", [ConnectionResetError, BrokenPipeError, ConnectionAbortedError])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_connection_that_is_reset_before_it_is_there(
    failure: type[OSError], scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that hangs up at once wins this race now and then; here it always does."""

    def reset(self: socket.socket, address: object) -> None:
        raise failure(failure.__name__)

    monkeypatch.setattr(socket.socket, "connect", reset)
    assert ask(f"{scheme}://127.0.0.1:9").reason is Reason.CONNECTION


def test_the_deadline_covers_a_tls_handshake_that_stalls() -> None:
    with Scripted.run(lambda e: None, silent=True) as server:
        assert ask(server.url.replace("http:", "https:"), timeout=SHORT).reason is Reason.TIMEOUT


def test_the_deadline_covers_a_connection_that_is_never_accepted() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        try:
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", port))
            assert ask(f"http://127.0.0.1:{port}", timeout=SHORT).reason is Reason.TIMEOUT
        finally:
            for filler in fillers:
                filler.close()


def test_the_deadline_covers_a_name_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    def never(*_: object) -> list[object]:
        over.wait()
        return []

    # There is no way to have a silent name server here without being root.
    monkeypatch.setattr(socket, "getaddrinfo", never)
    try:
        assert ask("http://somewhere.invalid", timeout=SHORT).reason is Reason.TIMEOUT
    finally:
        over.set()


def test_no_time_at_all_is_a_timeout() -> None:
    assert ask("http://127.0.0.1:1", timeout=0.0).reason is Reason.TIMEOUT


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(b"", Reason.CONNECTION, id="closed without a word"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Le", Reason.CONNECTION, id="headers cut"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", Reason.MALFORMED, id="another protocol"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70000, Reason.MALFORMED, id="header without end"),
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n", Reason.MALFORMED, id="too many headers"),
        pytest.param(HEAD.replace(b"100000", b"50") + BODY, Reason.CONNECTION, id="shorter than stated"),
        pytest.param(CHUNKED + b"14\r\n" + BODY, Reason.CONNECTION, id="chunks without end"),
        pytest.param(CHUNKED + b"14\r\n" + BODY[:9], Reason.CONNECTION, id="chunk cut"),
        pytest.param(CHUNKED + b"zz\r\n" + BODY, Reason.CONNECTION, id="bad chunk length"),
        pytest.param(answer(b"\x1f\x8bnot", Content_Encoding="gzip"), Reason.MALFORMED, id="bad gzip"),
        pytest.param(answer(gzip.compress(BODY)[:-9], Content_Encoding="gzip"), Reason.CONNECTION, id="gzip cut"),
        pytest.param(answer(BODY, Content_Encoding="br"), Reason.MALFORMED, id="compression not asked for"),
        pytest.param(answer(bytes(100_001)), Reason.TOO_LARGE, id="stated too large"),
        pytest.param(UNSTATED + bytes(100_001), Reason.TOO_LARGE, id="too large without a length"),
        pytest.param(CHUNKED + LARGE_CHUNK, Reason.TOO_LARGE, id="chunks too large"),
        pytest.param(answer(BOMB, Content_Encoding="gzip"), Reason.TOO_LARGE, id="gzip bomb"),
        pytest.param(
            answer(gzip.compress(b"") * 6000, Content_Encoding="gzip"), Reason.TOO_LARGE, id="gzip of nothing, often"
        ),
    ],
)
def test_half_an_answer_or_too_much_of_one_is_an_error(data: bytes, reason: Reason) -> None:
    with Scripted.run(then_close(data)) as server:
        assert ask(server.url).reason is reason


@pytest.mark.parametrize("cut", range(0, len(answer(BODY)), 3))
def test_an_answer_cut_anywhere_is_never_taken(cut: int) -> None:
    with Scripted.run(then_close(answer(BODY)[:cut])) as server:
        assert ask(server.url).reason in (Reason.CONNECTION, Reason.MALFORMED)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(answer(BODY), id="plain"),
        pytest.param(UNSTATED + BODY, id="until close"),
        pytest.param(CHUNKED + b"14\r\n" + BODY + b"\r\n0\r\n\r\n", id="chunked"),
        pytest.param(answer(gzip.compress(BODY), Content_Encoding="gzip"), id="gzip"),
        pytest.param(
            answer(gzip.compress(BODY[:9]) + gzip.compress(BODY[9:]), Content_Encoding="gzip"), id="two gzips"
        ),
    ],
)
def test_every_way_of_sending_a_body_is_read(data: bytes) -> None:
    with Scripted.run(then_close(data)) as server:
        assert client(server.url).get("/", timeout=20, max_bytes=len(BODY) + 60).body == BODY


def test_a_body_of_exactly_the_limit_is_read() -> None:
    with Scripted.run(then_close(answer(gzip.compress(bytes(5000)), Content_Encoding="gzip"))) as server:
        assert client(server.url).get("/", timeout=20, max_bytes=5000).body == bytes(5000)


def test_refused_and_unresolvable_are_told_apart() -> None:
    assert ask(f"http://127.0.0.1:{free_port()}").reason is Reason.REFUSED
    assert ask("http://nowhere.invalid").reason is Reason.DNS
    assert ask(f"http://{'a' * 64}.invalid").reason is Reason.DNS


def test_an_idle_connection_that_the_server_closed_is_replaced_without_a_word() -> None:
    def script(exchange: Exchange) -> None:
        # The second request arrives on a connection that is closed while it is under way.
        if exchange.number == 1:
            exchange.close()
        else:
            exchange.send(answer(BODY))

    with Scripted.run(script) as server:
        one = client(server.url)
        assert [one.get("/", timeout=20, max_bytes=99).status for _ in range(2)] == [200, 200]
        assert server.accepted == 2
        assert one.post_form("/", {"a": "b"}, timeout=20, max_bytes=99).status == 200
        assert server.accepted == 2


def test_a_post_that_may_change_something_is_never_sent_twice() -> None:
    with Scripted.run(lambda e: e.send(answer(BODY)) if e.number == 0 else e.close()) as server:
        one = client(server.url)
        one.get("/", timeout=20, max_bytes=99)
        with pytest.raises(PrometheusError) as caught:
            one.post_json("/", b"[]", timeout=20, max_bytes=99)
        assert caught.value.reason is Reason.CONNECTION
        assert [e.method for e in server.exchanges] == ["GET", "POST"]


def test_a_call_that_has_ended_is_not_tried_again() -> None:
    before = threading.active_count()
    with Scripted.run(lambda e: e.send(answer(BODY)) if e.number == 0 else e.hang()) as server:
        one = client(server.url)
        one.get("/", timeout=20, max_bytes=99)
        with pytest.raises(PrometheusError) as caught:
            one.get("/", timeout=SHORT, max_bytes=99)
        assert caught.value.reason is Reason.TIMEOUT
        # What is left: the server, and one thread of it for the connection.
        eventually(lambda: threading.active_count() <= before + 2)
        assert server.accepted == 1


def test_a_fresh_connection_that_is_closed_is_not_tried_again() -> None:
    with Scripted.run(lambda e: e.close()) as server:
        assert ask(server.url).reason is Reason.CONNECTION
        assert server.accepted == 1


@pytest.mark.parametrize("silent", [False, True], ids=["waiting for headers", "in the handshake"])
def test_cancel_breaks_off_what_is_under_way(silent: bool) -> None:
    with Scripted.run(lambda e: e.hang(), silent=silent) as server:
        one = client(server.url.replace("http:", "https:") if silent else server.url)
        failures: list[PrometheusError] = []

        def call() -> None:
            try:
                one.get("/", timeout=200, max_bytes=99)
            except PrometheusError as error:
                failures.append(error)

        thread = threading.Thread(target=call)
        thread.start()
        eventually(lambda: server.accepted == 1)
        one.cancel()
        thread.join(20)
        assert [(e.reason, e.message) for e in failures] == [(Reason.CONNECTION, "cancelled")]


def test_a_cancelled_client_can_be_used_again_and_a_closed_one_cannot() -> None:
    with Scripted.run(lambda e: e.send(answer(BODY))) as server:
        one = client(server.url)
        one.cancel()
        assert one.get("/", timeout=20, max_bytes=99).body == BODY
        one.close()
        with pytest.raises(PrometheusError, match="the client is closed"):
            one.get("/", timeout=20, max_bytes=99)


def test_calls_leave_no_thread_and_no_file_behind() -> None:
    def count() -> tuple[int, int]:
        return threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))

    with Scripted.run(lambda e: e.close() if e.number % 3 == 2 else e.send(answer(BODY))) as server:
        before = threading.active_count()
        one = client(server.url)
        fds: list[int] = []
        for _ in range(60):
            with contextlib.suppress(PrometheusError):
                one.get("/", timeout=20, max_bytes=99)
            fds.append(count()[1])
        one.close()
        # Every accepted connection keeps its socket in the fake server, no more than that.
        assert fds[-1] - fds[0] <= server.accepted + 4
        eventually(lambda: threading.active_count() <= before + 1)


def test_calls_share_a_thread_until_one_is_left_behind() -> None:
    def threads() -> set[int | None]:
        return {thread.ident for thread in threading.enumerate() if thread.name == "http call"} - before

    before: set[int | None] = set()
    before = threads()
    with Scripted.run(lambda e: e.hang() if e.number == 20 else e.send(answer(BODY))) as server:
        one = client(server.url)
        seen = set[int | None]()
        for _ in range(20):
            assert one.get("/", timeout=20, max_bytes=99).body == BODY
            seen |= threads()
        assert len(seen) == 1
        with pytest.raises(PrometheusError):
            one.get("/", timeout=SHORT, max_bytes=99)
        eventually(lambda: not threads())
        assert one.get("/", timeout=20, max_bytes=99).body == BODY
        assert len(threads()) == 1
        one.close()
        eventually(lambda: not threads())


def test_an_old_protocol_version_is_refused() -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with Scripted.run(lambda e: e.send(answer(BODY)), tls=context) as server, authority.cert_pem.tempfile() as ca:
        assert client(server.url, tls_config={"ca_file": ca}).get("/", timeout=20, max_bytes=99).body == BODY
        assert ask(server.url, tls_config={"ca_file": ca, "min_version": "TLS13"}).reason is Reason.TLS
