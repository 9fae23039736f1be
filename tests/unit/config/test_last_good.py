"""A start with a wrong file goes on with the configuration that was in force."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from exporter.config.last_good import LastGood
from exporter.errors import ConfigError

GOOD = "prometheus: {basic_auth: {username: a, password_file: secret}}\nqueries: [{name: a, expr: up}]\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    (tmp_path / "state").mkdir()
    (tmp_path / "etc" / "secret").write_text("s")
    path = tmp_path / "etc" / "config.yaml"
    path.write_text(GOOD)
    return path


def test_a_wrong_file_is_replaced_by_what_was_in_force(file: Path, tmp_path: Path) -> None:
    last_good = LastGood(file, tmp_path / "state")
    loaded, mistake = last_good.load()
    assert mistake is None
    last_good.keep()
    file.write_text(GOOD.replace("queries", "querys"))
    again, mistake = LastGood(file, tmp_path / "state").load()
    assert "querys" in str(mistake)
    # Relative paths are still those of the file.
    assert again.config == loaded.config
    [copy] = (tmp_path / "state").iterdir()
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600


def test_without_a_copy_or_with_a_wrong_one_the_mistake_is_that_of_the_file(file: Path, tmp_path: Path) -> None:
    last_good = LastGood(file, tmp_path / "state")
    file.write_text("querys: []\n")
    with pytest.raises(ConfigError, match="querys"):
        last_good.load()
    (tmp_path / "state" / "config.last-good.yaml").write_text("quieries: []\n")
    with pytest.raises(ConfigError, match="querys"):
        last_good.load()


def test_only_what_can_be_loaded_is_kept(file: Path, tmp_path: Path) -> None:
    last_good = LastGood(file, tmp_path / "state")
    last_good.keep()
    file.write_text("querys: []\n")
    last_good.keep()
    assert last_good.load()[0].config.queries[0].name == "a"


def test_a_folder_that_cannot_be_written_to_stops_nothing(file: Path, tmp_path: Path) -> None:
    LastGood(file, tmp_path / "nowhere").keep()
