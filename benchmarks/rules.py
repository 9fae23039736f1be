"""What bands by recording rules cost Prometheus, beside what it costs to ask for the series and judge them here.

The rules do, in our own words, what Grafana's adaptive rules do, at their intervals and with their thresholds. Every
minute they select the samples by their labels, kind after kind, take the mean and the standard deviation of the last
hour, leave out the deviations that are less than half of the mean, smooth the others over 26 hours, and record a band:
the widest of what that gives, of half the mean, and of what the same hour was like a day and a week ago, which other
rules record every five minutes. An alert compares. So nine series are recorded for each one. The rule that gives a
series its labels is left out: here they have them. Half of the series vary by more than half their mean, so half of
them have deviations to smooth.

Three Prometheus have the same history and scrape the same source every minute, side by side for real minutes: one
does nothing else, one answers the exporter and scrapes it, one has the rules. What the first one spends is taken off
the others. The rest of the exporter is in the figures as it comes: the checkpoint every fifteen minutes, housekeeping,
waiting. What nobody has in a quarter of an hour is in none of them: Prometheus compacts its blocks every two hours.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from benchmarks.sources import NAME, cpu_seconds, served
from demo.servers import Process, Stopped, ask, exporter, find, free_port, prometheus

__all__ = ["main"]

MINUTE = 60.0
"""Seconds; the test of this benchmark has shorter ones."""
STEP, HOUR = 60.0, 3600.0
KINDS = ("requests", "latency", "errors", "resource")
SELECTED, MEAN, SPREAD, SMOOTH = (f"{NAME}:{name}" for name in ("selected", "mean", "spread", "smooth"))
WIDTH, MARGIN, VARIES, SPARSE = (f"{NAME}:{name}" for name in ("width", "margin", "varies", "sparse"))
LATER = {"upper": f"{NAME}:upper_later", "lower": f"{NAME}:lower_later"}
HISTORY = (
    (NAME, 2 * HOUR, 0.0),
    (SELECTED, 169 * HOUR, 166 * HOUR),
    (SELECTED, 25 * HOUR, 0.0),
    (MEAN, HOUR, 0.0),
    (SPREAD, 26 * HOUR, 0.0),
)
"""What the rules look at: a series from so many seconds ago until so many seconds ago."""


@dataclass(frozen=True, slots=True)
class Trial:
    """The servers of one number of series."""

    series: int
    alone: Process
    queried: Process
    ruled: Process
    daemon: Process

    def spent(self) -> tuple[float, float, float, float]:
        """Return the CPU seconds of each so far."""
        alone, queried, ruled, daemon = (
            cpu_seconds(process.pid) for process in (self.alone, self.queried, self.ruled, self.daemon)
        )
        return alone, queried, ruled, daemon


def main() -> int:
    """Measure and print; returns the exit code."""
    flags = argparse.ArgumentParser(prog="python -m benchmarks.rules", description=__doc__)
    flags.add_argument("--series", type=int, nargs="+", default=[1_000, 4_000], help="all of them side by side")
    flags.add_argument("--minutes", type=int, default=15, help="counted after some that are not; 15 have a checkpoint")
    flags.add_argument("--warm-up", type=float, default=6.0, metavar="MINUTES", help="not counted")
    args = flags.parse_args()
    with tempfile.TemporaryDirectory() as home, ExitStack() as running:
        try:
            trials = []
            for count in args.series:
                folder = Path(home) / str(count)
                folder.mkdir()
                trials.append(_trial(running, folder, count))
            # The first evaluations fill caches, and every scrape has new series.
            time.sleep(args.warm_up * MINUTE)
            for trial in trials:
                _check(trial)
            begin = [trial.spent() for trial in trials]
            time.sleep(args.minutes * MINUTE)
            for trial, before in zip(trials, begin, strict=True):
                _say(trial, *(b - a for a, b in zip(before, trial.spent(), strict=True)), minutes=args.minutes)
                _check(trial)
        except Stopped as fault:
            print(fault)
            return 1
    return 0


def _say(trial: Trial, alone: float, queried: float, ruled: float, daemon: float, *, minutes: int) -> None:
    each = 1000.0 / minutes
    rules, asks = each * (ruled - alone), each * (queried - alone)
    print(
        f"{trial.series:,} series, CPU ms a minute: recording rules {rules:.1f} ({rules / trial.series:.3f} a series); "
        f"Prometheus asked for them and scraping us {asks:.1f} + the exporter {each * daemon:.1f}; "
        f"ratio 1/{rules / (asks + each * daemon):.1f} (Prometheus without either: {each * alone:.1f})"
    )


def _trial(running: ExitStack, home: Path, count: int) -> Trial:
    source, port = _source(running, count), free_port()
    _write_history(home / "data", count, f'instance="{source}",job="bench"')
    minute = f"{MINUTE:g}s"
    rules = home / "rules.yml"
    rules.write_text(json.dumps(_rules()))
    every = {"global": {"scrape_interval": minute, "scrape_timeout": minute, "evaluation_interval": minute}}
    job = {"job_name": "bench", "static_configs": [{"targets": [source]}]}
    scores = {"job_name": "scores", "honor_labels": True, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}

    def start(name: str, **config: object) -> Process:
        (home / name).mkdir()
        shutil.copytree(home / "data", home / name / "data")
        server = prometheus(home / name, home / name / "data", {**every, **config}, free_port())
        running.callback(server.stop)
        server.wait()
        return server

    alone = start("alone", scrape_configs=[job])
    queried = start("asked", scrape_configs=[job, scores])
    ruled = start("ruled", scrape_configs=[job], rule_files=[str(rules)])
    daemon = _exporter(running, home, queried, port)
    return Trial(count, alone, queried, ruled, daemon)


def _source(running: ExitStack, count: int) -> str:
    """Serve the series as they go on, and return the address."""
    rng = np.random.default_rng(1)

    def page() -> str:
        rows = "".join(f'{NAME}{{item="{i}"}} {value!r}\n' for i, value in enumerate(_values(rng, count).tolist()))
        return f"# TYPE {NAME} gauge\n{rows}"

    return served(running, page)


def _labels(item: int) -> str:
    kind = KINDS[item // 2 % len(KINDS)]
    return f'kind="{kind}",path="/api/v1/item/{item}",pod="web-{item % 997}",watch="yes",zone="z{item % 3}"'


def _values(rng: np.random.Generator, count: int) -> np.ndarray:
    """Return a sample of each series: every other one varies by as much as its mean."""
    return np.where(np.arange(count) % 2, rng.lognormal(3.5, 0.9, count), rng.normal(50.0, 2.0, count))


def _write_history(data: Path, count: int, labels: str) -> None:
    """Write blocks with what the rules look at, as they would have recorded it."""
    now, rng = time.time() // STEP * STEP, np.random.default_rng(0)

    def lines(name: str, begin: float, end: float) -> Iterator[str]:
        chosen = ',chosen="yes",way="adaptive"'
        items = range(1, count, 2) if name == SPREAD else range(count)
        at = np.arange(now - begin, now - end, STEP)
        values = np.stack([_values(rng, count) for _ in at])
        for item in items:
            row = f"{name}{{{_labels(item)},{labels}{'' if name == NAME else chosen}}}"
            yield from (f"{row} {v!r} {t}\n" for v, t in zip(values[:, item].tolist(), at.tolist(), strict=True))

    text = data.with_suffix(".txt")
    for part in HISTORY:
        with text.open("w") as out:
            out.writelines(chain([f"# TYPE {part[0]} gauge\n"], lines(*part), ["# EOF\n"]))
        subprocess.run(
            [find("promtool"), "tsdb", "create-blocks-from", "openmetrics", "-q", "--max-block-duration=1500h",
             str(text), str(data)], check=True, capture_output=True,
        )  # fmt: skip
    text.unlink()


def _exporter(running: ExitStack, home: Path, server: Process, port: int) -> Process:
    """Start the exporter as a user would, with an alert on every series."""
    config = home / "config.yaml"
    query = {"name": "bench", "expr": NAME, "interval": f"{MINUTE:g}s", "alert": {"for": "5m"}}
    whole = {"prometheus": {"url": server.url}, "baseline": {"window": "7d"}, "queries": [query]}
    config.write_text(json.dumps(whole))
    daemon = exporter(home, config, port)
    running.callback(daemon.stop)
    daemon.wait()
    return daemon


def _check(trial: Trial) -> None:
    """See that every side does what it is measured for."""
    judged = ask(trial.daemon.url + "/metrics").count("observed_value{")
    shown = _count(trial.queried, "observed_value")
    bands = min(_count(trial.ruled, f"{NAME}:{side}") for side in ("upper", "lower", "upper_later", "lower_later"))
    if min(judged, shown, bands) < trial.series:
        raise Stopped(f"of {trial.series} series {judged} are judged, {shown} scraped, and {bands} have bands by rules")


def _count(server: Process, metric: str) -> int:
    result = ask(f"{server.url}/api/v1/query?query=count({metric})")["data"]["result"]
    return int(result[0]["value"][1]) if result else 0


def _selection() -> str:
    """Return what is watched: the series of each kind, those that are hardly ever there left out, and all others."""

    def of(*kind: str) -> str:
        return "{" + ", ".join(['watch!=""', *kind, 'chosen=""', 'way=~"^$|adaptive"']) + "}"

    kinds = [f'kind="{kind}"' for kind in KINDS]
    there = f"{of(kinds[0])} > 0 unless avg_over_time({of(kinds[0])}[1h]) < on() group_left {SPARSE}"
    return " or ".join([f"({there})", *(f"{of(kind)} > 0" for kind in kinds[1:]), f"{of()} > 0"])


def _rules() -> dict[str, object]:
    def latest(name: str, within: str = "2m") -> str:
        return f"last_over_time({name}[{within}])"

    def named(expr: str, label: str, value: str) -> str:
        return f'label_replace({expr}, "{label}", "{value}", "", "")'

    def times(expr: str, constant: str) -> str:
        return f"{expr} * on() group_left {constant}"

    def band(side: str, sign: str, widest: str) -> str:
        short = f"{latest(MEAN)} {sign} {times(latest(SMOOTH), WIDTH)}"
        margin = f"{latest(MEAN)} {sign} {times(latest(MEAN), MARGIN)}"
        parts = [named(short, "by", "short"), named(margin, "by", "margin"), latest(LATER[side], "10m")]
        return f"{widest} without (by) ({' or '.join(parts)})"

    def later(sign: str, widest: str) -> str:
        def ago(offset: str) -> str:
            hour = f"{SELECTED}[1h] offset {offset}"
            return f"avg_over_time({hour}) {sign} {times(f'stddev_over_time({hour})', WIDTH)}"

        parts = [named(ago("167h30m"), "ago", "week"), named(ago("23h30m"), "ago", "day")]
        return f"{widest} without (ago) ({' or '.join(parts)})"

    level, upper, lower = (f"{NAME}:{name}" for name in ("level", "upper", "lower"))
    constants = {WIDTH: "vector(2)", MARGIN: "vector(0.5)", VARIES: "vector(0.5)", SPARSE: "vector(5/60)"}
    every_minute = {
        MEAN: f"avg_over_time({SELECTED}[1h])",
        SPREAD: f"stddev_over_time({SELECTED}[1h]) > {times(MEAN, VARIES)}",
        SMOOTH: f"avg_over_time({SPREAD}[26h])",
        level: SELECTED,
        lower: f"clamp_min({band('lower', '-', 'min')}, 0)",
        upper: band("upper", "+", "max"),
    }
    every_five = {LATER["upper"]: later("+", "max"), LATER["lower"]: later("-", "min")}
    beyond_band = f"{latest(level)} < {latest(lower)} or {latest(level)} > {latest(upper)}"

    def recorded(rules: dict[str, str]) -> list[dict[str, object]]:
        return [{"record": record, "expr": expr} for record, expr in rules.items()]

    chosen = {"record": SELECTED, "expr": _selection(), "labels": {"chosen": "yes", "way": "adaptive"}}
    return {
        "groups": [
            {"name": "minute", "rules": [*recorded(constants), chosen, *recorded(every_minute)]},
            {"name": "five", "interval": f"{5 * MINUTE:g}s", "rules": recorded(every_five)},
            {"name": "alert", "rules": [{"alert": "Outside", "for": "5m", "expr": beyond_band}]},
        ]
    }


if __name__ == "__main__":
    sys.exit(main())
