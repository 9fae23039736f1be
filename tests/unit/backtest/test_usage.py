"""What the command line says of a backtest that cannot be."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.cli import main


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers, root.level, logging.raiseExceptions
    yield
    root.handlers, root.level, logging.raiseExceptions = before


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--from=soon"], "--from: not a time: 'soon'"),
        (["--from=1d", "--to=2d"], "--from must be before --to"),
        (["--to=2100-01-01"], "--to lies in the future"),
        (["--query=other"], "--query: no query 'other'; there are: q"),
        (["--max-missed=1"], "need --incidents or --against-alerts"),
        (["--incidents=/none.csv"], "/none.csv: No such file"),
        (["--compare=/none.yaml"], "/none.yaml"),
        (["--incidents=a", "--against-alerts=b"], "choose one"),
        (["--warning-time=long"], "--warning-time: "),
        (["--output.openmetrics=/none/x"], "/none/x: No such file"),
        (["--max-alerts-per-week=many"], "invalid float value"),
    ],
)
def test_what_cannot_be_used_is_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], said: str
) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("queries: [{name: q, expr: up}]")
    try:
        code = main(["backtest", f"--config.file={file}", *flags])
    except SystemExit as ended:
        code = ended.code
    output = capsys.readouterr()
    assert (code, output.out) == (2, "")
    assert said in output.err
