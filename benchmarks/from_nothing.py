"""From an empty folder to alerts: install, suggest, start, and what the last week would have been like.

A real Prometheus has four weeks of seven exporters (benchmarks/fleet.py), its own metrics, and those of a real
node_exporter where there is one. No line of the configuration is written by hand.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import yaml

from benchmarks.fleet import DAY, Fleet, Incident
from benchmarks.sources import cpu_seconds, served
from demo.servers import Process, Stopped, alertmanager, ask, find, free_port, prometheus

__all__ = ["main"]

ROOT = Path(__file__).parent.parent
SIGNALS = {
    "node": ["node_cpu_seconds", "node_memory_MemAvailable", "node_disk_io_time", "node_network_receive", "node_load",
             "node_nf_conntrack", "node_filesystem_avail", "node_filesystem_files"],
    "kube-state-metrics": ["kube_pod_status_ready", "restarts_total", "kube_job_status", "hpa|horizontalpodautoscaler",
                           'phase="Pending"'],
    "postgres": ["xact_commit", "xact_rollback.*/", "pg_stat_activity_count", "n_dead_tup", "deadlocks",
                 "pg_replication_lag"],
    "redis": ["commands_processed", "keyspace_hits.*/", "evicted_keys", "memory_used", "connected_clients"],
    "kafka": ["consumergroup_lag", "in_sync_replica", "bytesin", "bytesout", "totaltimems"],
    "traefik": ["requests_total", "5\\.\\..*/", "duration_seconds_bucket", "open_connections"],
    "app": ["gc_pause", "jvm_memory_used", "jvm_threads", "request_duration_seconds_bucket",
            "request_duration_seconds_count.*5\\.\\..*/"],
}  # fmt: skip
"""What deserves to be learned of each exporter, as patterns of PromQL."""


def main() -> int:
    """Measure and print; returns the exit code."""
    flags = argparse.ArgumentParser(prog="python -m benchmarks.from_nothing", description=__doc__)
    flags.add_argument("--installed", action="store_true", help="use this Python instead of a fresh environment")
    flags.add_argument("--no-week", action="store_true", help="end when all queries have scores")
    flags.add_argument("--young", action="store_true", help="on a Prometheus that was started a minute ago instead")
    flags.add_argument("--keep", type=Path, metavar="DIR", help="leave configuration and logs here")
    args = flags.parse_args()
    with ExitStack() as running:
        home = args.keep or Path(running.enter_context(tempfile.TemporaryDirectory()))
        home.mkdir(parents=True, exist_ok=True)
        if args.young:
            _measure_young(running, home.resolve())
        else:
            _measure(running, home.resolve(), installed=args.installed, week=not args.no_week)
    return 0


def _measure_young(running: ExitStack, home: Path) -> None:
    """Start a Prometheus, wait a minute, and watch a quarter of an hour of what is suggested, at slots of 5 s."""
    now = time.time() // 5.0 * 5.0
    fleet = Fleet(now - 60.0, now + DAY / 4, now, step=5.0)
    server = _prometheus(running, home, fleet, interval="5s", history=False)
    am = _started(running, alertmanager(home, free_port()))
    time.sleep(60.0)
    config, program = home / "config.yaml", [sys.executable, "-m", "exporter"]
    with _timed("suggest"):
        urls = [f"--prometheus.url={server.url}", f"--alertmanager.url={am.url}"]
        print(_run([*program, "suggest", *urls, "--output", str(config)]).strip())
    written = yaml.safe_load(config.read_text())
    for query in written["queries"]:
        query["interval"] = "5s"
    config.write_text(yaml.safe_dump(written))
    port = free_port()
    flags = [f"--config.file={config}", f"--storage.path={home / 'data'}", f"--web.listen-address=127.0.0.1:{port}"]
    daemon = Process("anomaly-exporter", [*program, *flags], port, home / "anomaly-exporter.log")
    running.callback(daemon.stop)
    daemon.wait(seconds=120)
    begin, slots, first = time.monotonic(), 5.0, {}
    names = {query["name"] for query in written["queries"]}
    while time.monotonic() - begin < 900.0 and daemon.check() is None:
        page = str(ask(daemon.url + "/metrics"))
        cycles = dict(re.findall(r'^anomaly_exporter_cycles_total\{query="([^"]+)"\} (\S+)', page, re.MULTILINE))
        for name in set(re.findall(r'^anomaly_score\{.*query="([^"]+)"', page, re.MULTILINE)) - first.keys():
            first[name] = float(cycles[name])
        time.sleep(slots / 2)
    late = ", ".join(f"{name} {count:.0f}" for name, count in sorted(first.items()) if count > 12)
    print(f"{len(first)} of {len(names)} queries have scores; first after more than 12 slots: {late or 'none'}")
    print(f"no score: {', '.join(sorted(names - first.keys())) or 'none'}")
    high = set(re.findall(r'^anomaly_score\{.*query="([^"]+)".*\} (?:0\.[5-9]\S*|1\.0)$', page, re.MULTILINE))
    print(f"anomalous now: {', '.join(sorted(high)) or 'none'}; alerts: {len(ask(am.url + '/api/v2/alerts'))}")


def _measure(running: ExitStack, home: Path, *, installed: bool, week: bool) -> None:
    now = time.time() // 60.0 * 60.0
    fleet = Fleet(now - 28 * DAY, now + DAY / 2, now)
    samples = fleet.history(home / "history.om")
    server = _prometheus(running, home, fleet)
    am = _started(running, alertmanager(home, free_port()))
    print(f"{sum(map(len, fleet.rows.values())):,} series, {samples:,} samples of four weeks in Prometheus")

    program = [sys.executable, "-m", "exporter"]
    begin = time.monotonic()
    if not installed:
        with _timed("pip install"):
            _run([sys.executable, "-m", "venv", str(home / "venv")])
            _run([str(home / "venv" / "bin" / "pip"), "install", "--quiet", str(ROOT)])
        program = [str(home / "venv" / "bin" / "anomaly-exporter")]
    config = home / "config.yaml"
    with _timed("suggest"):
        urls = [f"--prometheus.url={server.url}", f"--alertmanager.url={am.url}"]
        print(_run([*program, "suggest", *urls, "--output", str(config)]).strip())
    port = free_port()
    flags = [f"--config.file={config}", f"--storage.path={home / 'data'}", f"--web.listen-address=127.0.0.1:{port}"]
    with _timed("start until all history is learned"):
        daemon = Process("anomaly-exporter", [*program, *flags], port, home / "anomaly-exporter.log")
        running.callback(daemon.stop)
        daemon.wait(seconds=120)
        _until_history_is_read(daemon)
    print(f"CPU of it: {cpu_seconds(daemon.pid):.0f} s, beside processes that judge")
    _until_scored(daemon, len(yaml.safe_load(config.read_text())["queries"]))
    print(f"all of it: {time.monotonic() - begin:.0f} s; {len(_scored(daemon))} queries have scores")
    print(f"alerts in Alertmanager: {len(ask(am.url + '/api/v2/alerts'))}")
    daemon.stop()

    _coverage(config)
    if week:
        _week(program, home, config, fleet)


def _prometheus(
    running: ExitStack, home: Path, fleet: Fleet, interval: str = "60s", *, history: bool = True
) -> Process:
    data, text = home / "prometheus", home / "history.om"
    if history:
        command = [find("promtool"), "tsdb", "create-blocks-from", "openmetrics", "--quiet"]
        _run([*command, "--max-block-duration=800h", str(text), str(data)])
        text.unlink()

    def job(name: str, address: str, instance: str) -> dict[str, Any]:
        static = {"targets": [address], "labels": {"instance": instance}}
        return {"job_name": name, "honor_labels": True, "static_configs": [static]}

    jobs = [
        job(each, served(running, lambda each=each: fleet.page(each, time.time())), f"{each}:1") for each in fleet.rows
    ]
    port = free_port()
    jobs.append(job("prometheus", f"127.0.0.1:{port}", "prometheus:9090"))
    try:
        address = f"127.0.0.1:{free_port()}"
        node = Process("node_exporter", [find("prometheus-node-exporter", "node_exporter"),
                       f"--web.listen-address={address}"], int(address[10:]), home / "node.log")  # fmt: skip
        running.callback(node.stop)
        jobs.append(job("node-here", address, "here:9100"))
    except Stopped as fault:
        print(fault)
    config = {"global": {"scrape_interval": interval, "scrape_timeout": "5s"}, "scrape_configs": jobs}
    server = _started(running, prometheus(home, data, config, port))
    end = time.monotonic() + 120
    while time.monotonic() < end and not ask(f"{server.url}/api/v1/metadata?limit=1")["data"]:
        time.sleep(1.0)
    return server


def _until_history_is_read(daemon: Process) -> None:
    """Wait until the history of every query is learned and its newest slot is judged."""
    while True:
        text = str(ask(daemon.url + "/metrics"))
        parts = re.findall(r"^anomaly_exporter_backfill_progress_ratio\{.*\} (\S+)$", text, re.MULTILINE)
        if "no scores so far" not in str(ask(daemon.url + "/-/ready")) and set(map(float, parts)) <= {1.0}:
            return
        daemon.check()
        time.sleep(1.0)


def _until_scored(daemon: Process, queries: int) -> None:
    """Wait until the next slot of every query was judged; some have no series now, and the longest interval is 15 m."""
    end = time.monotonic() + 120.0
    while len(_scored(daemon)) < queries and time.monotonic() < end:
        daemon.check()
        time.sleep(1.0)


def _scored(daemon: Process) -> set[str]:
    page = str(ask(daemon.url + "/metrics"))
    return set(re.findall(r'^anomaly_score\{.*query="([^"]+)"', page, re.MULTILINE))


def _coverage(config: Path) -> None:
    exprs = [" ".join(query["expr"].split()) for query in yaml.safe_load(config.read_text())["queries"]]
    missing, total = [], 0
    for exporter, patterns in SIGNALS.items():
        total += len(patterns)
        missing += [f"{exporter}: {each}" for each in patterns if not any(re.search(each, expr) for expr in exprs)]
    print(f"golden signals: {total - len(missing)} of {total}; missing: {', '.join(missing) or 'none'}")


def _week(program: Sequence[str], home: Path, config: Path, fleet: Fleet) -> None:
    """Replay the last week; say which alerts were about an incident and which were not."""
    incidents = home / "incidents.csv"
    rows = [f"{each.start:.0f},{each.end:.0f},{each.name}" for each in fleet.incidents]
    incidents.write_text("\n".join(["start,end,name", *rows, ""]))
    written = yaml.safe_load(config.read_text())
    # Those that alert, and those of groups, which do.
    names = dict.fromkeys(query["name"] for query in written["queries"] if "alert" in query)
    names |= dict.fromkeys(name for group in written.get("groups", ()) for name in group["queries"])
    flags = [f"--config.file={config}", f"--from={fleet.now - 7 * DAY:.0f}", f"--to={fleet.now:.0f}", "--format=json"]
    with _timed(f"backtest of the last week, {len(names)} queries"):
        chosen = [f"--query={name}" for name in names]
        report = json.loads(_run([*program, "backtest", *flags, f"--incidents={incidents}", *chosen], seconds=7200))
    for line in verdict(report["new"]["alerts"], fleet.incidents):
        print(line)


def verdict(alerts: Sequence[Mapping[str, Any]], incidents: Sequence[Incident]) -> Iterator[str]:
    """Say which alerts were about an incident, and which about none. One ends an hour after the metrics are well."""
    notified = [alert for alert in alerts if alert["notified_at"] is not None]
    left = list(notified)
    for incident in incidents:
        about = [alert for alert in notified if incident.start <= alert["notified_at"] <= incident.end + 3600.0]
        left = [alert for alert in left if alert not in about]
        names = ", ".join(sorted({alert["query"] for alert in about}))
        late = f", first after {(about[0]['notified_at'] - incident.start) / 60:.0f} min" if about else ""
        yield f"{incident.name}: {len(about)} alerts ({names or 'MISSED'}){late}"
    yield f"false alarms: {len(left)}" + "".join(f"\n  {alert['query']} {alert['labels']}" for alert in left)


@contextmanager
def _timed(what: str) -> Iterator[None]:
    begin = time.monotonic()
    yield
    print(f"{what}: {time.monotonic() - begin:.0f} s", flush=True)


def _started(running: ExitStack, process: Process) -> Process:
    running.callback(process.stop)
    process.wait()
    return process


def _run(command: Sequence[str], seconds: float = 900) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds)
    if done.returncode not in (0, 1):
        raise Stopped(f"{' '.join(command)}:\n{done.stdout}\n{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
