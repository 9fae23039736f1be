"""Servers that play relatives of Prometheus that cannot run here: their limits, errors and marks, with samples of ours.

The shapes are those that the products document; texts and data are made up, because no client may depend on them.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

__all__ = ["Dialect", "Mimir", "Request", "Thanos", "VictoriaMetricsCluster", "value"]

HOUR = 3600.0


@dataclass(frozen=True)
class Request:
    """A query as it was sent."""

    method: str
    path: str
    form: Mapping[str, str]
    headers: Mapping[str, str]

    @property
    def seconds(self) -> float:
        """Length of a range; 0 of an instant query."""
        return float(self.form.get("end", 0.0)) - float(self.form.get("start", 0.0))


Refusal = tuple[int, dict[str, Any] | str]


def value(instance: str, at: float) -> float:
    """Return the sample of a series: it follows from the name and the time."""
    return 100.0 + 20.0 * math.sin(at / 86400.0 * 2 * math.pi) + 3.0 * math.sin(at * 12.9898 + len(instance))


@dataclass
class Dialect:
    """A server of the query API without limits; subclasses add what is particular to a product.

    Attributes
    ----------
    instances : list of str
        Each is a series of ``load``.
    away : set of str
        Instances that the store which is down has.
    requests : list of Request
    """

    prefix: str = ""
    instances: list[str] = field(default_factory=lambda: ["a", "b", "c"])
    away: set[str] = field(default_factory=set)
    requests: list[Request] = field(default_factory=list)
    url: str = ""
    ahead: float = 0.0
    """Seconds by which the clock of the server is ahead, as the date of its answers says."""

    def refusal(self, request: Request) -> Refusal | None:
        """Return the status and body of a request that is refused."""
        return None

    def marks(self, request: Request) -> dict[str, Any]:
        """Return what an answer has beside its data."""
        return {}

    def headers(self, status: int) -> dict[str, str]:
        """Return headers of an answer."""
        return {}

    @contextmanager
    def run(self) -> Iterator[Dialect]:
        """Serve on a free port of loopback."""
        dialect = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def date_time_string(self, timestamp: float | None = None) -> str:
                return super().date_time_string((timestamp or time.time()) + dialect.ahead)

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                form = dict(parse_qsl(parts.query)) | dict(parse_qsl(body))
                request = Request(self.command, parts.path, form, self.headers)
                dialect.requests.append(request)
                status, answer = dialect.refusal(request) or dialect.answer(request)
                data = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
                self.send_response(status)
                self.send_header("Content-Type", "text/plain" if isinstance(answer, str) else "application/json")
                self.send_header("Content-Length", str(len(data)))
                for name, text in dialect.headers(status).items():
                    self.send_header(name, text)
                self.end_headers()
                with suppress(OSError):  # Who asked does not wait any more.
                    self.wfile.write(data)

            do_POST = do_GET  # noqa: N815 - the name that http.server wants.

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        self.url = f"http://127.0.0.1:{server.server_address[1]}{self.prefix}"
        try:
            yield self
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    def answer(self, request: Request) -> Refusal:
        """Return the status and body of a request that is not refused."""
        path = request.path.removeprefix(self.prefix)
        names = [name for name in self.instances if name not in self.away]
        if path == "/api/v1/query":
            at = float(request.form["time"]) if "time" in request.form else 0.0
            rows = [{"metric": _labels(name), "value": [at, repr(value(name, at))]} for name in names]
            return 200, {"status": "success", "data": {"resultType": "vector", "result": rows}, **self.marks(request)}
        if path == "/api/v1/query_range":
            start, step = float(request.form["start"]), float(request.form["step"])
            times = [start + step * index for index in range(int((request.seconds + 0.0005) // step) + 1)]
            rows = [{"metric": _labels(n), "values": [[at, repr(value(n, at))] for at in times]} for n in names]
            return 200, {"status": "success", "data": {"resultType": "matrix", "result": rows}, **self.marks(request)}
        return 404, "404 page not found\n"


def _labels(instance: str) -> dict[str, str]:
    return {"__name__": "load", "instance": instance}


@dataclass
class Mimir(Dialect):
    """Below a prefix, with a tenant; limits on the range, chunks and series, and a queue; errors in JSON, and in text.

    A tenant that nobody has written for is answered without series, as any other is that has none.
    """

    prefix: str = "/prometheus"
    longest: float = math.inf
    most_chunks: float = math.inf
    most_samples: float = math.inf
    queue: int = 0
    tenant: str = "team"

    def refusal(self, request: Request) -> Refusal | None:
        if not request.headers.get("X-Scope-OrgID"):
            return 401, "no org id\n"
        if request.seconds > self.longest:
            return 400, _error("bad_data", "the range of the query is longer than this tenant may ask for")
        if request.seconds / HOUR * len(self.instances) > self.most_chunks:
            return 422, _error("execution", "too many chunks were to be fetched for this query")
        if request.seconds / float(request.form.get("step", 1.0)) * len(self.instances) > self.most_samples:
            # By a gateway, which answers in text.
            return 413, "the answer is larger than a frame may be\n"
        if request.seconds and self.queue:
            self.queue -= 1
            return 429, _error("too_many_requests", "the queue of this tenant is full")
        return None

    def answer(self, request: Request) -> Refusal:
        status, whole = super().answer(request)
        if isinstance(whole, dict) and request.headers["X-Scope-OrgID"] != self.tenant:
            whole["data"]["result"] = []
        return status, whole


@dataclass
class Thanos(Dialect):
    """Answers without the store that is down, with a warning, unless the request denies partial answers.

    Attributes
    ----------
    longest : float
        Seconds of a range for which a store gateway has memory; beyond it the status is `exhausted`.
    unmatched : bool
        Whether no store is known at all, as after a start: the answer has no series and a warning.
    """

    longest: float = math.inf
    exhausted: int = 422
    unmatched: bool = False

    def refusal(self, request: Request) -> Refusal | None:
        if request.seconds > self.longest:
            text = "expanding series: rpc error: code = ResourceExhausted desc = limit of bytes was reached"
            return self.exhausted, _error("execution", text) if self.exhausted == 422 else f"{text}\n"
        if self.away and request.form.get("partial_response") in ("false", "0"):
            return 422, _error("execution", "a store does not answer")
        return None

    def marks(self, request: Request) -> dict[str, Any]:
        if self.unmatched:
            return {"warnings": ["no store matched this query"]}
        return {"warnings": ["receive series from store 10.0.0.1: connection refused"]} if self.away else {}

    def answer(self, request: Request) -> Refusal:
        status, whole = super().answer(request)
        if isinstance(whole, dict) and self.unmatched:
            whole["data"]["result"] = []
        return status, whole


@dataclass
class VictoriaMetricsCluster(Dialect):
    """Below the path of a tenant, GET only behind its proxy; `isPartial`, and statuses in place of words.

    Attributes
    ----------
    busy : int
        Ranges that it has no slot for, one after the other: it says when to come again.
    """

    prefix: str = "/select/0/prometheus"
    longest: float = math.inf
    get_only: bool = False
    busy: int = 0

    def headers(self, status: int) -> dict[str, str]:
        return {"Retry-After": "10"} if status == 429 else {}

    def refusal(self, request: Request) -> Refusal | None:
        if self.get_only and request.method != "GET":
            return 405, "only GET is forwarded\n"
        if self.away and request.form.get("deny_partial_response") in ("1", "true"):
            return 503, _error("503", "a storage node is not available")
        if request.seconds > self.longest:
            return 422, _error("422", "the query would take more memory than it may")
        if request.seconds and self.busy:
            self.busy -= 1
            return 429, _error("429", "no slot came free in time for another query")
        return None

    def marks(self, request: Request) -> dict[str, Any]:
        return {"isPartial": bool(self.away), "stats": {"seriesFetched": str(len(self.instances))}}


def _error(kind: str, text: str) -> dict[str, Any]:
    return {"status": "error", "errorType": kind, "error": text}
