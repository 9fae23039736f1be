"""`anomaly-exporter detect` as its users run it, and beside the daemon's own way on a real Prometheus."""

from __future__ import annotations

import csv
import gzip
import io
import json
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from exporter.config.engine_settings import engine_settings
from exporter.config.load import load
from exporter.detect.recorded_series import format_labels
from exporter.engine.engine import Engine
from exporter.engine.together import alone as drive
from exporter.evaluation.history import HistoryRange, learn
from exporter.prometheus import PrometheusApi
from exporter.prometheus.history import grid
from exporter.prometheus.settings import PrometheusSettings
from tests.integration.process import binary
from tests.integration.servers import Prometheus

ROOT = Path(__file__).resolve().parents[2]
START = 1772323200.0
STEP = 300.0
DAY = 288


def detect(*arguments: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "exporter", "detect", *arguments]
    return subprocess.run(command, input=data, capture_output=True, check=False, timeout=120, cwd=ROOT)


def text(values: Iterable[float], step: float = STEP) -> bytes:
    rows = (f"{START + step * index:.0f},{value!r}" for index, value in enumerate(values))
    return "\n".join(["timestamp,value", *rows]).encode()


def daily(rows: int, step: float = STEP, amplitude: float = 20.0) -> list[float]:
    at = START + step * np.arange(rows)
    noise = np.random.default_rng(5).standard_normal(rows)
    return list((100 + amplitude * np.sin(at / 86400 * 2 * np.pi) + noise).tolist())


def scores(values: Iterable[float], tmp_path: Path, step: float = STEP) -> list[float]:
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_bytes(text(values, step))
    done = detect("--input", str(source), "--output", str(target))
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    with target.open() as file:
        return [float(row["anomaly_score"] or "nan") for row in csv.DictReader(file)]


def test_a_clock_that_was_set_back_is_told_and_costs_no_row(tmp_path: Path) -> None:
    """As recorded by a host in local time: an hour that comes twice, and some instants with two values."""
    values = daily(10 * DAY)
    times = START + STEP * np.arange(len(values))
    times[1000:] -= 3600.0
    times[2000:2010] = times[1999]
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    rows = "".join(f"{t:.0f},{v!r}\n" for t, v in zip(times, values, strict=True))
    source.write_text(f"timestamp,value\n{rows}")
    done = detect("--input", str(source), "--output", str(target))
    assert done.returncode == 0
    assert b"line 1002: " in done.stderr
    assert b"scored in the order in which they stand" in done.stderr
    with target.open() as file:
        found = list(csv.DictReader(file))
    assert [float(row["value"]) for row in found] == values
    assert all(row["anomaly_score"] for row in found[200:])


def test_the_columns_of_a_table_are_judged_by_their_queries_and_groups(tmp_path: Path) -> None:
    noise = np.random.default_rng(7).standard_normal((500, 3))
    values = np.array([50.0, 120.0, 1000.0]) * (1.0 + 0.05 * noise)
    values[200:221] *= 1.5
    values[480:486] *= [1.0, 2.0, 0.6]
    rows = (f"{START + 60 * i:.0f},{','.join(map(repr, row))}" for i, row in enumerate(values.tolist()))
    source, target, config = (tmp_path / name for name in ("in.csv", "out.csv", "c.yaml"))
    source.write_text("\n".join(["time,cpu,latency,requests", *rows]))
    names = ["cpu", "latency", "requests"]
    queries = [{"name": name, "expr": name} for name in [*names, "other"]]
    config.write_text(
        json.dumps(
            {
                "prometheus": {"url": "http://localhost:9090"},
                "queries": queries,
                "groups": [{"name": "shop", "queries": names}],
            }
        )
    )
    done = detect("--input", str(source), "--output", str(target), "--config.file", str(config))
    assert (done.returncode, done.stderr) == (0, b"")
    by_series: dict[str, list[dict[str, str]]] = {}
    with target.open() as file:
        for row in csv.DictReader(file):
            by_series.setdefault(row["series"], []).append(row)
    assert list(by_series) == ['{column="cpu"}', '{column="latency"}', '{column="requests"}', '{group="shop"}']
    alerts = [
        (name, index)
        for name, found in by_series.items()
        for index, row in enumerate(found)
        if float(row["anomaly_score"] or "nan") >= 0.5 and not row["suppressed"]
    ]
    assert not [alert for alert in alerts if alert[1] < 480], "the load raises nothing"
    assert {('{group="shop"}', row) for row in range(480, 486)} <= set(alerts)
    assert float(by_series['{group="shop"}'][210]["load_factor"]) == pytest.approx(1.5, rel=0.1)


