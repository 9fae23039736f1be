"""``make demo``: from nothing to an alert in a real Alertmanager, in a terminal."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from demo.servers import Process, Stopped, alertmanager, ask, exporter, find, free_port, prometheus, target
from demo.shop import Shop

__all__ = ["main"]

HOME = Path(".demo")
WEEKS = 4
STEP = 60.0
GOOD_FOR = 30.0
"""Seconds after the first score until the shop goes wrong."""
BAD_FOR = 120.0
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

CONFIG = """\
# The configuration of the demo; compare it with config.example.yaml.
global:
  interval: 5s
  external_labels: {{cluster: demo}}
prometheus:
  url: {prometheus}
alertmanagers:
  - url: {alertmanager}
baseline:
  window: 28d
  backfill_step: 5m
queries:
  - name: requests
    expr: shop_requests_per_second
    unit: per_second
    direction: below
    min_relative_deviation: 0.2
    valid_range: [0, null]
    alert:
      for: 10s
      labels: {{severity: critical}}
  - name: latency_p99
    expr: shop_latency_p99_seconds
    unit: seconds
    direction: above
    min_deviation: 0.05
    valid_range: [0, null]
    alert:
      for: 10s
      labels: {{severity: warning}}
  - name: cpu
    expr: shop_cpu_usage_ratio
    unit: ratio
    min_deviation: 0.1
    valid_range: [0, 1]
