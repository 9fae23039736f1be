"""The unit, by systemd-analyze."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from exporter.cli.main import parser
from tests.deploy.tools import DEPLOY, ROOT, run

UNIT = DEPLOY / "systemd" / "anomaly-exporter.service"


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with a program that is there: systemd-analyze looks for it."""
    file = tmp_path / UNIT.name
    file.write_text(UNIT.read_text().replace("/opt/anomaly-exporter/bin/anomaly-exporter", "/bin/true"))
    return file


def test_unit_is_valid(unit: Path) -> None:
    run("systemd-analyze", "verify", "--recursive-errors=yes", "--man=no", unit)


def test_unit_is_really_checked(unit: Path) -> None:
    unit.write_text(unit.read_text().replace("ProtectHome=", "ProtectHoem="))
    assert "ProtectHoem" in run("systemd-analyze", "verify", "--recursive-errors=yes", "--man=no", unit, code=1)


def test_exposure_is_as_low_as_the_documents_say(unit: Path) -> None:
    said = run("systemd-analyze", "security", "--offline=true", unit, code=None)
    [score] = re.findall(r"Overall exposure level for \S+: ([\d.]+) OK", said)
    [documented] = re.findall(r"exposure level ([\d.]+)", (ROOT / "docs" / "security.md").read_text())
    # Another version of systemd weighs other things.
    assert float(score) <= float(documented) + 0.5


def test_processes_that_draw_may_lower_their_priority() -> None:
    allowed: set[str] = set()
    for line in re.findall(r"^SystemCallFilter=(.*)$", UNIT.read_text(), re.MULTILINE):
        names = {name for word in line.removeprefix("~").split() for name in calls(word)}
        allowed = allowed - names if line.startswith("~") else allowed | names
    # nice() of the C library is these two.
    assert {"getpriority", "setpriority"} <= allowed
    assert "sched_setscheduler" not in allowed


def calls(word: str) -> set[str]:
    """The system calls of a word of a filter, which may be the name of a group."""
    if not word.startswith("@"):
        return {word}
    listed = [line.strip() for line in run("systemd-analyze", "syscall-filter", word).splitlines()[1:]]
    return {name for line in listed if line and not line.startswith("#") for name in calls(line)}


def test_flags_exist() -> None:
    known = {flag for action in parser()._actions for flag in action.option_strings}
    [command] = re.findall(r"^ExecStart=(.*)$", UNIT.read_text(), re.MULTILINE)
    assert {word.split("=")[0] for word in command.split()[1:]} <= known
