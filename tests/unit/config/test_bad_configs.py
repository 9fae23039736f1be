"""Every file in tests/bad_configs is refused with exactly the lines beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.config.load import load
from exporter.engine.detectors import DETECTORS
from exporter.errors import ConfigError

FOLDER = Path(__file__).parents[2] / "bad_configs"
FILES = sorted(FOLDER.glob("*.yaml"))
DETECTOR_NAMES = ", ".join(detector.model_fields["kind"].default for detector in DETECTORS)
"""Expected lines have `{detectors}` in their place, so that another detector changes none."""
ENVIRONMENT = {"ANOMALY_EXPORTER_EMPTY": ""}


def test_there_are_at_least_a_hundred_bad_files() -> None:
    assert len(FILES) >= 100


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_bad_file_is_refused_with_every_problem_at_its_place(
    file: Path, update_golden: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Messages name files relative to the folder, so that the expected lines are the same everywhere.
    monkeypatch.chdir(FOLDER)
    with pytest.raises(ConfigError) as refused:
        load(file.name, environ=ENVIRONMENT)
    lines = "".join(f"{line}\n" for line in refused.value.lines()).replace(DETECTOR_NAMES, "{detectors}")
    expected = file.with_suffix(".txt")
    if update_golden:
        expected.write_text(lines, encoding="utf-8")
    assert lines == expected.read_text(encoding="utf-8")
