"""A fake Alertmanager that writes down every request and answers as told. For what a real one does not answer."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

__all__ = ["Recorder", "Request"]


@dataclass(frozen=True, slots=True)
class Request:
    """One request: when it came (Unix and monotonic seconds), and all of it."""

    at: float
    mono: float
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def alerts(self) -> list[dict[str, Any]]:
        """The alerts in it."""
        return list(json.loads(self.body))


class Recorder:
    """Set `status`, `answer` and `extra` headers; `largest` bodies are answered with 413 beyond that many bytes."""

    def __init__(self) -> None:
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 30

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, answer, extra = recorder._take(self, body)
                self.send_response_only(status)
                extra = {"Date": self.date_time_string(), **extra}
                for name, value in {**extra, "Content-Length": str(len(answer))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_POST  # noqa: N815 - the name that http.server looks for.

            def log_message(self, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, *args: object) -> None:
                # Clients that are cut off are part of the tests.
                pass

        self.status = 200
        self.answer = b""
        self.extra: dict[str, str] = {}
        self.largest = 1 << 30
        self._requests: list[Request] = []
        self._changed = threading.Condition()
        self._server = Server(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        self.url = f"http://{self.address}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def _take(self, handler: BaseHTTPRequestHandler, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        request = Request(
            time.time(), time.monotonic(), handler.command, handler.path, dict(handler.headers.items()), body
        )
        with self._changed:
            self._requests.append(request)
            self._changed.notify_all()
            if len(body) > self.largest:
                return 413, b"", {}
            return self.status, self.answer, self.extra

    @property
    def requests(self) -> list[Request]:
        """Everything so far, in order."""
        with self._changed:
            return list(self._requests)

    def wait_for(self, count: int, timeout: float = 20.0) -> list[Request]:
        """Return all requests as soon as there are `count`."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._requests) >= count, timeout):
                raise AssertionError(f"{len(self._requests)} of {count} requests within {timeout:g} s")
            return list(self._requests)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
