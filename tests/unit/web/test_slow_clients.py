"""Clients that keep us waiting, and clients that want too much, on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import re
import socket
import ssl
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporter.exposition.families import FAMILIES
from exporter.web import Limits
from tests.unit.web.conftest import read_all

SHORT = Limits(request=0.6, write=0.6, handshake=0.5, idle=0.9, linger=0.2)
GET = b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n"
CLOSE = b"GET /-/healthy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
START = b"POST /-/reload HTTP/1.1\r\nHost: x\r\n"
POST = START + b"Content-Length: 1000\r\n\r\n"

# What a slow client says at once, and what it then says a byte at a time for ever.
SLOW = {
    "silent": (b"", b""),
    "half a header": (b"GET /metrics HTTP/1.1\r\nHost: x\r\n", b""),
    "a dripping header": (b"GET /metrics HTTP/1.1\r\nX: ", b"a"),
    "a dripping first line": (b"GET /", b"a"),
    "no body": (POST, b""),
    "a dripping body": (POST, b"a"),
    "a chunk without end": (POST.replace(b"Content-Length: 1000", b"Transfer-Encoding: chunked") + b"fff\r\n", b"a"),
    "silence after an answer": (GET, b""),
    "a dripping second header": (GET + b"GET / HTTP/1.1\r\nX: ", b"a"),
}


async def until_closed(port, start, drip, tls=None):
    """Play a slow client; returns what the server said before it closed."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=tls, server_hostname="localhost" if tls else None
    )
    said = b""

    async def dripping():
        while drip:
            writer.write(drip)
            await asyncio.sleep(0.05)

    dripper = asyncio.create_task(dripping())
    try:
        writer.write(start)
        while piece := await reader.read(65536):
            said += piece
    except (ConnectionError, ssl.SSLError):
        pass
    finally:
        dripper.cancel()
        writer.transport.abort()
    return said


@pytest.mark.parametrize("kind", SLOW)
def test_a_slow_client_is_closed(serve, kind):
    served = serve(limits=SHORT)
    said = asyncio.run(asyncio.wait_for(until_closed(served.port, *SLOW[kind]), 10))
    assert b"aiohttp" not in said
    if kind == "silent":
        assert said == b""
    elif not kind.startswith("silence"):
        assert b"HTTP/1.1 408 Request Timeout\r\n" in said
    assert served.program.reloads == 0


def test_three_hundred_slow_clients_do_not_keep_a_scrape_waiting(serve):
    served = serve(limits=Limits(request=2.0, idle=2.0, linger=0.2))

    async def storm():
        kinds = list(SLOW.values())
        clients = [asyncio.create_task(until_closed(served.port, *kinds[i % len(kinds)])) for i in range(300)]
        statuses = []
        with requests.Session() as session:
            while not all(client.done() for client in clients):
                answer = await asyncio.to_thread(session.get, served.url + "/metrics", timeout=10)
                statuses.append(answer.status_code)
                await asyncio.sleep(0.02)
        await asyncio.gather(*clients)
        return statuses

    statuses = asyncio.run(asyncio.wait_for(storm(), 30))
    assert len(statuses) > 5
    assert set(statuses) == {200}


def test_a_flood_is_capped_and_a_scrape_gets_through(serve):
    served = serve(limits=Limits(connections=8))
    idle = [served.connect() for _ in range(40)]
    try:
        assert requests.get(served.url + "/metrics", timeout=10).status_code == 200
        assert served.server.connections <= 8
        assert served.server.refused >= 32
    finally:
        for client in idle:
            client.close()
    assert requests.get(served.url + "/metrics", timeout=10).status_code == 200


def test_who_is_being_answered_does_not_make_room(serve):
    served = serve(limits=Limits(connections=1))
    begun, go_on = threading.Event(), threading.Event()

    def wait():
        begun.set()
        assert go_on.wait(20)

    served.program.while_reloading = wait
    with served.connect() as first:
        first.sendall(START + b"Connection: close\r\n\r\n")
        assert begun.wait(10)
        assert served.say(CLOSE) == b"", "refused"
        go_on.set()
        answer = b""
        while piece := first.recv(65536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")


def large_page(served):
    """Publish more than socket buffers hold, in a form that does not compress away."""
    values = np.random.default_rng(1).random(60_000)
    prefixes = [b'i="%d"' % i for i in range(len(values))]
    served.exposition.publish("cpu", prefixes, dict.fromkeys(list(FAMILIES)[:6], values))


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_a_client_that_stops_reading_is_cut_off_and_the_others_are_served(serve, encoding):
    served = serve(limits=SHORT)
    large_page(served)
    stalled = socket.socket()
    stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stalled.connect(("127.0.0.1", served.port))
    with stalled:
        stalled.sendall(f"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept-Encoding: {encoding}\r\n\r\n".encode())
        give_up = time.monotonic() + 20
        assert served.say(CLOSE).startswith(b"HTTP/1.1 200")
        while served.server.connections and time.monotonic() < give_up:
            time.sleep(0.02)
        assert served.server.connections == 0
    whole = requests.get(served.url + "/metrics", headers={"Accept-Encoding": encoding}, timeout=20)
    assert whole.text.count("\nanomaly_score{") == 60_000


def test_a_client_that_never_reads_many_small_answers_is_cut_off(serve):
    served = serve(limits=SHORT)
    greedy = socket.socket()
    greedy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    greedy.connect(("127.0.0.1", served.port))
    greedy.settimeout(10)

    def send_for_ever():
        while True:
            greedy.sendall(GET * 100)

    with greedy, pytest.raises(ConnectionError):
        send_for_ever()


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        pytest.param(b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, id="a long URL"),
        pytest.param(b"GET /" + b"a" * 9000, 414, id="a long URL that does not end"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 17000 + b"\r\n\r\n", 431, id="a long field"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: aaaaaaaaaa\r\n" * 1500 + b"\r\n", 431, id="many fields"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 200_000, 431, id="a header that does not end"),
        pytest.param(START + b"Content-Length: 65537\r\n\r\n", 413, id="a body announced"),
        pytest.param(START + b"Content-Length: 99999999999\r\n\r\n", 413, id="a huge body"),
        pytest.param(
            START + b"Transfer-Encoding: chunked\r\n\r\n" + (b"8000\r\n" + b"a" * 0x8000 + b"\r\n") * 3,
            413,
            id="chunks without end",
        ),
    ],
)
def test_what_is_too_large_is_refused(serve, request_, status):
    served = serve(limits=Limits(linger=0.2))
    said = served.say(request_)
    assert said.startswith(b"HTTP/1.1 %d " % status)
    assert served.program.reloads == 0


