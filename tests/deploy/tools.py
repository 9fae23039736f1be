"""The validators: found, or the test is skipped or fails with the reason; and what they said."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.integration.process import binary

__all__ = ["DEPLOY", "ROOT", "documents", "run"]

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"


def run(
    program: str,
    *arguments: str | Path,
    stdin: str | None = None,
    environment: Mapping[str, str] | None = None,
    code: int | None = 0,
) -> str:
    """Run a program that is on PATH; return what it said on both streams. `code` is the exit code that is expected."""
    done = subprocess.run(
        [binary(program), *map(str, arguments)],
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, **(environment or {})},
    )
    assert code is None or done.returncode == code, done.stdout
    return done.stdout


def documents(text: str) -> list[dict[str, Any]]:
    """Return the YAML documents of a text."""
    return [document for document in yaml.safe_load_all(text) if document is not None]
