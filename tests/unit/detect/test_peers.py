"""Recorded samples beside those of their siblings."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from exporter.cli import main


def pods(folder: Path) -> Path:
    """Write samples of eight pods, of which one is 40 % higher in the end."""
    rng = np.random.default_rng(1)
    values = 100.0 * (1.0 + 0.02 * rng.standard_normal((160, 8)))
    values[-5:, 3] *= 1.4
    lines = ["timestamp,pod,value"]
    lines += [
        f"{1_760_313_600 + 300 * instant},p{pod},{value}"
        for instant, row in enumerate(values.tolist())
        for pod, value in enumerate(row)
    ]
    file = folder / "pods.csv"
    file.write_text("\n".join(lines) + "\n")
    return file


def test_what_is_unlike_its_siblings_is_called_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["detect", f"--input={pods(tmp_path)}", "--peers"]) == 0
    results = json.loads(capsys.readouterr().out)["results"]
    severities = {each["series"]["pod"]: each["detectors"]["peers"]["severity"] for each in results}
    assert {pod for pod, severity in severities.items() if severity >= 1.0} == {"p3"}


def test_no_labels_in_common_no_siblings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["detect", f"--input={pods(tmp_path)}", "--peers", "pod"]) == 0
    results = json.loads(capsys.readouterr().out)["results"]
    assert {each["detectors"]["peers"]["severity"] for each in results} == {None}


@pytest.mark.parametrize(
    ("flags", "reason"), [(["--peers=1x"], "write labels"), (["--peers", "--config.file=FILE"], "into the query")]
)
def test_wrong_flags_are_refused(
    flags: list[str], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text('prometheus: {url: "http://127.0.0.1:9090"}\nqueries: [{name: q, expr: up}]\n')
    flags = [flag.replace("FILE", str(config)) for flag in flags]
    assert main(["detect", f"--input={pods(tmp_path)}", *flags]) == 2
    assert reason in capsys.readouterr().err
