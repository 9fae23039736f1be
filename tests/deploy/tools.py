"""The validators: found, or the test is skipped or fails with the reason; and what they said."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.process import REQUIRED, binary

__all__ = ["DEPLOY", "METRICS", "ROOT", "documents", "npm_tool", "run"]

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
METRICS = set(re.findall(r"^\| `([a-z_]+)`", (ROOT / "docs" / "metrics.md").read_text(), re.MULTILINE))
"""Names of the metrics that the exporter has."""


def npm_tool(name: str) -> Path:
    """Return the path of a program that scripts/validators.sh has installed; skip or fail where it has not."""
    path = ROOT / ".validators" / "node_modules" / ".bin" / name
    if not path.exists():
        say = pytest.fail if os.environ.get(REQUIRED) else pytest.skip
        say(f"{name} is not installed: sh scripts/validators.sh")
    return path


def run(
    program: str,
    *arguments: str | Path,
    stdin: str | None = None,
    code: int | None = 0,
) -> str:
    """Run a program that is on PATH; return what it said on both streams. `code` is the exit code that is expected."""
    own = ROOT / ".validators" / "bin" / program
    done = subprocess.run(
        [str(own) if own.exists() else binary(program), *map(str, arguments)],
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=120,
    )
    assert code is None or done.returncode == code, done.stdout
    return done.stdout


def documents(text: str) -> list[dict[str, Any]]:
    """Return the YAML documents of a text."""
    return [document for document in yaml.safe_load_all(text) if document is not None]