def test_what_is_just_small_enough_is_served(serve):
    served = serve()
    url = b"/" + b"a" * 8000
    header = b"GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX: %s\r\n\r\n" % (url, b"b" * 8000)
    assert served.say(header).startswith(b"HTTP/1.1 404 ")
    body = START + b"Connection: close\r\nContent-Length: 65536\r\n\r\n" + b"a" * 65536
    assert served.say(body).startswith(b"HTTP/1.1 200 ")


def test_a_bomb_in_a_body_is_not_opened(serve):
    served = serve()
    bomb = gzip.compress(b"\0" * 10_000_000)
    head = START + b"Connection: close\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
    assert served.say(head % len(bomb) + bomb).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(START + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", id="two lengths"),
        pytest.param(START + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde", id="two sizes"),
        pytest.param(b"GET /metrics HTTP/1.1\nHost: x\n\n", id="bare line feeds"),
        pytest.param(b"GET /metrics HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n", id="a folded line"),
        pytest.param(b"GET /metrics HTTP/1.1\r\nHost : x\r\n\r\n", id="a space before the colon"),
        pytest.param(START + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", id="chunked is not last"),
        pytest.param(START + b"Content-Length: +4\r\n\r\nabcd", id="a signed size"),
        pytest.param(START + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n", id="a chunk of no size"),
        pytest.param(b"GET /metrics HTTP/9.9.9\r\n\r\n", id="no such version"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", id="TLS to a plain port"),
        pytest.param(b"\0" * 64, id="zeros"),
        pytest.param(b"GET /metr\0ics HTTP/1.1\r\nHost: x\r\n\r\n", id="NUL in the path"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n", id="NUL in a field"),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused_and_closed(serve, request_):
    served = serve(limits=SHORT)
    said = served.say(request_)
    assert re.match(rb"HTTP/1\.[01] 4", said), said
    assert len(re.findall(rb"HTTP/1\.[01] ", said)) == 1
    assert b"aiohttp" not in said
    assert served.program.reloads == 0


def test_requests_may_be_sent_ahead(serve):
    served = serve(limits=SHORT)
    assert served.say(GET + GET + CLOSE).count(b"HTTP/1.1 200 OK") == 3


def test_a_connection_is_kept_for_the_next_scrape(serve):
    served = serve()
    with served.connect() as client:
        for _ in range(3):
            client.sendall(GET)
            assert client.recv(65536).startswith(b"HTTP/1.1 200")
        assert served.server.connections == 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.sampled_from(
                [GET, POST, START, b"\r\n", b"Connection: upgrade\r\n", b"Expect: 100-continue\r\n", b"CONNECT "]
            ),
        ),
        max_size=6,
    )
)
def test_no_bytes_end_the_server_or_trouble_the_log(serve_once, caplog, pieces):
    served = serve_once
    with served.connect() as client:
        with contextlib.suppress(ConnectionError):
            client.sendall(b"".join(pieces))
            client.shutdown(socket.SHUT_WR)
        read_all(client)
    assert served.say(CLOSE).startswith(b"HTTP/1.1 200 OK\r\n")
    assert not [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")]


@pytest.fixture
def serve_once(serve):
    return serve(limits=SHORT)


FEW_DESCRIPTORS = """
import resource, sys
from exporter.exposition import Exposition
from exporter.web import Site, WebServer, build_app
from prometheus_client import CollectorRegistry

site = Site(Exposition(CollectorRegistry()).scrape, lambda: None, str, {}, dict)
server = WebServer(build_app(site), "127.0.0.1:0")
port = server.start()
resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
print(port, flush=True)
sys.stdin.read()
server.stop()
"""


def test_a_server_that_runs_out_of_descriptors_serves_on():
    with subprocess.Popen(
        [sys.executable, "-c", FEW_DESCRIPTORS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as program:
        try:
            port = int(program.stdout.readline())
            idle = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(60)]
            with contextlib.ExitStack() as stack:
                for client in idle:
                    stack.enter_context(client)
                for _ in range(3):
                    assert requests.get(f"http://127.0.0.1:{port}/metrics", timeout=30).status_code == 200
            assert requests.get(f"http://127.0.0.1:{port}/metrics", timeout=30).status_code == 200
            program.stdin.close()
            assert program.wait(20) == 0
        finally:
            program.kill()
