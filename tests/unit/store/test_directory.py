import os
import stat
from pathlib import Path

import pytest

from exporter.store import StoreError, StoreReason
from exporter.store.directory import StateDirectory
from tests.store_values import NOBODY, UNPRIVILEGED, directory_for_anybody, open_store, run_child

OPEN_AND_SAY = (
    UNPRIVILEGED
    + """
try:
    Store.open(path, clock=lambda: 1.0).close()
    print("opened")
except StoreError as error:
    print(error.reason, error)
"""
)


def test_a_missing_directory_is_created_for_us_alone(tmp_path: Path) -> None:
    path = tmp_path / "a" / "state"
    with open_store(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.iterdir()}
    assert set(modes.values()) == {0o600}
    assert {"LOCK", "anomaly.db", "learned.db"} <= set(modes)


def test_files_are_private_whatever_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with open_store(tmp_path / "state"):
            assert {stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "state").iterdir()} == {0o600}
    finally:
        os.umask(before)


def test_a_directory_that_others_can_read_is_made_private(tmp_path: Path) -> None:
    path = tmp_path / "state"
    with open_store(path):
        pass
    path.chmod(0o755)
    (path / "anomaly.db").chmod(0o644)
    with open_store(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        assert stat.S_IMODE((path / "anomaly.db").stat().st_mode) == 0o600


def test_a_directory_that_everybody_can_write_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state"
    path.mkdir()
    path.chmod(0o777)
    with pytest.raises(StoreError, match="writable for everybody"):
        open_store(path)
    assert list(path.iterdir()) == []


def test_a_symbolic_link_to_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "state").symlink_to(tmp_path / "real")
    with pytest.raises(StoreError, match="symbolic link"):
        open_store(tmp_path / "state")


@pytest.mark.parametrize("name", ["anomaly.db", "learned.db", "anomaly.db-wal", "learned.db-shm"])
def test_a_symbolic_link_in_place_of_a_file_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "state"
    path.mkdir(mode=0o700)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (path / name).symlink_to(victim)
    with pytest.raises(StoreError, match="not a regular file"):
        open_store(path)
    assert victim.read_text() == "precious"


def test_a_symbolic_link_in_place_of_the_lock_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state"
    path.mkdir(mode=0o700)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (path / "LOCK").symlink_to(victim)
    with pytest.raises(StoreError, match="LOCK"):
        open_store(path)
    assert victim.read_text() == "precious"


def test_a_file_in_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(StoreError, match="not a directory"):
        open_store(tmp_path / "state")


def test_the_directory_of_another_user_is_refused(tmp_path: Path) -> None:
    path = Path("/etc")
    if os.geteuid() == 0:
        path = tmp_path / "state"
        path.mkdir(mode=0o700)
        os.chown(path, NOBODY, NOBODY)
    with pytest.raises(StoreError, match="belongs to user"):
        open_store(path)


def test_the_file_of_another_user_is_refused(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    with open_store(tmp_path / "state"):
        pass
    os.chown(tmp_path / "state" / "learned.db", NOBODY, NOBODY)
    with pytest.raises(StoreError, match="belongs to user"):
        open_store(tmp_path / "state")


def test_a_read_only_directory_is_refused_with_a_sentence() -> None:
    with directory_for_anybody() as path:
        path.chmod(0o500)
        said = run_child(OPEN_AND_SAY, path)
    assert said.startswith("refused")
    assert "read-only" in said


def test_a_directory_that_cannot_be_created_is_refused_with_a_sentence() -> None:
    with directory_for_anybody() as path:
        path.chmod(0o500)
        said = run_child(OPEN_AND_SAY, path / "below")
    assert said.startswith("refused")
    assert "must be writable" in said


def test_a_read_only_database_is_refused_with_a_sentence() -> None:
    with directory_for_anybody() as path:
        assert run_child(OPEN_AND_SAY, path) == "opened\n"
        (path / "anomaly.db").chmod(0o400)
        said = run_child(OPEN_AND_SAY, path)
    assert said.startswith("refused")
    assert "anomaly.db is read-only" in said


def test_a_log_that_was_made_while_the_database_was_read_only_is_made_writable() -> None:
    with directory_for_anybody() as path:
        assert run_child(OPEN_AND_SAY, path) == "opened\n"
        (path / "anomaly.db-wal").touch(mode=0o400)
        if os.geteuid() == 0:
            os.chown(path / "anomaly.db-wal", NOBODY, NOBODY)
        assert run_child(OPEN_AND_SAY, path) == "opened\n"


def test_an_unprivileged_process_can_use_the_store() -> None:
    with directory_for_anybody() as path:
        assert run_child(OPEN_AND_SAY, path) == "opened\n"
        assert run_child(OPEN_AND_SAY, path) == "opened\n"


def test_a_second_instance_is_told_which_process_holds_the_state(tmp_path: Path) -> None:
    text = """
import sys
from pathlib import Path
from exporter.store import Store, StoreError
try:
    Store.open(Path(sys.argv[1]), clock=lambda: 1.0)
except StoreError as error:
    print(error.reason, error)
"""
    with open_store(tmp_path / "state"):
        said = run_child(text, tmp_path / "state")
    assert said.startswith("locked")
    assert f"in use by process {os.getpid()}" in said


def test_the_lock_is_free_after_close_and_after_a_failed_open(tmp_path: Path) -> None:
    path = tmp_path / "state"
    with open_store(path):
        pass
    (path / "learned.db").unlink()
    (path / "learned.db").mkdir()
    with pytest.raises(StoreError, match="not a regular file"):
        open_store(path)
    (path / "learned.db").rmdir()
    with open_store(path) as store:
        assert store.recovered == ()


def test_a_stale_lock_file_does_not_prevent_a_start(tmp_path: Path) -> None:
    path = tmp_path / "state"
    path.mkdir(mode=0o700)
    (path / "LOCK").write_text("12345\n")
    with open_store(path):
        assert (path / "LOCK").read_text() == f"{os.getpid()} open\n"


def test_the_holder_is_unknown_where_the_lock_file_does_not_say(tmp_path: Path) -> None:
    with StateDirectory.open(tmp_path / "state"):
        (tmp_path / "state" / "LOCK").write_text("")
        with pytest.raises(StoreError, match="in use by another process") as caught:
            StateDirectory.open(tmp_path / "state")
    assert caught.value.reason is StoreReason.LOCKED


def test_closing_twice_does_nothing(tmp_path: Path) -> None:
    directory = StateDirectory.open(tmp_path / "state")
    directory.close()
    directory.close()
