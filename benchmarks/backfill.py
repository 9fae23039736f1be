"""How fast history is learned, beside downloading the same answers and throwing them away."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import requests

from benchmarks.sources import NAME, evaluation_context, with_history
from exporter.alerting.alert import Step
from exporter.config.model import Config
from exporter.engine.together import alone
from exporter.evaluation.evaluator import QueryEvaluator
from exporter.http_client import HttpResponse
from exporter.prometheus import PrometheusApi
from exporter.prometheus.answer_budget import AnswerSize
from exporter.prometheus.settings import PrometheusSettings

__all__ = ["main"]


def main() -> int:
    """Measure and print; returns the exit code."""
    flags = argparse.ArgumentParser(prog="python -m benchmarks.backfill", description=__doc__)
    flags.add_argument("--series", type=int, nargs="+", default=[100, 1_000])
    flags.add_argument("--days", type=int, default=14)
    args = flags.parse_args()
    for count in args.series:
        with tempfile.TemporaryDirectory() as home, ExitStack() as running:
            _measure(running, Path(home), count, args.days)
    return 0


def _measure(running: ExitStack, home: Path, count: int, days: int) -> None:
    server = with_history(running, home, count, days=days, step=300.0)
    requests_sent: list[tuple[str, Mapping[str, str]]] = []

    class Noting(PrometheusApi):
        def _send(self, path: str, form: Mapping[str, str], timeout: float, size: AnswerSize) -> HttpResponse:
            if path.endswith("query_range"):
                requests_sent.append((path, form))
            return super()._send(path, form, timeout, size)

    connect = partial(Noting, PrometheusSettings(url=server.url), user_agent="benchmark")
    context = evaluation_context(running, home, count, server.url, connect)
    query = {"name": "bench", "expr": NAME, "interval": "5m"}
    config = Config.model_validate({"baseline": {"window": f"{days}d"}, "queries": [query]})
    cycle = QueryEvaluator(config.plans()[0], context, Step(alerts={}), started=time.time())
    now = time.time() // 300.0 * 300.0

    begin = time.perf_counter()
    assert alone(cycle.preparing(now))
    learning = time.perf_counter() - begin

    # The same requests, their answers read to the end and dropped.
    assert requests_sent
    session = requests.Session()
    begin = time.perf_counter()
    size = sum(len(session.post(server.url + path, data=form, timeout=120).content) for path, form in requests_sent)
    downloaded = time.perf_counter() - begin
    samples = count * days * 288
    print(
        f"{count:,} series x {days} days at 5 minutes, "
        f"{samples:,} samples in {len(requests_sent)} requests ({size / 2**20:.0f} MiB): "
        f"learned in {learning:.1f} s ({samples / learning:,.0f} a second), downloaded in {downloaded:.1f} s, "
        f"ratio {learning / downloaded:.2f}"
    )


if __name__ == "__main__":
    sys.exit(main())
