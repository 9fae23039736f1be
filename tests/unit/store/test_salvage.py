"""What is left of a store that lost a part: every row that is still there."""

from __future__ import annotations

import contextlib
import random
import shutil
import sqlite3
from pathlib import Path

import pytest

from exporter.alerting.alert import AlertState
from exporter.store import Store, StoreError, StoreReason
from exporter.store.pages import PAGE_SIZE, rows_in_pages
from tests.store_values import a_step, a_transition, an_alert, open_store

ALERTS = {f"f{number}": an_alert(f"f{number}", labels={"n": str(number) * 50}) for number in range(100)}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that was closed."""
    path = tmp_path_factory.mktemp("sound") / "state"
    with open_store(path) as store:
        store.alerts.commit("q", 60.0, a_step(*ALERTS.values(), transitions=tuple(map(a_transition, ALERTS))))
        store.deliveries.record("one", [(name, f"{name}-1", AlertState.FIRING) for name in ALERTS], 61.0)
    return path


def damaged(sound: Path, path: Path, change: object) -> Path:
    shutil.copytree(sound, path)
    file = path / "anomaly.db"
    data = bytearray(file.read_bytes())
    file.write_bytes(change(data))  # type: ignore[operator]
    return path


def counts(store: Store) -> tuple[int, int, int]:
    alerts = store.alerts.load().get("q", {})
    assert all(alert == ALERTS[name] for name, alert in alerts.items())
    return len(alerts), len(store.deliveries.load("one")), len(store.audit.page(limit=1000).entries)


@pytest.mark.parametrize("lost", [PAGE_SIZE, PAGE_SIZE + 1])
def test_a_file_that_was_cut_loses_what_was_cut(sound: Path, tmp_path: Path, lost: int) -> None:
    with open_store(damaged(sound, tmp_path / "state", lambda data: data[:-lost])) as store:
        assert counts(store) == (100, 100, 100)
        assert len(store.recovered) == 1
        assert store.impaired
    with open_store(tmp_path / "state") as store:
        assert not store.impaired


@pytest.mark.parametrize("page", range(0, 40, 4))
def test_a_page_that_is_gone_costs_its_own_rows_only(sound: Path, tmp_path: Path, page: int) -> None:
    def change(data: bytearray) -> bytearray:
        noise = random.Random(page).randbytes(PAGE_SIZE) if page % 8 else bytes(PAGE_SIZE)  # noqa: S311 - noise.
        data[page * PAGE_SIZE : (page + 1) * PAGE_SIZE] = noise
        return data

    with open_store(damaged(sound, tmp_path / "state", change)) as store:
        alerts, _, entries = counts(store)
        # Also where the page was the root of a table, or the first of the file.
        assert alerts >= 80
        assert entries >= 40
        assert alerts + entries >= 140


def test_rows_are_read_from_pages_as_sqlite_reads_them(tmp_path: Path) -> None:
    file = tmp_path / "a.db"
    sizes = (0, 5, 500, 5000, 40_000)
    rows = [
        (f"k{number}", b"x" * sizes[number % 5], number / 7 - 3, None, -number * 7**20 % 2**63) for number in range(60)
    ]
    with contextlib.closing(sqlite3.connect(file)) as con, con:
        con.execute("CREATE TABLE a (k TEXT PRIMARY KEY, b BLOB, r REAL, n, i INTEGER) WITHOUT ROWID")
        con.execute("CREATE TABLE t (k TEXT, b BLOB, r REAL, n, i INTEGER)")
        con.executemany("INSERT INTO a VALUES (?, ?, ?, ?, ?)", rows)
        con.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?)", rows)
        con.execute("DELETE FROM t WHERE k > 'k3'")
    found = [values for _, values in rows_in_pages(file.read_bytes()) if len(values) == 5 and values[:1] != ("table",)]
    assert sorted(found) == sorted([*rows, *(row for row in rows if row[0] <= "k3")])


def test_a_lost_log_is_noticed(tmp_path: Path) -> None:
    live, copy = tmp_path / "live", tmp_path / "copy"
    with open_store(live) as store:
        store.alerts.commit("q", 60.0, a_step(*ALERTS.values()))
        shutil.copytree(live, copy)
    (copy / "anomaly.db-wal").unlink()
    with open_store(copy) as store:
        assert store.lost_logs == (copy / "anomaly.db",)
        assert store.impaired
    # And a close is no loss, whatever it removes.
    for path in (live, copy):
        with open_store(path) as store:
            assert store.lost_logs == ()
            assert not store.impaired


@pytest.mark.parametrize("suffix", ["", "-wal"])
def test_a_file_that_is_deleted_while_in_use_comes_back_complete(
    tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "state"
    with open_store(path) as store:
        store.alerts.commit("q", 60.0, a_step(*ALERTS.values()))
        (path / f"anomaly.db{suffix}").unlink()
        store.alerts.commit("q", 120.0, a_step(*ALERTS.values(), transitions=(a_transition("f1"),)))
        assert counts(store) == (100, 0, 1)
        assert store.impaired
        assert [record.message.partition(" ")[2] for record in caplog.records] == [
            "or its write-ahead log was deleted while in use; it was written anew, complete"
        ]
        assert (path / "anomaly.db").stat().st_mode & 0o777 == 0o600
    with open_store(path) as store:
        assert counts(store) == (100, 0, 1)
        assert store.alerts.watermarks().get("q") == 120.0


def test_a_file_that_is_deleted_can_still_be_read(tmp_path: Path) -> None:
    with open_store(tmp_path / "state") as store:
        store.alerts.commit("q", 60.0, a_step(*ALERTS.values()))
        (tmp_path / "state" / "anomaly.db").unlink()
        assert counts(store) == (100, 0, 0)


def test_a_file_in_the_place_of_ours_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "state"
    with open_store(path) as store:
        store.alerts.commit("q", 60.0, a_step(*ALERTS.values()))
        other = path / "other"
        other.write_bytes(b"a backup")
        other.replace(path / "anomaly.db")
        with pytest.raises(StoreError, match="replaced by another file"):
            store.alerts.commit("q", 120.0, a_step(*ALERTS.values()))
        assert (path / "anomaly.db").read_bytes() == b"a backup"


@pytest.fixture
def shorter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exporter.store.opening.BUSY_TIMEOUT", 0.2)
    monkeypatch.setattr("exporter.store.database.BUSY_TIMEOUT", 0.2)


@pytest.mark.usefixtures("shorter")
def test_a_lock_that_stays_is_waited_for_once(tmp_path: Path) -> None:
    path = tmp_path / "state"
    with open_store(path) as store, contextlib.closing(sqlite3.connect(path / "anomaly.db")) as other:
        database = store.alerts.database

        def patience() -> int:
            return database.write(lambda con: int(con.execute("PRAGMA busy_timeout").fetchone()[0]))

        assert patience() == 200
        other.execute("BEGIN IMMEDIATE")
        for _ in range(2):
            with pytest.raises(StoreError) as refused:
                store.alerts.commit("q", 60.0, a_step(*ALERTS.values()))
            assert refused.value.reason is StoreReason.LOCKED
            assert database._connection is not None
            timeouts = database._submit(lambda con: con.execute("PRAGMA busy_timeout").fetchone()[0])
        assert timeouts in (50, 200)
        other.rollback()
        assert store.alerts.commit("q", 60.0, a_step(*ALERTS.values()))
        assert patience() == 200
