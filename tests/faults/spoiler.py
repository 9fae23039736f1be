"""A server between the exporter and a real Prometheus that spoils answers: rows hidden, broken, doubled, too many."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import requests

from tests.integration.dialects import Dialect, Refusal, Request

__all__ = ["Spoiler"]

_PODS, _LIFE = 30, 6.0
"""Pods of the service, and how many seconds they live until a rollout replaces all of them."""


@dataclass
class Spoiler(Dialect):
    """Passes queries on, and spoils the answers to instant ones.

    Attributes
    ----------
    upstream : str
        URL of the Prometheus.
    mode : str
        One of `MODES`, or empty: nothing is spoiled but for the rollouts, which never end.
    """

    MODES: ClassVar[tuple[str, ...]] = ("rejected rows", "partial answer", "collisions", "bad gateway", "empty answer")

    upstream: str = ""
    mode: str = ""
    share: float = 0.5
    seed: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    contained: dict[float, frozenset[str]] = field(default_factory=dict)
    """By slot: the instances of the answer that could be read. None of them may silently not be judged."""
    whole: set[float] = field(default_factory=set)
    """Slots whose answer was not spoiled."""

    def refusal(self, request: Request) -> Refusal | None:
        if self.mode == "bad gateway" and request.path.endswith("/query"):
            return 502, "bad gateway"
        return None

    def answer(self, request: Request) -> Refusal:
        try:
            answer = requests.post(self.upstream + request.path, data=dict(request.form), timeout=20.0)
        except requests.RequestException as error:
            return 502, str(error)
        whole: dict[str, Any] = answer.json()
        if answer.status_code != 200 or not request.path.endswith("/query") or request.form["query"] != "load":
            return answer.status_code, whole
        mode = self.mode
        self._spoil(whole, mode)
        self._roll_out(whole["data"]["result"], float(request.form["time"]))
        slot = round(float(request.form["time"]), 3)
        if not mode:
            self.whole.add(slot)
        self.contained[slot] = frozenset(
            row["metric"]["instance"]
            for row in whole["data"]["result"]
            if "value" in row and "pod" not in row["metric"]
        )
        return 200, whole

    def _spoil(self, whole: dict[str, Any], mode: str) -> None:
        rows = whole["data"]["result"]
        self.counts[mode] = self.counts.get(mode, 0) + 1
        # The same series for as long as the trouble lasts.
        rng = np.random.default_rng(self.seed)
        hit = [row for row, lot in zip(rows, rng.random(len(rows)), strict=True) if lot < self.share]
        if mode == "rejected rows":
            for row in hit:
                row["histogram"] = [row.pop("value")[0], {"count": "1", "sum": "1", "buckets": []}]
        elif mode == "partial answer":
            whole["isPartial"] = True
            whole["data"]["result"] = [row for row in rows if row not in hit]
        elif mode == "collisions":
            # Control characters are replaced, so that these are one and the same on the page.
            twins = [{"__name__": "load", "instance": f"twin{chr(n)}", "pod": "twin"} for n in range(1, 6)]
            rows += [{"metric": labels, "value": rows[0]["value"]} for labels in twins]
        elif mode == "empty answer":
            whole["data"]["result"] = []
            whole["warnings"] = ["all stores are down"]

    def _roll_out(self, rows: list[dict[str, Any]], at: float) -> None:
        born = int(at // _LIFE)
        for number in range(_PODS):
            metric = {"__name__": "load", "instance": f"pod{number}", "pod": f"g{born}-{number}"}
            rows.append({"metric": metric, "value": [at, str(100.0 + number)]})

    def trouble(self, rng: np.random.Generator, over: threading.Event) -> None:
        """Spoil answers in turn for some seconds each, until it is over."""
        while not over.wait(float(rng.uniform(1.0, 5.0))):
            self.seed, self.mode = int(rng.integers(2**31)), str(rng.choice(self.MODES))
            over.wait(float(rng.uniform(1.0, 4.0)))
            self.mode = ""

    def missing(self, newest: float, shown: frozenset[str]) -> frozenset[str]:
        """Return the instances that are in all answers of the last seconds, and are not shown."""
        with suppress(RuntimeError):  # An answer came in between.
            near = [names for at, names in self.contained.items() if abs(at - newest) <= 3.5]
            if len(near) >= 3 and time.time() - newest < 3.0:
                return frozenset.intersection(*near) - shown
        return frozenset()
