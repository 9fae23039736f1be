"""The exporter as its users run it: a process, a file, signals, HTTP; and a source that feeds Prometheus."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.process import Process, ask, eventually, free_port
from tests.integration.servers import Prometheus

__all__ = ["Exporter", "Feed", "configuration"]

DAY = 86400.0
CRASHES = (-signal.SIGSEGV, -signal.SIGBUS, -signal.SIGABRT, -signal.SIGILL, -signal.SIGFPE)
"""Exit codes that nobody asks for."""


def configuration(prometheus: str, alertmanagers: list[str], **changes: Any) -> dict[str, Any]:
    """Return a configuration with one query, quick enough for a test."""
    query = {
        "name": "load",
        "expr": "load",
        "direction": "above",
        "min_relative_deviation": 0.3,
        "alert": {"for": "2s", "labels": {"severity": "page"}},
    }
    return {
        "global": {"interval": "1s", "external_labels": {"cluster": "test"}},
        "prometheus": {"url": prometheus},
        "alertmanagers": [{"url": url, "timeout": "2s"} for url in alertmanagers],
        "alerting": {"resend_delay": "2s"},
        "storage": {"checkpoint_interval": "5s"},
        "baseline": {"window": "9d"},
        "queries": [query],
        **changes,
    }


class Exporter:
    """One daemon. A second start uses the same port, configuration and state.

    Parameters
    ----------
    auth : pair of str, optional
        User and password of the tests, where the flags name a file that wants them.
    port : int, optional
        Where others have to know it before.
    """

    def __init__(
        self,
        directory: Path,
        config: Mapping[str, Any],
        *flags: str,
        auth: tuple[str, str] | None = None,
        port: int | None = None,
    ) -> None:
        self._auth = auth
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.config_file = directory / "config.yaml"
        self.write(config)
        self.port = free_port() if port is None else port
        self.url = f"http://127.0.0.1:{self.port}"
        argv = [
            sys.executable,
            "-X",
            "faulthandler",  # A crash in an extension leaves its traceback in the log.
            "-m",
            "exporter",
            f"--config.file={self.config_file}",
            f"--storage.path={directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--web.enable-lifecycle",
            *flags,
        ]
        self.process = Process(argv, directory / "log", lambda: self.ask("/-/ready").status_code == 200, grace=15.0)

    def write(self, config: Mapping[str, Any]) -> None:
        """Write the configuration file."""
        self.config_file.write_text(yaml.safe_dump(dict(config)))

    def ask(self, path: str, method: str = "GET", **options: Any) -> Any:
        """Make one request; the options are those of `process.ask`."""
        return ask(method, self.url + path, **{"auth": self._auth, **options})

    def samples(self, name: str, **labels: str) -> dict[tuple[tuple[str, str], ...], float]:
        """Return the samples of one metric on ``/metrics`` that have `labels`."""
        page = self.ask("/metrics").text
        return {
            tuple(sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(page)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        }

    def sample(self, name: str, **labels: str) -> float | None:
        """Return the one sample of a metric that has `labels`; None where there is none."""
        found = list(self.samples(name, **labels).values())
        assert len(found) <= 1, found
        return found[0] if found else None

    def wait_for_scores(self, timeout: float = 60.0) -> None:
        """Wait until history is learned and a score is served."""
        eventually(lambda: self.samples("anomaly_score"), timeout, what="a score on /metrics")

    def reload(self) -> Any:
        """Ask for a reload over HTTP."""
        return self.ask("/-/reload", "POST")

    def hang_up(self) -> None:
        """SIGHUP."""
        self.signal(signal.SIGHUP)

    def signal(self, number: int) -> None:
        """Send a signal."""
        os.kill(self.process.pid, number)

    def start(self) -> Self:
        """Start, or start again."""
        self.process.start()
        return self

    def stop(self) -> None:
        """SIGTERM, as a supervisor does it."""
        self.process.stop()
        self._did_not_crash()

    def kill(self) -> None:
        """SIGKILL."""
        self._did_not_crash()
        self.process.kill()

    def _did_not_crash(self) -> None:
        """Show the trace of one that ended by itself, deep in an extension."""
        assert self.process.exit_code not in CRASHES, self.process.tail()
        log = self.process.log.read_text(errors="replace") if self.process.log.exists() else ""
        assert "a part of a cycle failed" not in log, log[log.index("a part of a cycle failed") :][:5000]

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: object, *_: object) -> None:
        self.stop()
        if kind is not None:
            print(self.process.tail())


class Feed:
    """Writes ``load`` of a few instances into Prometheus: nine days at once, then a sample every half second.

    Parameters
    ----------
    prometheus : Prometheus
    instances : int
    labels : sequence of mapping, optional
        Of other series than those of `instances`, without a name.
    days, step : float
        How much history there is, and how many seconds its samples are apart.
    since : mapping
        By number of a series: how many seconds ago it became three times as high.
    """

    def __init__(
        self,
        prometheus: Prometheus,
        instances: int = 3,
        *,
        labels: Sequence[Mapping[str, str]] | None = None,
        days: float = 9.0,
        step: float = 60.0,
        since: Mapping[int, float] | None = None,
    ) -> None:
        self._prometheus = prometheus
        self._since = since or {}
        self._rng = np.random.default_rng(11)
        if labels is None:
            labels = [{"job": "app", "instance": f"host{i}:9100", "query": "mine"} for i in range(instances)]
        self._labels = [{"__name__": "load", **one} for one in labels]
        self.factor = [3.0 if number in self._since else 1.0 for number in range(len(labels))]
        self._days, self._step = days, step
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._feed, daemon=True)

    def _values(self, at: np.ndarray) -> np.ndarray:
        shape = 100 + 20 * np.sin(at / DAY * 2 * np.pi)
        return shape * (1 + 0.02 * self._rng.standard_normal(len(at)))

    def _feed(self) -> None:
        while not self._stopping.wait(0.5):
            now = np.array([time.time()])
            values = [self._values(now) * factor for factor in self.factor]
            with contextlib.suppress(OSError, AssertionError):  # It is down, or starts: that is some test's subject.
                self._prometheus.push((labels, now, v) for labels, v in zip(self._labels, values, strict=True))

    def __enter__(self) -> Self:
        at = np.arange(time.time() - self._days * DAY, time.time(), self._step)
        ages = [self._since.get(number, 0.0) for number in range(len(self._labels))]
        factors = [np.where(at >= time.time() - age, 3.0, 1.0) for age in ages]
        pairs = zip(self._labels, factors, strict=True)
        self._prometheus.push((labels, at, self._values(at) * factor) for labels, factor in pairs)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
