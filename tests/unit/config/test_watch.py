"""Another content of the configuration file, however it comes there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from exporter.config.watch import ConfigWatch


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text("queries: []\n")
    return path


def seen(watch: ConfigWatch) -> bool:
    """Whether a change is seen once the content has been the same in two calls."""
    watch.changed()
    return watch.changed()


def test_an_edit_is_one_change_and_a_wrong_file_is_not_loaded_again_and_again(file: Path) -> None:
    watch = ConfigWatch(file)
    assert not seen(watch)
    file.write_text("queries: [\n")
    assert seen(watch)
    watch.loading()
    assert not seen(watch)
    # Back to what is in force: it has to be loaded, so that it is known to be good.
    file.write_text("queries: []\n")
    assert seen(watch)


def test_a_file_that_is_being_written_waits_until_it_is_whole(file: Path) -> None:
    watch = ConfigWatch(file)
    for text in ("que", "queries:", "queries: [a", "queries: [a]\n"):
        file.write_text(text)
        assert not watch.changed()
    assert watch.changed()


def test_a_touch_is_no_change(file: Path) -> None:
    watch = ConfigWatch(file)
    os.utime(file, (1.0, 1.0))
    assert not seen(watch)


def test_the_link_of_a_configmap_is_swapped(tmp_path: Path) -> None:
    for name, text in (("..1", "a"), ("..2", "b")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text(text)
    data = tmp_path / "..data"
    data.symlink_to("..1")
    (tmp_path / "config.yaml").symlink_to("..data/config.yaml")
    watch = ConfigWatch(tmp_path / "config.yaml")
    (tmp_path / "..data_tmp").symlink_to("..2")
    (tmp_path / "..data_tmp").replace(data)
    assert seen(watch)


def test_a_file_that_is_replaced_or_gone(file: Path, tmp_path: Path) -> None:
    watch = ConfigWatch(file)
    (tmp_path / "new").write_text("queries: [b]\n")
    (tmp_path / "new").replace(file)
    assert seen(watch)
    watch.loading()
    file.unlink()
    assert seen(watch)
    watch.loading()
    assert not seen(watch)


def test_included_files_that_come_change_and_go(file: Path, tmp_path: Path) -> None:
    watch = ConfigWatch(file)
    (tmp_path / "a.queries.yaml").write_text("a")
    watch.included(["*.queries.yaml"])
    assert not seen(watch)
    (tmp_path / "a.queries.yaml").write_text("b")
    assert seen(watch)
    watch.loading()
    (tmp_path / "b.queries.yaml").write_text("b")
    assert seen(watch)
    watch.loading()
    (tmp_path / "a.queries.yaml").unlink()
    assert seen(watch)


def test_a_pipe_is_left_to_who_loads_it(tmp_path: Path) -> None:
    """As of a shell's <(...): its content is there once, and whoever opens an empty one waits."""
    os.mkfifo(tmp_path / "pipe")
    assert not seen(ConfigWatch(tmp_path / "pipe"))
