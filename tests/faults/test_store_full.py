"""A disk that is full or fails: the caller gets a reason, nothing is torn, and the next commit works by itself."""

import sqlite3
from pathlib import Path

import numpy as np
import pytest

from exporter.store import Store, StoreError, StoreReason
from exporter.store.database import Database
from tests.store_values import (
    UNPRIVILEGED,
    a_step,
    a_transition,
    an_alert,
    directory_for_anybody,
    open_store,
    run_child,
)

LARGE = {"text": "x" * 4000}


def limit_pages(database: Database, pages: int) -> None:
    database.write(lambda con: con.execute(f"PRAGMA max_page_count = {pages}").fetchall())


def pages_of(database: Database) -> int:
    return database.write(lambda con: con.execute("PRAGMA page_count").fetchone()[0])


def large_step(count: int):
    names = [f"f{number}" for number in range(count)]
    return a_step(
        *(an_alert(name, annotations=LARGE) for name in names), transitions=tuple(a_transition(name) for name in names)
    )


def test_a_full_disk_in_a_commit_is_rolled_back_and_passes(tmp_path: Path) -> None:
    with open_store(tmp_path / "state") as store:
        database = store.alerts.database
        store.alerts.commit("q", 60.0, a_step(an_alert()))
        limit_pages(database, pages_of(database) + 3)
        for slot in (120.0, 180.0):
            with pytest.raises(StoreError) as caught:
                store.alerts.commit("q", slot, large_step(200))
            assert caught.value.reason is StoreReason.FULL
        assert store.alerts.load() == {"q": {"f1": an_alert()}}
        assert store.audit.page().entries == ()
        assert store.alerts.watermarks().get("q") == 60.0
        # What is small enough is still written.
        assert store.alerts.commit("q", 185.0, a_step(an_alert("f2")))
        limit_pages(database, 10**6)
        assert store.alerts.commit("q", 240.0, large_step(200))
        assert len(store.audit.page(limit=1000).entries) == 200
    with open_store(tmp_path / "state") as store:
        assert store.recovered == ()
        assert len(store.alerts.load()["q"]) == 200


def test_a_full_disk_in_a_checkpoint_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    with open_store(tmp_path / "state") as store:
        database = store.learned_arrays.database
        store.learned_arrays.save("q", "v", 60.0, {"a": np.zeros(1000), "b": np.zeros(1000)})
        limit_pages(database, pages_of(database) + 3)
        with pytest.raises(StoreError) as caught:
            store.learned_arrays.save("q", "v", 120.0, {"a": np.ones(1000), "b": np.ones(10**6)}, [(0, b"x")])
        assert caught.value.reason is StoreReason.FULL
        learned = store.learned_arrays.load("q", "v")
        assert learned is not None
        assert (learned.at, learned.parts["a"].sum(), learned.series) == (60.0, 0.0, [])
        # The alerts are in another file and go on.
        assert store.alerts.commit("q", 120.0, a_step(an_alert()))
        limit_pages(database, 10**6)
        store.learned_arrays.save("q", "v", 180.0, {"b": np.ones(10**6)})
        assert store.learned_arrays.load("q", "v").at == 180.0  # type: ignore[union-attr]


WRITE_ERROR = """
import resource, sys
from pathlib import Path
from exporter.store import StoreError
from tests.faults.test_store_full import large_step
from tests.store_values import a_step, an_alert, open_store

def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

path = Path(sys.argv[1])
with open_store(path) as store:
    assert store.alerts.commit("q", 60.0, a_step(an_alert()))
    for slot in range(3):
        # The log may grow a little further than it is now.
        limit(store.alerts.database.wal_bytes() + 20_000)
        try:
            store.alerts.commit("q", 120.0 + slot, large_step(100))
            print("committed")
        except StoreError as error:
            print(error.reason)
        limit(resource.RLIM_INFINITY)
        assert store.alerts.watermarks().get("q") == 60.0 + slot / 10
        assert set(store.alerts.load()["q"]) == {"f1"}
        assert store.alerts.commit("q", 60.0 + (slot + 1) / 10, a_step(an_alert()))
    assert store.alerts.commit("q", 240.0, large_step(100))
with open_store(path) as store:
    assert store.recovered == () and store.damaged == ()
    print(len(store.alerts.load()["q"]), len(store.audit.page(limit=1000).entries), store.alerts.watermarks().get("q"))
"""


