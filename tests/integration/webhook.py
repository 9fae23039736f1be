"""The two ends of a test: `Target` is what Prometheus scrapes, `Webhook` is whom Alertmanager notifies."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.integration.listener import Answer, Listener

__all__ = ["Notification", "Target", "Webhook"]


@dataclass(frozen=True, slots=True)
class Notification:
    """One webhook call: when it came (monotonic seconds) and its body."""

    at: float
    path: str
    body: dict[str, Any] = field(repr=False)

    @property
    def status(self) -> str:
        """``firing`` or ``resolved``, of the whole group."""
        return str(self.body["status"])

    @property
    def alerts(self) -> list[dict[str, Any]]:
        """Its alerts, each with ``status``, ``labels``, ``annotations``, ``startsAt``, ``endsAt``."""
        return list(self.body["alerts"])


class Webhook(Listener):
    """Collects what Alertmanager notifies. `status` is what it answers: 200, or set it to 500 for trouble."""

    def __init__(self) -> None:
        super().__init__(self._take)
        self.url = f"http://{self.address}/"
        self.status = 200
        self._changed = threading.Condition()
        self._received: list[Notification] = []

    def _take(self, request: BaseHTTPRequestHandler, body: bytes) -> Answer:
        with self._changed:
            if self.status == 200:
                self._received.append(Notification(time.monotonic(), request.path, json.loads(body)))
                self._changed.notify_all()
        return self.status, b"", {}

    @property
    def notifications(self) -> list[Notification]:
        """Everything that was taken so far, in order."""
        with self._changed:
            return list(self._received)

    def alerts(self) -> list[tuple[str, dict[str, str]]]:
        """``(status, labels)`` of every alert in every notification, in order."""
        return [(alert["status"], alert["labels"]) for note in self.notifications for alert in note.alerts]

    def clear(self) -> None:
        """Forget what was received."""
        with self._changed:
            self._received.clear()

    def wait_for(self, predicate: Callable[[list[Notification]], object], timeout: float = 20.0) -> list[Notification]:
        """Return all notifications as soon as `predicate` of them is true; AssertionError after `timeout` seconds."""
        with self._changed:
            if not self._changed.wait_for(lambda: predicate(list(self._received)), timeout):
                raise AssertionError(f"not notified within {timeout:g} s; received {[n.body for n in self._received]}")
            return list(self._received)


class Target(Listener):
    """A /metrics page. Set `values` (``{'load{zone="a"}': 1.5}``); a series taken out disappears from the page."""

    def __init__(self, values: Mapping[str, float] | None = None) -> None:
        super().__init__(self._page)
        self._lock = threading.Lock()
        self._values = dict(values or {})
        self.scrapes = 0
        self.status = 200

    def set(self, name: str, value: float | None) -> None:
        """Set one series; None takes it off the page."""
        with self._lock:
            if value is None:
                self._values.pop(name, None)
            else:
                self._values[name] = value

    def _page(self, request: BaseHTTPRequestHandler, body: bytes) -> Answer:
        with self._lock:
            self.scrapes += 1
            lines = [f"{name} {value!r}\n" for name, value in self._values.items()]
        page = "".join(lines).replace(" inf", " +Inf").encode()
        return self.status, page, {"Content-Type": "text/plain; version=0.0.4"}
