import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from exporter.alerting.alert import AuditEvent
from exporter.store import StoreError, StoreReason
from exporter.store.database import Database
from exporter.store.errors import fault_of
from exporter.store.opening import Schema
from tests.store_values import NOW, a_step, a_transition, an_alert, open_store


def one_table(con: sqlite3.Connection) -> None:
    con.execute("CREATE TABLE t (value)")


SCHEMA = Schema(1, (one_table,))


@pytest.fixture
def database(tmp_path: Path):
    database = Database(tmp_path / "one.db", SCHEMA, synchronous="FULL", at=NOW)
    yield database
    database.close()


def values(database: Database) -> list[object]:
    return [value for (value,) in database.read(lambda con: con.execute("SELECT value FROM t").fetchall())]


def insert(value: object):
    return lambda con: con.execute("INSERT INTO t VALUES (?)", (value,))


@pytest.mark.parametrize(("synchronous", "number"), [("FULL", 2), ("NORMAL", 1)])
def test_the_file_is_in_wal_mode_and_synced_as_asked(tmp_path: Path, synchronous, number: int) -> None:
    database = Database(tmp_path / "one.db", SCHEMA, synchronous=synchronous, at=NOW)
    names = ("journal_mode", "synchronous", "busy_timeout")
    found = database.write(lambda con: [con.execute(f"PRAGMA {name}").fetchone()[0] for name in names])
    database.close()
    assert found == ["wal", number, 5000]


def test_alerts_are_synced_with_every_commit_and_learned_arrays_are_not(tmp_path: Path) -> None:
    with open_store(tmp_path / "state") as store:
        asked = lambda con: con.execute("PRAGMA synchronous").fetchone()[0]  # noqa: E731
        assert (store.alerts.database.write(asked), store.learned_arrays.database.write(asked)) == (2, 1)


def test_everything_is_written_by_one_thread_that_is_not_the_caller(database: Database) -> None:
    with ThreadPoolExecutor(8) as callers:
        names = set(callers.map(lambda _: database.write(lambda con: threading.current_thread().name), range(50)))
    assert len(names) == 1
    assert names != {threading.current_thread().name}


def test_the_connection_refuses_other_threads(database: Database) -> None:
    database.write(lambda con: None)
    with pytest.raises(sqlite3.ProgrammingError, match="thread"):
        database._connection.execute("SELECT 1")  # type: ignore[union-attr]


def test_many_threads_write_and_read_at_once(database: Database) -> None:
    with ThreadPoolExecutor(8) as callers:
        futures = [callers.submit(database.write, insert(number)) for number in range(200)]
        reads = [callers.submit(values, database) for _ in range(50)]
        for future in futures + reads:
            future.result()
    assert sorted(values(database)) == list(range(200))  # type: ignore[type-var]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, sqlite3.OperationalError])
def test_a_fault_in_the_work_rolls_everything_back(database: Database, error: type[BaseException]) -> None:
    def work(con: sqlite3.Connection) -> None:
        insert(1)(con)
        raise error

    with pytest.raises(StoreError if issubclass(error, sqlite3.Error) else error):
        database.write(work)
    database.write(insert(2))
    assert values(database) == [2]


def test_a_reader_sees_one_snapshot(database: Database) -> None:
    database.write(insert(1))

    def read_around_a_write(con: sqlite3.Connection) -> tuple[list[object], list[object]]:
        first = con.execute("SELECT value FROM t").fetchall()
        database.write(insert(2))
        return first, con.execute("SELECT value FROM t").fetchall()

    first, second = database.read(read_around_a_write)
    assert first == second == [(1,)]


def test_a_reader_cannot_write(database: Database) -> None:
    with pytest.raises(StoreError, match="readonly"):
        database.read(insert(1))


def test_an_outside_reader_does_not_fail_a_commit(tmp_path: Path) -> None:
    with open_store(tmp_path / "state") as store:
        store.alerts.commit("q", 60.0, a_step(an_alert()))
        reader = sqlite3.connect(tmp_path / "state" / "anomaly.db", isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM alerts").fetchall()
        assert store.alerts.commit(
            "q", 120.0, a_step(an_alert("f2"), transitions=(a_transition(event=AuditEvent.RESOLVED),))
        )
        assert not store.checkpoint()
        reader.execute("COMMIT")
        assert store.checkpoint()
        reader.close()
        assert store.alerts.database.wal_bytes() == 0


def test_a_lock_from_outside_is_waited_for_and_then_an_error_that_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exporter.store.opening.BUSY_TIMEOUT", 0.05)
    with open_store(tmp_path / "state") as store:
        other = sqlite3.connect(tmp_path / "state" / "anomaly.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError) as caught:
            store.alerts.commit("q", 60.0, a_step(an_alert()))
        assert caught.value.reason is StoreReason.LOCKED
        other.execute("ROLLBACK")
        other.close()
        assert store.alerts.commit("q", 60.0, a_step(an_alert()))


def test_the_log_is_cut_when_it_has_grown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_store(tmp_path / "state") as store:
        store.alerts.commit("q", 60.0, a_step(an_alert()))
        assert store.wal_bytes() > 0
        monkeypatch.setattr("exporter.store.database._WAL_LIMIT", 0)
        store.alerts.commit("q", 120.0, a_step(an_alert("f2")))
        assert store.alerts.database.wal_bytes() == 0
        assert store.size_bytes() > 0


def test_a_log_that_cannot_be_cut_is_no_failed_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exporter.store.database._WAL_LIMIT", 0)
    with open_store(tmp_path / "state") as store:
        reader = sqlite3.connect(tmp_path / "state" / "anomaly.db", isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM alerts").fetchall()
        assert store.alerts.commit("q", 60.0, a_step(an_alert()))
        assert store.wal_bytes() > 0
        reader.close()


def test_close_leaves_one_file_a_database(tmp_path: Path) -> None:
    with open_store(tmp_path / "state") as store:
        store.alerts.commit("q", 60.0, a_step(an_alert()))
    assert {file.name for file in (tmp_path / "state").iterdir()} == {"LOCK", "anomaly.db", "learned.db"}


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(28, "No space left on device"), StoreReason.FULL),
        (OSError(122, "Disk quota exceeded"), StoreReason.FULL),
        (OSError(5, "Input/output error"), StoreReason.IO),
        (sqlite3.OperationalError("no code"), StoreReason.IO),
    ],
    ids=str,
)
def test_faults_have_a_reason_and_name_what_failed(error: OSError | sqlite3.Error, reason: StoreReason) -> None:
    fault = fault_of(error, "cannot write x.db")
    assert fault.reason is reason
    assert fault.message.startswith("cannot write x.db: ")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (sqlite3.SQLITE_FULL, "full"),
        (sqlite3.SQLITE_IOERR_WRITE, "io"),
        (sqlite3.SQLITE_IOERR_FSYNC, "io"),
        (sqlite3.SQLITE_CANTOPEN, "io"),
        (sqlite3.SQLITE_READONLY, "io"),
        (sqlite3.SQLITE_BUSY, "locked"),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, "locked"),
        (sqlite3.SQLITE_LOCKED, "locked"),
        (sqlite3.SQLITE_CORRUPT, "corrupt"),
        (sqlite3.SQLITE_NOTADB, "corrupt"),
    ],
)
def test_each_code_of_sqlite_has_its_reason(code: int, reason: str) -> None:
    error = sqlite3.OperationalError("x")
    error.sqlite_errorcode = code
    assert fault_of(error, "y").reason.value == reason