"""

console = Console()


def main() -> int:
    """Run the demo; returns the exit code."""
    flags = argparse.ArgumentParser(prog="make demo", description=__doc__)
    flags.add_argument("--until-alert", action="store_true", help="end when the alert is in Alertmanager")
    flags.add_argument("--screenshot", type=Path, metavar="FILE", help="draw the terminal with the alert as SVG")
    args = flags.parse_args()
    # SIGINT too: a shell that starts us in the background has it ignored.
    for number in _ENDING:
        signal.signal(number, _end)
    begin = time.monotonic()
    try:
        with contextlib.ExitStack() as running:
            _run(running, begin, until_alert=args.until_alert, screenshot=args.screenshot)
    except KeyboardInterrupt:
        console.print("\nStopped everything.")
    except Stopped as fault:
        console.print(f"[red]{fault}", highlight=False)
        return 1
    return 0


def _end(number: int, _: FrameType | None) -> NoReturn:
    # Once: whoever is impatient must not leave servers behind.
    for each in _ENDING:
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt(number)


def _run(running: contextlib.ExitStack, begin: float, *, until_alert: bool, screenshot: Path | None) -> None:
    shutil.rmtree(HOME, ignore_errors=True)
    HOME.mkdir()
    home = HOME.resolve()
    rng = random.Random(7)  # noqa: S311 - noise, not secrets.
    ports = {name: free_port() for name in ("prometheus", "alertmanager", "exporter", "shop")}
    urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}

    shop = [Shop()]
    server = target(lambda: shop[0].page(time.time(), rng), ports["shop"])
    running.callback(server.shutdown)

    with _bars() as bars:
        seed = bars.add_task(f"writing {WEEKS} weeks of history", total=None)
        data = _seed(home, rng)
        bars.update(seed, total=1, completed=1)

        start = bars.add_task("starting Prometheus and Alertmanager", total=2)
        prom = _start(running, prometheus(home, data, _scrapes(ports), ports["prometheus"]))
        bars.advance(start)
        am = _start(running, alertmanager(home, ports["alertmanager"]))
        bars.advance(start)

        config = home / "config.yaml"
        config.write_text(CONFIG.format(**urls))
        daemon = _start(running, exporter(home, config, ports["exporter"]))
        learn = bars.add_task("the exporter learns from Prometheus", total=1.0)
        while (share := _backfill_progress(daemon)) < 1.0:
            bars.update(learn, completed=share)
            daemon.check()
            time.sleep(0.2)
        bars.update(learn, completed=1.0)

        first = bars.add_task("waiting for the first scores", total=1)
        while not _scores(prom):
            for process in (prom, am, daemon):
                process.check()
            time.sleep(0.2)
        bars.update(first, completed=1)

    where = _where(urls)
    if not console.is_terminal:
        console.print(where, soft_wrap=True)
    now = time.time()
    shop[0] = Shop(breaks_at=now + GOOD_FOR, mends_at=now + GOOD_FOR + BAD_FOR)
    _watch(shop[0], where, (prom, am, daemon), begin, until_alert=until_alert, screenshot=screenshot)


def _seed(home: Path, rng: random.Random) -> Path:
    """Write the history into a data directory of Prometheus, as blocks."""
    text, data = home / "history.om", home / "prometheus"
    now = time.time() // STEP * STEP
    with text.open("w") as file:
        file.writelines(Shop().history(now - WEEKS * 7 * 86400, now, STEP, 'instance="shop-1",job="shop"', rng))
    command = [
        find("promtool"), "tsdb", "create-blocks-from", "openmetrics", "--quiet",
        f"--max-block-duration={WEEKS * 7 * 24 + 48}h", str(text), str(data),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own words.
    if done.returncode:
        raise Stopped(f"promtool could not write the history:\n{done.stderr}")
    text.unlink()
    return data


def _scrapes(ports: dict[str, int]) -> dict[str, Any]:
    def job(name: str, port: int, **more: object) -> dict[str, Any]:
        return {"job_name": name, **more, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}

    shop = job("shop", ports["shop"])
    shop["static_configs"][0]["labels"] = {"instance": "shop-1"}
    return {
        "global": {"scrape_interval": "5s", "scrape_timeout": "4s"},
        "scrape_configs": [shop, job("anomaly-exporter", ports["exporter"], honor_labels=True)],
    }


def _start(running: contextlib.ExitStack, process: Process) -> Process:
    running.callback(process.stop)
    process.wait()
    return process


def _backfill_progress(daemon: Process) -> float:
    text = str(ask(daemon.url + "/metrics"))
    lines = [line for line in text.splitlines() if line.startswith("anomaly_exporter_backfill_progress_ratio{")]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines) / 3


def _scores(prom: Process) -> dict[tuple[str, str], dict[str, float]]:
    """Return what Prometheus has scraped from the exporter, by query and service."""
    names = "anomaly_score|expected_value|expected_value_lower|expected_value_upper|observed_value"
    answer = ask(f'{prom.url}/api/v1/query?query={{__name__=~"{names}"}}')
    rows: dict[tuple[str, str], dict[str, float]] = {}
    for series in answer["data"]["result"]:
        labels = series["metric"]
        row = rows.setdefault((labels["query"], labels["service"]), {})
        row[labels["__name__"]] = float(series["value"][1])
    return rows


def _watch(
    shop: Shop,
    where: Text,
    servers: tuple[Process, Process, Process],
    begin: float,
    *,
    until_alert: bool,
    screenshot: Path | None,
) -> None:
    """Show the scores as Prometheus has them, and the alerts when they are there."""
    prom, am, _ = servers
    shown: set[str] = set()
    over = False
    with Live(console=console, refresh_per_second=4) as live:
        while True:
            for process in servers:
                process.check()
            alerts = ask(f"{am.url}/api/v2/alerts?active=true")
            story, table = _story(shop), _table(_scores(prom))
            # What changes has to fit into a small terminal, the addresses first; an alert stays above it, in full.
            addresses = [where] if console.is_terminal else []
            live.update(Group(*addresses, story, table, *map(_line, alerts)))
            new = [alert for alert in alerts if alert["fingerprint"] not in shown]
            for alert in new:
                live.console.print(_panel(alert))
            if new and not shown:
                took = time.monotonic() - begin
                live.console.print(f"[bold green]The alert is in Alertmanager, {took:.0f} s after the start.")
                if screenshot:
                    _draw(Group(story, table, *map(_panel, alerts)), screenshot)
                if until_alert:
                    return
            shown.update(alert["fingerprint"] for alert in new)
            if shown and not alerts and not over:
                over = True
                live.console.print("[green]The shop is well again and the alert is resolved. Ctrl-C stops everything.")
            time.sleep(1.0)


def _draw(view: Group, file: Path) -> None:
    paper = Console(record=True, width=108, file=io.StringIO())
    paper.print(view)
    drawn = paper.export_svg(title="make demo")
    # A picture of ours asks no other host for fonts.
    file.write_text(re.sub(r"@font-face \{.*?\}|<!--.*?-->", "", drawn, flags=re.DOTALL))


def _story(shop: Shop) -> str:
    now = time.time()
    if now < shop.breaks_at:
        return f"All is well. In {shop.breaks_at - now:.0f} s checkout will be slow and lose requests."
    if now < shop.mends_at:
        return f"[bold red]checkout is slow and loses requests[/] for another {shop.mends_at - now:.0f} s."
    return "checkout is well again."


def _table(scores: dict[tuple[str, str], dict[str, float]]) -> Table:
    # Narrow enough for a terminal of 80 columns.
    title = "anomaly_score and its band, as scraped by Prometheus"
    table = Table("query", "service", title=title, title_justify="left")
    for column in ("observed", "expected", "band", "score"):
        table.add_column(column, justify="right", no_wrap=True)
    for (query, service), row in sorted(scores.items()):
        score = row.get("anomaly_score")
        low, high = row.get("expected_value_lower"), row.get("expected_value_upper")
        band = _band(low, high)
        style = "bold red" if score is not None and score >= 0.5 else None
        seen, usual = _number(row.get("observed_value")), _number(row.get("expected_value"))
        table.add_row(query, service, seen, usual, band, "" if score is None else f"{score:.2f}", style=style)
    return table


def _band(low: float | None, high: float | None) -> str:
    if low is None:
        return "" if high is None else f"to {_number(high)}"
    return f"from {_number(low)}" if high is None else f"{_number(low)} to {_number(high)}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _line(alert: dict[str, Any]) -> str:
    return f"[red]alert[/] {alert['annotations'].get('summary', '')}"


def _panel(alert: dict[str, Any]) -> Panel:
    labels, notes = alert["labels"], alert["annotations"]
    title = f"{labels['alertname']} in Alertmanager since {alert['startsAt'][11:19]} UTC"
    lines = [f"[bold]{notes.get('summary', '')}", f"labels: {', '.join(f'{k}={v}' for k, v in sorted(labels.items()))}"]
    lines += [f"{name}: {text}" for name, text in sorted(notes.items()) if name != "summary"]
    return Panel("\n".join(lines), title=title, border_style="red", expand=False)


def _where(urls: dict[str, str]) -> Text:
    """Return the addresses to open; Debian's packages have other pages than the releases, or none."""
    graph = "/classic/graph" if _is_there(urls["prometheus"] + "/classic/graph") else "/graph"
    pages = "Debian package" not in str(ask(urls["alertmanager"] + "/"))
    lines = [
        f"Prometheus    {urls['prometheus']}{graph}?g0.expr=anomaly_score&g0.tab=0",
        f"Alertmanager  {urls['alertmanager']}{'/#/alerts' if pages else '/api/v2/alerts'}",
        f"exporter      {urls['exporter']}/",
        f"files         {HOME}/ (configuration, logs, state)",
    ]
    return Text("\n".join(lines), overflow="fold")


def _is_there(url: str) -> bool:
    try:
        ask(url)
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _bars() -> Iterator[Progress]:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bars:
        yield bars


if __name__ == "__main__":
    os.chdir(Path(__file__).resolve().parent.parent)
    sys.exit(main())