def test_a_write_error_in_a_commit_is_rolled_back_and_passes(tmp_path: Path) -> None:
    assert run_child(WRITE_ERROR, tmp_path / "state").split() == ["io", "io", "io", "100", "100", "240.0"]


READ_ONLY = (
    UNPRIVILEGED
    + """
with Store.open(path, clock=lambda: 1.0) as store:
    store.alerts.commit("q", 60.0, a_step(an_alert()))
    store.checkpoint()
    # The connection is made anew after an error; nothing of it can be created now.
    (path / "anomaly.db").chmod(0o400)
    store.alerts.database._submit(lambda con: store.alerts.database._roll_back(keep=False))
    try:
        store.alerts.commit("q", 120.0, a_step())
    except StoreError as error:
        print(error.reason)
    # SQLite gave the files beside it the mode that it had.
    for file in path.glob("anomaly.db*"):
        file.chmod(0o600)
    store.alerts.database._submit(lambda con: store.alerts.database._roll_back(keep=False))
    print(store.alerts.commit("q", 120.0, a_step()))
"""
)


def test_a_file_that_turns_read_only_is_an_error_that_passes() -> None:
    with directory_for_anybody() as path:
        assert run_child(READ_ONLY, path).split() == ["io", "True"]


class Failing:
    """A connection whose n-th statement of a kind fails, as a disk would make it fail."""

    def __init__(self, con, beginning: str, error: Exception) -> None:
        self._con, self._beginning, self._error = con, beginning, error

    def execute(self, text: str, *values: object):
        if text.startswith(self._beginning):
            raise self._error
        return self._con.execute(text, *values)

    def __getattr__(self, name: str):
        return getattr(self._con, name)


@pytest.mark.parametrize("beginning", ["BEGIN", "COMMIT", "ROLLBACK", "PRAGMA wal_checkpoint"])
@pytest.mark.parametrize(("code", "reason"), [(10, "io"), (13, "full"), (11, "corrupt"), (5, "locked")])
def test_a_fault_at_any_statement_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, beginning: str, code: int, reason: str
) -> None:
    error = sqlite3.OperationalError("the disk says no")
    error.sqlite_errorcode = code
    monkeypatch.setattr("exporter.store.database._WAL_LIMIT", 0)
    with open_store(tmp_path / "state") as store:
        database = store.alerts.database
        database._connection = Failing(database._connection, beginning, error)  # type: ignore[assignment]
        if beginning == "PRAGMA wal_checkpoint":
            assert store.alerts.commit("q", 60.0, a_step(an_alert()))
            with pytest.raises(StoreError) as caught:
                store.checkpoint()
            assert caught.value.reason.value == reason
        elif beginning == "ROLLBACK":
            with pytest.raises(ZeroDivisionError):
                database.write(lambda con: 1 / 0)
        else:
            with pytest.raises(StoreError) as caught:
                store.alerts.commit("q", 60.0, a_step(an_alert()))
            assert caught.value.reason.value == reason
            assert store.alerts.load() == {}
        if isinstance(database._connection, Failing):
            # The cause is gone; the connection was kept.
            database._connection = database._connection._con
        assert store.alerts.commit("q", 120.0, a_step(an_alert()))
        assert store.alerts.load() == {"q": {"f1": an_alert()}}


def test_a_store_on_a_full_disk_does_not_start_and_says_why(tmp_path: Path) -> None:
    text = """
import resource, sys
from pathlib import Path
from exporter.store import StoreError
from tests.store_values import open_store
resource.setrlimit(resource.RLIMIT_FSIZE, (6000, resource.RLIM_INFINITY))
try:
    open_store(Path(sys.argv[1]))
except StoreError as error:
    print(error.reason, error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
with open_store(Path(sys.argv[1])) as store:
    print(store.recovered)
"""
    said = run_child(text, tmp_path / "state").splitlines()
    assert said[0].startswith("io cannot open")
    assert said[1] == "()"


def test_the_store_of_a_caller_that_fails_is_closed(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), open_store(tmp_path / "state"):
        raise ZeroDivisionError
    Store.open(tmp_path / "state", clock=lambda: 1.0).close()
