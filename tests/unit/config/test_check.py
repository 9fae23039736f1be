from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exporter.cli.check import add_parser, run
from exporter.engine.series import key_of
from exporter.prometheus import Frame

QUERY = "queries:\n  - name: a\n    expr: up\n"


def check(*arguments: str) -> int:
    parser = argparse.ArgumentParser(prog="anomaly-exporter")
    add_parser(parser.add_subparsers(required=True))
    args = parser.parse_args(["check", *arguments])
    return int(args.run(args))


def test_a_good_file_is_a_success(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(f"alertmanagers: [{{url: 'http://a'}}, {{url: 'http://b'}}]\n{QUERY}")
    assert check("config", str(file)) == 0
    assert capsys.readouterr() == (f"SUCCESS: {file} is valid: 1 query, 2 Alertmanagers\n", "")


def test_warnings_do_not_make_a_file_bad(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(QUERY + "    alert: {}\n")
    assert check("config", str(file)) == 0
    said = capsys.readouterr()
    assert said.out == f"SUCCESS: {file} is valid: 1 query, 0 Alertmanagers\n"
    assert (
        said.err
        == f"{file}:1:1: warning: alertmanagers: no Alertmanager is given, so alerts are shown here but not sent\n"
    )


def test_every_problem_is_a_line_on_standard_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("queries:\n  - name: 1a\n    expr: up(\n    detection: {quorom: 2}\n")
    assert check("config", str(file)) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines()[1:] == [
        f"{file}:3:11: queries[0].expr: 1:3: '(' is not closed",
        f"{file}:4:17: queries[0].detection.quorom: unknown field; did you mean 'quorum'?",
    ]


def test_a_missing_file_is_a_problem_not_a_crash(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check("config", str(tmp_path / "gone.yaml")) == 1
    assert capsys.readouterr().err.endswith("gone.yaml:1:1: the file cannot be read: No such file or directory\n")


@pytest.mark.parametrize("arguments", [(), ("config",), ("nothing",), ("config", "a", "b"), ("config", "a", "--x")])
def test_wrong_usage_is_exit_code_2(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        check(*arguments)
    assert ended.value.code == 2
    assert "usage:" in capsys.readouterr().err


class Prometheus:
    """Answers every expression with some series."""

    def __init__(self, *series: dict[str, str]) -> None:
        keys = [key_of(tuple(sorted(labels.items()))) for labels in series]
        self.frame = Frame(0.0, keys, np.zeros(len(keys)), np.zeros(len(keys)))

    def check_expression(self, expr: str, *, timeout: float) -> None:
        """All are good."""

    def instant(self, expr: str, at: float, *, timeout: float) -> Frame:
        return self.frame

    def close(self) -> None:
        """Nothing is open."""


def check_against(prometheus: Any, file: Path, text: str) -> int:
    file.write_text("alertmanagers: [{url: 'http://a'}]\n" + text)
    args = argparse.Namespace(file=str(file), query_prometheus=True)
    return run(args, connect=lambda _: prometheus, clock=lambda: 0.0)


def test_series_with_the_alert_of_others_are_said_before_it_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prometheus = Prometheus(*({"pod": f"p{number}", "service": "shop"} for number in range(3)))
    alert = "    alert: {labels: {pod: ''}}\n"
    assert check_against(prometheus, tmp_path / "config.yaml", QUERY + alert) == 0
    assert capsys.readouterr().err.splitlines() == [
        "a: warning: at most 1 alert for 3 series, because labels are the same: 3 series have query=a, service=shop"
    ]


def test_series_that_the_page_cannot_tell_from_others_are_said_and_metrics_are_told_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = [{"__name__": name, "instance": "a"} for name in ("read", "written")]
    assert check_against(Prometheus(*metrics), tmp_path / "config.yaml", QUERY + "    alert: {}\n") == 0
    assert capsys.readouterr().err == ""
    assert check_against(Prometheus({"a.b": "1"}, {"a_b": "1"}), tmp_path / "config.yaml", QUERY) == 0
    assert "1 series has the same labels as others once names are rewritten" in capsys.readouterr().err
