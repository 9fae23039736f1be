from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from exporter.cli.main import main

DAY = 86400
NOW = 1_760_000_400


def samples(tmp_path: Path, days: int = 9, step: int = 900) -> Path:
    times = NOW - np.arange(days * DAY // step)[::-1] * step
    day = (times - NOW) / DAY
    values = 0.95 + 0.02 * (day - 3) + 0.001 * np.sin(day * 2 * np.pi) + 0.0003 * np.sin(np.arange(len(day)) * 12.9898)
    file = tmp_path / "disk.csv"
    file.write_text("timestamp,value\n" + "".join(f"{t},{v:.6f}\n" for t, v in zip(times, values, strict=True)))
    return file


def run(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    code = main(["detect", *args])
    output = capsys.readouterr()
    return code, output.out, output.err


def test_forecasts_follow_the_newest_sample_step_by_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = samples(tmp_path)
    code, out, _ = run(capsys, "--input", str(file), "--forecast", "1d", "--output-format", "csv")
    assert code == 0
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [int(row["timestamp"]) for row in rows] == [NOW + 900 * at for at in range(1, 97)]
    assert float(rows[-1]["forecast_value"]) == pytest.approx(0.95 - 0.04, abs=0.01)
    for row in rows:
        assert float(row["forecast_value_lower"]) <= float(row["forecast_value"]) <= float(row["forecast_value_upper"])


def test_json_says_when_the_limit_is_reached(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = samples(tmp_path)
    code, out, _ = run(capsys, "--input", str(file), "--forecast", "1h", "--limit", "above:0.95")
    assert code == 0
    answer = json.loads(out)
    assert answer["time_to_limit_seconds"]["0.5"] == pytest.approx(3 * DAY, rel=0.15)
    assert answer["limit"] == {"above": 0.95}
    assert answer["limit_probability"]["probability"] > 0.8
    assert len(answer["forecast"]) == 4
    _, out, _ = run(capsys, "--input", str(file), "--forecast", "1h", "--limit", "below:0.1")
    assert json.loads(out)["time_to_limit_seconds"] == dict.fromkeys(["0.1", "0.5", "0.9"], "+Inf")


def test_limit_and_range_of_a_query_hold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        "queries: [{name: disk, expr: x, valid_range: [0, 0.9], forecast: {limit: {above: 0.9, within: 1d}}}]\n"
    )
    file = samples(tmp_path)
    _, out, _ = run(capsys, "--input", str(file), "--forecast", "3d", "--config.file", str(config))
    answer = json.loads(out)
    assert max(row["forecast_value_upper"] for row in answer["forecast"]) <= 0.9
    assert answer["limit_probability"]["within"] == "1d"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--forecast", "9d"], "--forecast: must be at most 7d"),
        (["--forecast", "x"], "--forecast: not a duration"),
        (["--limit", "above:1"], "--limit is about forecasts"),
        (["--forecast", "1d", "--limit", "over:1"], "--limit: write above:VALUE or below:VALUE"),
        (["--forecast", "1d", "--limit", "above:nan"], "--limit: write above:VALUE or below:VALUE"),
    ],
)
def test_wrong_flags_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], args: list[str], message: str
) -> None:
    code, _, err = run(capsys, "--input", str(samples(tmp_path, days=1)), *args)
    assert code == 2
    assert message in err
