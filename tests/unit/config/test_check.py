from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from exporter.cli.check import add_parser

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
