"""A fake Alertmanager that writes down every request and answers as told. For what a real one does not answer."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.integration.listener import Answer, Listener

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


class Recorder(Listener):
    """Set `status`, `answer` and `extra` headers; `largest` bodies are answered with 413 beyond that many bytes."""

    def __init__(self) -> None:
        super().__init__(self._take)
        self.url = f"http://{self.address}"
        self.status = 200
        self.answer = b""
        self.extra: dict[str, str] = {}
        self.largest = 1 << 30
        self._requests: list[Request] = []
        self._changed = threading.Condition()

    def _take(self, handler: BaseHTTPRequestHandler, body: bytes) -> Answer:
        request = Request(
            time.time(), time.monotonic(), handler.command, handler.path, dict(handler.headers.items()), body
        )
        with self._changed:
            # An exporter asks now and then since when an Alertmanager runs.
            if handler.command == "POST":
                self._requests.append(request)
            self._changed.notify_all()
            if len(body) > self.largest:
                return 413, b"", {}
            return self.status, self.answer, self.extra

    @property
    def requests(self) -> list[Request]:
        """Every POST so far, in order."""
        with self._changed:
            return list(self._requests)

    def wait_for(self, count: int, timeout: float = 20.0) -> list[Request]:
        """Return all requests as soon as there are `count`."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._requests) >= count, timeout):
                raise AssertionError(f"{len(self._requests)} of {count} requests within {timeout:g} s")
            return list(self._requests)
