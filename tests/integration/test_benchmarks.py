"""Every part of `python -m benchmarks` at a tiny size: that it runs through, not what it measures."""

from __future__ import annotations

import importlib
import re

import pytest

from benchmarks import __main__ as page

pytestmark = pytest.mark.integration

RUNS = {
    "forecast": (["--series", "40", "--disks", "1"], r"predict_linear"),
    "cycle": (["--series", "20", "--cycles", "8"], r"ours with its part of a checkpoint / Prometheus"),
    "capacity": (["--series", "10", "20", "--cycles", "1", "--engine", "10"], r"100,000,000 .*600,000,000"),
    "workers": (["--queries", "1", "--series", "2", "--days", "1", "--workers", "1"], r"the reports are equal"),
    "rules": (["--series", "20", "--minutes", "2", "--warm-up", "8"], r"20 series, .* ratio 1/"),
    "per_series": (["--series", "3", "--fits", "1"], r"statsmodels' STL: .* times as much"),
    "stl": (["--series", "4", "--reference", "1", "--live", "10"], r"largest difference"),
    "engine": (["--series", "20", "--instants", "12", "--alone", "24"], r"one series, one by one"),
    "backfill": (["--series", "2", "--days", "1"], r"ratio \d"),
    "causes": ([], r"dependencies known +1\.0"),
    "drill_down": ([], r"with exactly the label values that were planted"),
    "scrape": (["--series", "20", "--seconds", "0.2"], r"gzip: \d+ scrapes"),
    "backtest": (
        ["--queries", "2", "--days", "0.02", "--window", "2", "--workers", "1"],
        r"2 queries of 1 series, .* us a slot",
    ),
    "together": (["--queries", "3", "--series", "2", "--days", "4"], r"3 queries of 2 series, .* s together"),
    "false_alerts": (
        ["--queries", "2", "--weeks", "4"],
        r"\| all \| \d+ .*\n16 queries of 4 series, 4 weeks",
    ),
    "restart": (["--series", "20"], r"after SIGKILL: .* all 20 series judged"),
}


@pytest.fixture
def quick(monkeypatch):
    """Slots and minutes of a second."""
    monkeypatch.setattr("benchmarks.rules.MINUTE", 1)
    monkeypatch.setattr("benchmarks.restart.INTERVAL", 1)


def test_every_part_of_the_page_is_tried():
    assert RUNS.keys() == {module for _, module, _, _ in page.RUNS}


@pytest.mark.parametrize("module", RUNS)
def test_a_part_runs_through(module, quick, monkeypatch, capsys):
    flags, said = RUNS[module]
    monkeypatch.setattr("sys.argv", [module, *flags])
    assert importlib.import_module(f"benchmarks.{module}").main() == 0
    assert re.search(said, capsys.readouterr().out)


def test_a_part_that_fails_leaves_the_others_and_what_it_said_before(tmp_path, monkeypatch):
    monkeypatch.setattr(page, "PAGE", tmp_path / "performance.md")
    good, bad = ["--series", "3", "--seconds", "0.1"], ["--no-such-flag"]
    runs = (("One", "scrape", good, "About one."), ("Two", "scrape", bad, "About two."))
    monkeypatch.setattr(page, "RUNS", runs)
    monkeypatch.setattr("sys.argv", ["benchmarks"])
    page.PAGE.write_text("## Two\n\n```console\n$ python -m benchmarks.scrape --no-such-flag\nas before\n```\n")
    assert page.main() == 1
    text = page.PAGE.read_text()
    assert "prometheus-client" in text
    assert "as before" in text