# ------------------------------------------------------------------ what must be found


def test_a_spike_on_a_daily_shape_is_found_where_it_is(tmp_path: Path) -> None:
    values = daily(600)
    for row in range(480, 486):
        values[row] *= 3
    found = [row for row, score in enumerate(scores(values, tmp_path)) if score >= 0.5]
    assert set(range(480, 486)) <= set(found)
    assert not [row for row in found if row >= 400 and not 480 <= row < 486]


def test_a_spike_on_a_daily_shape_of_hours_is_found_where_it_is(tmp_path: Path) -> None:
    values = daily(700, step=3600.0)
    for row in range(480, 486):
        values[row] += 60.0
    found = [row for row, score in enumerate(scores(values, tmp_path, step=3600.0)) if score >= 0.5]
    assert set(range(480, 486)) <= set(found)


def test_a_drop_to_exactly_zero_is_found(tmp_path: Path) -> None:
    values = daily(10 * DAY)
    values[-3:] = [0.0] * 3
    assert min(scores(values, tmp_path)[-3:]) >= 0.5


def test_a_jump_from_a_constant_is_found_and_the_constant_is_not(tmp_path: Path) -> None:
    found = np.array(scores([5.0] * 1000 + [5.1], tmp_path))
    assert found[-1] >= 0.5
    assert not (found[:-1] >= 0.5).any()
    assert not np.isnan(found[200:]).any()


@pytest.mark.parametrize(
    "days",
    [
        35,
        9,
    ],
    ids="{} days".format,
)
@pytest.mark.parametrize("factor", [2.0, 0.0], ids=["a smaller spike", "a drop to zero"])
def test_the_spike_of_yesterday_does_not_hide_what_is_today(tmp_path: Path, days: int, factor: float) -> None:
    values = daily(days * DAY)
    today = (days - 1) * DAY + 120
    for row in range(today, today + 12):
        values[row - DAY] *= 5
        values[row] *= factor
    found = scores(values, tmp_path)
    assert min(found[today - DAY : today - DAY + 12]) >= 0.5
    assert min(found[today : today + 12]) >= 0.5


def test_a_quiet_series_is_quiet(tmp_path: Path) -> None:
    found = np.array(scores(daily(14 * DAY), tmp_path)[7 * DAY :])
    assert np.mean(found >= 0.5) < 0.02


# ------------------------------------------------------------------ as a command


def test_a_pipe_gives_the_verdict_as_json() -> None:
    done = detect("--input", "-", data=text([*daily(1000), 1000.0]))
    assert (done.returncode, done.stderr) == (0, b"")
    answer = json.loads(done.stdout)
    assert answer["is_anomaly"] is True
    assert answer["observed_value"] == 1000.0


def test_an_empty_value_keeps_its_row_and_the_timestamps_stay(tmp_path: Path) -> None:
    done = detect("--input", "-", "--output-format", "csv", data=b"2026-03-01T00:00:00Z,1\n2026-03-01 00:05,\n")
    assert done.stdout.decode().splitlines()[1:] == ["2026-03-01T00:00:00Z,1,,,,,", "2026-03-01 00:05,,,,,,"]


@pytest.mark.parametrize(
    ("flags", "values", "code"),
    [
        ((), [1000.0], 0),
        (("--fail-on-anomaly",), [1000.0], 1),
        (("--fail-on-anomaly",), [1000.0, 100.0], 1),
        (("--fail-on-anomaly=newest",), [1000.0, 100.0], 0),
        (("--fail-on-anomaly=newest",), [1000.0], 1),
    ],
    ids=["not asked", "any", "any before", "newest is not", "newest is"],
)
def test_the_exit_code_says_whether_there_is_an_anomaly(flags: tuple[str, ...], values: list[float], code: int) -> None:
    assert detect("--input", "-", *flags, data=text([*daily(1000), *values])).returncode == code


def test_the_exit_code_is_good_where_nothing_is_anomalous() -> None:
    assert detect("--input", "-", "--fail-on-anomaly", data=text([5.0] * 100)).returncode == 0


CONFIG = """\
global: {timezone: Europe/Berlin}
queries:
  - {name: strict, expr: a, detection: {detectors: [zscore], quorum: 1}}
  - {name: upward, expr: b, direction: above, min_deviation: 1000}
"""


