"""Set the version of a release everywhere (``make release VERSION=1.2.3``)."""

from __future__ import annotations

import re
import sys
from datetime import date
from pathlib import Path

__all__ = ["main", "release"]

ROOT = Path(__file__).parent.parent
_VERSION = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+((a|b|rc)[0-9]+)?")
_PROGRAM = re.compile(r'^__version__ = "(.*)"$', re.MULTILINE)
_UNRELEASED = "## Unreleased\n"


def release(root: Path, version: str, today: date) -> list[Path]:
    """Set `version` in the program, what is deployed, and the changelog; return the files that changed.

    Raises
    ------
    ValueError
        It is no version, or is one already, or there is nothing to release.
    """
    if not _VERSION.fullmatch(version):
        raise ValueError(f"not a version: {version!r}; write 1.2.3 or 1.2.3rc1")
    program = root / "exporter" / "__init__.py"
    match = _PROGRAM.search(program.read_text(encoding="utf-8"))
    if match is None:
        raise ValueError(f"{program} has no version")
    before = match[1]
    changelog = root / "CHANGELOG.md"
    text = changelog.read_text(encoding="utf-8")
    if f"## {version} " in text:
        raise ValueError(f"{version} is in the changelog already")
    if not re.search(rf"^{_UNRELEASED}\s*- ", text, re.MULTILINE):
        raise ValueError("there is nothing under Unreleased in the changelog")
    heading = f"{_UNRELEASED}\n## {version} / {today.isoformat()}\n"
    changes = {changelog: text.replace(_UNRELEASED, heading, 1)}
    for file in (program, *sorted((root / "deploy").rglob("*"))):
        if not file.is_file() or not (file == program or file.suffix in ("", ".yaml", ".yml")):
            continue
        content = file.read_text(encoding="utf-8")
        changed = re.sub(_deployed(before), rf"\g<1>{version}", content)
        changed = _PROGRAM.sub(f'__version__ = "{version}"', changed) if file == program else changed
        if changed != content:
            changes[file] = changed
    for file, content in changes.items():
        file.write_text(content, encoding="utf-8")
    return sorted(changes)


def _deployed(version: str) -> re.Pattern[str]:
    """Return a pattern of the places in deploy/ that have the version of the program."""
    before = r"(anomaly-exporter(?:-workers)?:|newTag: |appVersion: \"?|^version: )"
    return re.compile(before + rf"{re.escape(version)}\b", re.MULTILINE)


def main() -> int:
    """Set the version that is given; returns the exit code."""
    if len(sys.argv) != 2:
        sys.stderr.write("usage: make release VERSION=1.2.3\n")
        return 2
    try:
        changed = release(ROOT, sys.argv[1], date.today())  # noqa: DTZ011 - the date of whoever releases.
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write("".join(f"{file.relative_to(ROOT)}\n" for file in changed))
    return 0


if __name__ == "__main__":
    sys.exit(main())
