"""A real VictoriaMetrics, the other server that speaks Prometheus' query API."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

from tests.integration.process import Process, ask, binary, free_port
from tests.integration.remote_write import Series, batches

__all__ = ["VictoriaMetrics"]


class VictoriaMetrics:
    """A single-node VictoriaMetrics."""

    def __init__(self, directory: Path, *, flags: Sequence[str] = ()) -> None:
        program = binary("victoria-metrics")
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.address}"
        argv = [
            program,
            f"-storageDataPath={directory / 'data'}",
            f"-httpListenAddr={self.address}",
            "-retentionPeriod=5y",
            # It plans for the whole machine otherwise; several run beside each other here.
            "-memory.allowedBytes=256MB",
            # Answers must not wait for data "still on its way".
            "-search.latencyOffset=0s",
            *flags,
        ]
        self.process = Process(argv, directory / "log", self._ready, port=self.port)

    def _ready(self) -> bool:
        return bool(ask("GET", self.url + "/health").status_code == 200)

    def query(self, expr: str, at: float | None = None) -> list[dict[str, Any]]:
        """Return ``data.result`` of an instant query."""
        form = {"query": expr, "nocache": "1"} | ({} if at is None else {"time": f"{at:.3f}"})
        answer = ask("POST", self.url + "/api/v1/query", data=form)
        assert answer.status_code == 200, answer.text
        return list(answer.json()["data"]["result"])

    def push(self, series: Iterable[Series]) -> None:
        """Remote-write samples, and make them visible to queries."""
        headers = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}
        for body in batches(series):
            answer = ask("POST", self.url + "/api/v1/write", data=body, headers=headers)
            assert answer.status_code == 204, answer.text
        self.flush()

    def import_text(self, text: str) -> None:
        """Import lines of the exposition format with timestamps in milliseconds, and make them visible."""
        answer = ask("POST", self.url + "/api/v1/import/prometheus", data=text.encode())
        assert answer.status_code == 204, answer.text
        self.flush()

    def flush(self) -> None:
        """Make everything written so far visible to queries."""
        answer = ask("GET", self.url + "/internal/force_flush")
        assert answer.status_code == 200, answer.text
        reset = ask("GET", self.url + "/internal/resetRollupResultCache")
        assert reset.status_code == 200, reset.text

    def start(self, *, wait: bool = True) -> Self:
        """Start, or start again, on the same port and data."""
        self.process.start(wait=wait)
        return self

    def stop(self) -> None:
        """SIGTERM, SIGKILL after 5 s."""
        self.process.stop()

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