def test_a_query_of_a_configuration_decides(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG)
    for query, anomalous, kinds in (("strict", True, ["zscore"]), ("upward", False, None)):
        data = text([*daily(1000), 200.0])
        done = detect("--input", "-", "--config.file", str(config), "--query", query, data=data)
        answer = json.loads(done.stdout)
        assert answer["is_anomaly"] is anomalous
        assert kinds is None or list(answer["detectors"]) == kinds


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["--input", "{}/none.csv"], "none.csv: No such file or directory", id="no file"),
        pytest.param(["--input", "{}"], ": Is a directory", id="directory"),
        pytest.param(["--input", "-"], "standard input: it is empty; did the command", id="nothing comes"),
        pytest.param(["--input", "{}/bad.csv"], "bad.csv: line 2: not a number: 'x'", id="bad row"),
        pytest.param(["--input", "{}/ok.csv", "--output", "{}/none/o.csv"], "No such file or directory", id="output"),
        pytest.param(["--input", "{}/ok.csv", "--step", "5"], "--step: not a duration: '5'", id="step"),
        pytest.param(["--input", "{}/ok.csv", "--query", "a"], "--config.file, which is missing", id="query alone"),
        pytest.param(["--input", "{}/ok.csv", "--config.file", "{}/none"], "the file cannot be read", id="no config"),
        pytest.param(
            ["--input", "{}/ok.csv", "--config.file", "{}/c.yaml"], "choose one with --query: a, b", id="which"
        ),
        pytest.param(
            ["--input", "{}/ok.csv", "--config.file", "{}/c.yaml", "--query", "x"], "has no query 'x'", id="no query"
        ),
        pytest.param(["--input", "{}/large.csv"], "large.csv: it is larger than the ", id="larger than memory"),
        pytest.param([], "which samples? anomaly-exporter detect FILE", id="no input"),
    ],
)
def test_what_cannot_be_used_is_told_without_a_traceback(arguments: list[str], message: str, tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text("1,2\n2,x\n")
    (tmp_path / "ok.csv").write_text("1,2\n")
    with (tmp_path / "large.csv").open("wb") as large:
        large.truncate(2**42)
    (tmp_path / "c.yaml").write_text("queries: [{name: a, expr: a}, {name: b, expr: b}]")
    done = detect(*(argument.format(tmp_path) for argument in arguments))
    assert done.returncode == 2
    assert message in done.stderr.decode()
    assert b"Traceback" not in done.stderr
    assert done.stdout == b""


def test_a_reader_may_leave_early() -> None:
    command = f"{sys.executable} -m exporter detect --input - --output-format csv | head -n 1"
    data = text(daily(20_000))
    done = subprocess.run(["sh", "-c", command], input=data, capture_output=True, check=False, cwd=ROOT, timeout=120)
    assert done.stdout.startswith(b"timestamp,value,anomaly_score")
    assert done.stderr == b""


def test_flags_of_the_daemon_are_not_ignored() -> None:
    command = [sys.executable, "-m", "exporter", "--config.file=x", "detect", "--input", "-"]
    done = subprocess.run(command, capture_output=True, check=False, cwd=ROOT, stdin=subprocess.DEVNULL, timeout=60)
    assert done.returncode == 2
    assert b"begin with: anomaly-exporter detect" in done.stderr


def test_it_starts_without_the_servers_and_clients() -> None:
    heavy = ["aiohttp", "apscheduler", "bcrypt", "requests", "rich", "prometheus_client", "structlog", "yaml"]
    program = (
        "import sys; from exporter.cli.main import main; main(['detect', '--input', '-']); "
        f"sys.stderr.write(' '.join(name for name in {heavy} if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], input=b"1,2\n", capture_output=True, check=True, cwd=ROOT)
    assert done.stderr == b""


# ------------------------------------------------------------------ beside the daemon


@pytest.mark.integration
def test_scores_are_bit_for_bit_those_of_the_daemon(prometheus: Prometheus, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(f"prometheus: {{url: '{prometheus.url}'}}\nqueries: [{{name: load, expr: load}}]\n")
    at = START + STEP * np.arange(12 * DAY)
    end = float(at[-1])
    rng = np.random.default_rng(8)
    pushed = []
    for number in range(3):
        values = 100 * (number + 1) * (1 + 0.2 * np.sin(at / 86400 * 2 * np.pi) + 0.01 * rng.standard_normal(len(at)))
        values[-20:-10] *= 2
        there = np.ones(len(at), np.bool_)
        there[1000:1030] = False  # The source was down.
        there[500 * number : 500 * number + 24 * number] = False
        there[: 700 * (number == 2)] = False
        pushed.append(({"__name__": "load", "instance": f"h{number}"}, at[there], values[there]))
    prometheus.push(pushed)

    plan = load(config).config.plans()[0]
    api = PrometheusApi(PrometheusSettings(url=prometheus.url), user_agent="test/1")
    engine = Engine(engine_settings(plan))
    expected: dict[tuple[str, float], tuple[float, float]] = {}

    def history(start: float, until: float, step: float):  # type: ignore[no-untyped-def]
        return api.history("load", start, until, step, timeout=60.0, series=3)

    for block in history(START, end, STEP):
        aligned = engine.align(block.keys, block.values, float(block.times[0]))
        verdicts = engine.run(block.times, aligned.samples, STEP)
        for row, labels in engine.table.items():
            for index in np.flatnonzero(~np.isnan(verdicts.observed[:, row])).tolist():
                scored = float(verdicts.score[index, row]), float(verdicts.upper[index, row])
                expected[format_labels(dict(labels)), float(block.times[index])] = scored
    # It is what the daemon runs when it reads history back.
    again = Engine(engine_settings(plan))
    points: list[int] = []
    drive(learn(again, HistoryRange(START, end, STEP), history, on_progress=points.append))
    assert sum(points) == len(grid(START, end, STEP))
    assert again.at == engine.at
    api.close()
    assert sum(score >= 0.5 for score, _ in expected.values()) >= 30

    form = {"query": "load", "start": str(START), "end": str(end), "step": str(STEP)}
    answer = prometheus.ask("POST", "/api/v1/query_range", data=form).content
    promtool, range_ = binary("promtool"), ["range", "--start", str(START), "--end", str(end), f"--step={STEP:.0f}s"]
    plain = subprocess.run([promtool, "query", *range_, prometheus.url, "load"], capture_output=True, check=True).stdout
    bare = subprocess.run(
        [promtool, "query", "-o", "json", *range_, prometheus.url, "load"], capture_output=True, check=True
    ).stdout
    assert bare.startswith(b"[")
    for data in (answer, plain, bare):
        done = detect("--input", "-", "--output-format", "csv", "--config.file", str(config), data=data)
        assert done.stderr == b""
        rows = list(csv.DictReader(io.StringIO(done.stdout.decode())))
        found = {
            (row["series"], float(row["timestamp"])): tuple(
                float(row[name] or "nan") for name in ("anomaly_score", "expected_value_upper")
            )
            for row in rows
        }
        assert len(rows) == len(found) == len(expected)
        assert str(sorted(found.items())) == str(sorted(expected.items()))
    # One series alone is the same, too.
    one = {"query": 'load{instance="h0"}', "start": str(START), "end": str(end), "step": str(STEP)}
    alone = detect(
        "--input",
        "-",
        "--config.file",
        str(config),
        data=prometheus.ask("POST", "/api/v1/query_range", data=one).content,
    )
    score = json.loads(alone.stdout)["anomaly_score"]
    assert score == expected['load{instance="h0"}', end][0]


@pytest.mark.integration
def test_federated_samples_and_dumps_of_the_storage_are_read(prometheus: Prometheus) -> None:
    now = float(int(time.time()))
    at, values = now - 60.0 + np.arange(60.0), np.arange(60.0)
    prometheus.push([({"__name__": "recent", "instance": "a b", "path": 'x"y\\z'}, at, values)])
    federated = prometheus.ask("GET", "/federate", params={"match[]": "recent"}).content
    dumped = subprocess.run(
        [binary("promtool"), "tsdb", "dump", '--match={__name__="recent"}', str(prometheus.directory / "data")],
        capture_output=True,
        check=True,
    ).stdout
    for data, count in ((federated, 1), (dumped, 60), (gzip.compress(dumped), 60)):
        done = detect("-", "--rows", data=data)
        assert (done.returncode, done.stderr) == (0, b"")
        answer = json.loads(done.stdout)
        assert (len(answer["rows"]), answer["observed_value"]) == (count, 59.0)
        assert answer["series"]["path"] == 'x"y\\z'


def test_the_file_needs_no_flag_and_is_one(tmp_path: Path) -> None:
    file = tmp_path / "samples.csv"
    file.write_bytes(text(range(60)))
    plain, flagged = detect(str(file)), detect("--input", str(file))
    assert (plain.returncode, plain.stdout) == (0, flagged.stdout)
    for wrong in ([], [str(file), "--input", str(file)]):
        assert (detect(*wrong).returncode, b"which samples" in detect(*wrong).stderr) == (2, True)
