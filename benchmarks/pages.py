"""What the pages cost with 10,000 series: overview, charts, redraws, what-if, and whether they slow scoring.

A real Prometheus scrapes 10,000 series; eight of the same metric have four weeks of history, for the charts. The time
that Prometheus itself needs for a chart is what it says of it. Redraws are measured in Chromium, from the key to the
second frame after it. What-if follows 300 alerts of a store with a day of a thousand series.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from threading import Event, Thread

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.sources import NAME, cpu
from demo.servers import Process, Stopped, ask, exporter, find, free_port, prometheus, target
from exporter.alerting.alert import AlertTransition, AuditEvent, Step
from exporter.config.model import Config
from exporter.engine.verdict import Verdict
from exporter.store import ChunkHeader, Store
from exporter.views.what_if import follow, what_if

__all__ = ["main"]

INTERVAL = 15
DAYS, STEP = 29.0, 300.0
_ALERTS = 300
_REDRAW = """key => new Promise(done => {
  const begin = performance.now();
  document.querySelector(".plot").dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - begin)));
})"""
PARTS = ("band", "weeks", "decomposition")
_WITH_HISTORY = 8
"""Series that have a past."""


def main() -> int:
    """Measure and print; returns the exit code."""
    flags = argparse.ArgumentParser(prog="python -m benchmarks.pages", description=__doc__)
    flags.add_argument("--series", type=int, default=10_000)
    flags.add_argument("--rounds", type=int, default=20)
    flags.add_argument("--readers", type=int, default=10, help="of pages and charts while scoring is watched")
    flags.add_argument("--seconds", type=float, default=60.0, help="how long scoring is watched, idle and busy")
    args = flags.parse_args()
    with tempfile.TemporaryDirectory() as name, ExitStack() as running:
        try:
            Console(width=120).print(_measure(running, Path(name), args))
        except Stopped as fault:
            print(fault)
            return 1
    return 0


def _measure(running: ExitStack, home: Path, args: argparse.Namespace) -> Table:
    source = _source(running, home, args.series)
    config = home / "config.yaml"
    query = {"name": "bench", "expr": NAME, "interval": f"{INTERVAL}s", "max_series": 2 * args.series}
    settings = {
        "prometheus": {"url": source.url},
        "baseline": {"window": "1d", "min_history": "1h"},
        "queries": [query],
    }
    config.write_text(json.dumps(settings))
    daemon = exporter(home, config, free_port())
    running.callback(daemon.stop)
    daemon.wait()
    _wait(lambda: _phases(daemon)[1] >= 2, "the series are not scored")

    table = Table("", "wall, ms", "longest", "CPU, ms", title=f"{args.series:,} series", title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    now = time.time()
    # The processes that judge and draw have to start for it, because nobody has opened a page before.
    charts = {"chart band, before any page": [_chart(0, "band", now)]}
    for part in PARTS:
        first, *again = (_chart(1, part, now - i) for i in range(6))
        charts |= {f"chart {part}, first of a series": [first], f"chart {part}, again": again}
    for label, paths in charts.items():
        before = _own(source)
        row = _request(daemon, paths)
        table.add_row(f"{label} (of that Prometheus {1000 * (_own(source) - before) / len(paths):.0f} ms)", *row)
    for what, path in {"overview": "/", "overview, filtered": "/?text=item/77", "its last page": "/?page=200"}.items():
        table.add_row(what, *_request(daemon, [path] * args.rounds))
    at = time.time()
    kept = [f"/chart.json?query=bench&item=2&quick=yes&from={at - 600 - i:.0f}" for i in range(args.rounds)]
    table.add_row("chart of what was decided, as data", *_request(daemon, kept))
    for what, times in _redraws(daemon).items():
        table.add_row(what, f"{statistics.median(times):.0f}", f"{max(times):.0f}", "")
    table.add_row(f"what-if of {_ALERTS} alerts", f"{_what_if(home):.0f}", "", "")
    idle = _cycle(daemon, args.seconds)
    stop = Event()
    readers = [Thread(target=_read, args=(daemon, stop, number)) for number in range(args.readers)]
    for reader in readers:
        reader.start()
    busy = _cycle(daemon, args.seconds)
    stop.set()
    for reader in readers:
        reader.join()
    table.add_row("a cycle", f"{1000 * idle:.0f}", "", "")
    table.add_row(f"a cycle while {args.readers} people read pages and charts", f"{1000 * busy:.0f}", "", "")
    return table


def _redraws(daemon: Process) -> dict[str, list[float]]:
    """Return milliseconds until a chart is drawn first, and from a key to the second frame after it."""
    try:
        from playwright.sync_api import sync_playwright

        browser = find("chromium")
    except (ImportError, Stopped) as fault:
        print(f"no redraws: {fault}")
        return {}
    first, redraws = [], []
    with sync_playwright() as playwright:
        tab = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"]).new_page()
        for item in range(3, 6):
            begin = time.perf_counter()
            tab.goto(f"{daemon.url}/graph?query=bench&item={item}")
            tab.wait_for_selector("figure[data-part=band][data-state]", timeout=60_000)
            first.append(1000 * (time.perf_counter() - begin))
        tab.wait_for_selector("figure[data-part=band][data-state=complete]", timeout=120_000)
        for key in ("+", "-", "+", "+", "Escape", "ArrowLeft", "PageUp"):
            redraws.append(tab.evaluate(_REDRAW, key))
            tab.wait_for_timeout(500)
    return {"page of a series until its chart is drawn, in Chromium": first, "redraw in Chromium": redraws}


def _what_if(home: Path) -> float:
    """Return milliseconds that other settings of a query take, from verdicts and episodes of a store."""
    plan = Config.model_validate({"queries": [{"name": "q", "expr": "x", "alert": {"for": "1m"}}]}).plans()[0]
    names = [(("item", str(i)),) for i in range(1000)]
    rng, no = np.random.default_rng(1), np.zeros(len(names), np.bool_)
    with Store.open(home / "what-if", clock=lambda: 1e5) as store:
        store.verdicts.configure(retention=1e9, most_bytes=1e10)
        header = ChunkHeader("q", plan.identity, 2, 60.0, ("zscore",))
        for slot in range(1440):
            bad = rng.random(len(names)) < 0.3
            score, votes = np.where(bad, 0.9, 0.1), np.where(bad, 4.0, 0.0)
            observed, nan = 10.0 + bad * rng.random(len(names)), np.full(len(names), np.nan)
            expected = np.full(len(names), 10.0)
            verdict = Verdict(slot * 60.0, observed, score, expected, expected - 0.5, expected + 0.5, votes, nan,
                              votes[None], ~no, no, nan, no, no)  # fmt: skip
            store.verdicts.add(header, names, verdict, no.astype(np.int8))
        for number in range(_ALERTS):
            details = {"labels": json.dumps({"alertname": "A", "query": "q", "item": str(number)})}
            begin, end = 60.0 * (60 + number), 60.0 * (80 + number)
            steps = [(AuditEvent.OPEN, begin), (AuditEvent.FIRING, begin + 60.0), (AuditEvent.RESOLVED, end)]
            transitions = [
                AlertTransition(str(number), "q", f"e{number}", event, at, "normal", details=details)
                for event, at in steps
            ]
            store.alerts.record("q", Step({}, tuple(transitions)))
        store.verdicts.flush()
        begin = time.perf_counter()
        followed, alerts = follow(plan, store.episodes, store.verdicts, lambda: names, 1440 * 60.0)
        what_if(plan, followed, alerts, None)
        print(f"what-if: {len(followed)} of {alerts} alerts were followed")
        return 1000 * (time.perf_counter() - begin)


def _source(running: ExitStack, home: Path, count: int) -> Process:
    """Start a Prometheus with `count` series that it scrapes, and eight that it has a history of."""
    text, data = home / "history.txt", home / "prometheus"
    at = np.arange(time.time() - DAYS * 86400.0, time.time(), STEP)
    rng = np.random.default_rng(0)
    live = [f'{NAME}{{item="{i}"}} 50\n' for i in range(_WITH_HISTORY)]
    with text.open("w") as out:
        out.write(f"# TYPE {NAME} gauge\n")
        for i in range(_WITH_HISTORY):
            values = 50.0 + 20.0 * np.sin(at / 86400.0 * 2 * np.pi) + 2.0 * rng.standard_normal(len(at))
            own = f'{NAME}{{item="{i}",job="bench",instance="b"}}'
            out.writelines(f"{own} {v!r} {t}\n" for v, t in zip(values.tolist(), at.tolist(), strict=True))
        out.write("# EOF\n")
    command = [find("promtool"), "tsdb", "create-blocks-from", "openmetrics", "-q", str(text), str(data)]
    subprocess.run(command, check=True, capture_output=True)
    rows = [f'{NAME}{{path="/api/v1/item/{i}",pod="web-{i % 997}",zone="z{i % 3}"}} ' for i in range(count)]
    numbers = np.random.default_rng(0).lognormal(3.0, 2.0, count).tolist()
    page = f"# TYPE {NAME} gauge\n" + "".join([*live, *(f"{r}{v!r}\n" for r, v in zip(rows, numbers, strict=True))])
    port = free_port()
    running.callback(target(lambda: page, port).shutdown)
    job = {"job_name": "bench", "static_configs": [{"targets": [f"127.0.0.1:{port}"], "labels": {"instance": "b"}}]}
    config = {"global": {"scrape_interval": "5s", "scrape_timeout": "4s"}, "scrape_configs": [job]}
    server = prometheus(home, data, config, free_port())
    running.callback(server.stop)
    server.wait()
    _wait(lambda: f'"{count + _WITH_HISTORY}"' in _text(f"{server.url}/api/v1/query?query=count({NAME})"), "no scrape")
    return server


def _request(daemon: Process, paths: list[str]) -> tuple[str, str, str]:
    """Ask for pages one after the other; return the median and longest wall time, and the CPU of one."""
    walls = []
    with cpu(daemon.pid) as spent:
        for path in paths:
            begin = time.perf_counter()
            _text(daemon.url + path)
            walls.append(1000 * (time.perf_counter() - begin))
    return f"{statistics.median(walls):.0f}", f"{max(walls):.0f}", f"{1000 * spent[0] / len(paths):.0f}"


def _read(daemon: Process, stop: Event, number: int) -> None:
    """Be somebody who opens a page and its charts every five seconds."""
    while not stop.wait(5.0):
        now = time.time()
        for path in ("/", *(_chart(number % _WITH_HISTORY, part, now) for part in PARTS)):
            _text(daemon.url + path)


def _chart(item: int, part: str, at: float) -> str:
    return f"/chart.svg?query=bench&item={item}&part={part}&from={at - 43200:.0f}&to={at:.0f}"


def _cycle(daemon: Process, seconds: float) -> float:
    """Return what a cycle takes, mean over some time, without the time that Prometheus takes."""
    before = _phases(daemon)
    time.sleep(seconds)
    after = _phases(daemon)
    return (after[0] - before[0]) / max(1.0, after[1] - before[1])


def _phases(daemon: Process) -> tuple[float, float]:
    page = _text(daemon.url + "/metrics")
    phases = re.findall(r'cycle_duration_seconds_sum\{phase="(\w+)",query="bench"\} (\S+)', page)
    total = sum(float(value) for phase, value in phases if phase in ("score", "judge", "commit", "publish"))
    count = re.search(r'anomaly_exporter_cycles_total\{query="bench"\} (\S+)', page)
    return total, float(count[1]) if count else 0.0


def _own(source: Process) -> float:
    """Return the seconds that Prometheus has spent on range queries, by its own account."""
    metric = 'prometheus_http_request_duration_seconds_sum{handler="/api/v1/query_range"}'
    lines = [line for line in str(ask(source.url + "/metrics")).splitlines() if line.startswith(metric)]
    return float(lines[0].rsplit(" ", 1)[1]) if lines else 0.0


def _wait(check: Callable[[], object], what: str) -> None:
    end = time.monotonic() + 180
    while not check():
        if time.monotonic() > end:
            raise Stopped(what)
        time.sleep(0.5)


def _text(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=300) as answer:
            body: bytes = answer.read()
    except urllib.error.HTTPError as fault:
        raise Stopped(f"{url}: {fault.read().decode(errors='replace')[:500]}") from fault
    return body.decode(errors="replace")


if __name__ == "__main__":
    sys.exit(main())
