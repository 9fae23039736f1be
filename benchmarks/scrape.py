"""What a scrape of /metrics costs, beside prometheus-client's own rendering of the same two gauges."""

from __future__ import annotations

import argparse
import http.client
import sys
import threading
import time

import numpy as np
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from demo.servers import free_port
from exporter.exposition import Exposition, page_labels, row_prefix
from exporter.exposition.families import FAMILIES
from exporter.exposition.selfmetrics import build_information
from exporter.web import Site, WebConfigFile, WebServer, build_app

__all__ = ["main"]


def main() -> int:
    """Measure and print; returns the exit code."""
    flags = argparse.ArgumentParser(prog="python -m benchmarks.scrape", description=__doc__)
    flags.add_argument("--series", type=int, default=100_000)
    flags.add_argument("--seconds", type=float, default=10.0)
    flags.add_argument("--clients", type=int, default=4)
    args = flags.parse_args()
    labels = [{"query": "bench", "path": f"/api/v1/item/{i}", "pod": f"web-{i % 997}"} for i in range(args.series)]
    exposition = Exposition(CollectorRegistry())
    render = _publish(exposition, labels)
    reference = _reference(labels)
    print(f"{args.series:,} series: six gauges rendered and compressed in {render:.2f} s, once a cycle; ", end="")
    print(f"two gauges by prometheus-client in {reference:.2f} s, at every scrape")

    site = Site(
        metrics=exposition.scrape,
        not_ready=lambda: None,
        config=lambda: "",
        build=build_information(),
        pages=None,  # Nobody asks for them here.
    )
    port = free_port()
    server = WebServer(build_app(site), f"127.0.0.1:{port}", WebConfigFile(None, loaded=lambda _: None))
    server.start()
    try:
        for encoding in ("gzip", "identity"):
            took, size = _scrape(port, encoding, args.clients, args.seconds)
            spent = np.array(took) * 1000
            print(
                f"{encoding}: {len(took) / args.seconds:.0f} scrapes a second of {size / 2**20:.1f} MiB, "
                f"median {np.median(spent):.1f} ms, p99 {np.percentile(spent, 99):.1f} ms ({args.clients} clients)"
            )
    finally:
        server.stop()
    return 0


def _publish(exposition: Exposition, labels: list[dict[str, str]]) -> float:
    prefixes = [row_prefix(page_labels(list(series.items()), "query", "bench")) for series in labels]
    values = np.random.default_rng(0).random((6, len(labels)))
    values[5] = np.round(values[5])
    begin = time.perf_counter()
    exposition.publish("bench", prefixes, dict(zip(FAMILIES, values, strict=False)))
    sum(len(piece) for piece in exposition.scrape("", "gzip").body)
    return time.perf_counter() - begin


def _reference(labels: list[dict[str, str]]) -> float:
    registry = CollectorRegistry()
    for name in ("anomaly_score", "expected_value"):
        gauge = Gauge(name, "A benchmark.", list(labels[0]), registry=registry)
        for series_labels in labels:
            gauge.labels(**series_labels).set(0.123456789)
    begin = time.perf_counter()
    generate_latest(registry)
    return time.perf_counter() - begin


def _scrape(port: int, encoding: str, clients: int, seconds: float) -> tuple[list[float], int]:
    """Scrape for so many seconds; returns the seconds of every scrape, and the bytes of one."""
    took: list[float] = []
    sizes: set[int] = set()
    end = time.monotonic() + seconds

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        while time.monotonic() < end:
            begin = time.perf_counter()
            connection.request("GET", "/metrics", headers={"Accept-Encoding": encoding})
            sizes.add(len(connection.getresponse().read()))
            took.append(time.perf_counter() - begin)
        connection.close()

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return took, max(sizes)


if __name__ == "__main__":
    sys.exit(main())
