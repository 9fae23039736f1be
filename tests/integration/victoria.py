"""A real VictoriaMetrics, the other server that speaks Prometheus' query API."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tests.integration.process import binary
from tests.integration.remote_write import Series
from tests.integration.server import Server

__all__ = ["VictoriaMetrics"]


class VictoriaMetrics(Server):
    """A single-node VictoriaMetrics."""

    def __init__(self, directory: Path, *, flags: Sequence[str] = ()) -> None:
        program = binary("victoria-metrics")
        super().__init__(directory, health="/health")
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
        self._run(argv)

    def query(self, expr: str, at: float | None = None) -> list[dict[str, Any]]:
        """Return ``data.result`` of an instant query."""
        form = {"query": expr, "nocache": "1"} | ({} if at is None else {"time": f"{at:.3f}"})
        answer = self.ask("POST", "/api/v1/query", data=form)
        assert answer.status_code == 200, answer.text
        return list(answer.json()["data"]["result"])

    def push(self, series: Iterable[Series]) -> None:
        """Remote-write samples, and make them visible to queries."""
        super().push(series)
        self.flush()

    def import_text(self, text: str) -> None:
        """Import lines of the exposition format with timestamps in milliseconds, and make them visible."""
        answer = self.ask("POST", "/api/v1/import/prometheus", data=text.encode())
        assert answer.status_code == 204, answer.text
        self.flush()

    def flush(self) -> None:
        """Make everything written so far visible to queries."""
        answer = self.ask("GET", "/internal/force_flush")
        assert answer.status_code == 200, answer.text
        reset = self.ask("GET", "/internal/resetRollupResultCache")
        assert reset.status_code == 200, reset.text
