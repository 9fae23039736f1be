import hashlib
import logging
import shutil
import sqlite3
import stat
from pathlib import Path

import pytest

from exporter.alerting.alert import AlertState, AuditEvent
from exporter.store import StoreError, StoreReason
from exporter.store.learned_arrays import LEARNED_SCHEMA
from exporter.store.opening import Schema, _objects_of, prepare
from exporter.store.schema import ALERTS_SCHEMA
from tests.store_values import NOW, a_step, a_transition, an_alert, open_store


def first(con: sqlite3.Connection) -> None:
    con.execute("CREATE TABLE readings (id INTEGER PRIMARY KEY, text TEXT NOT NULL)")


def second(con: sqlite3.Connection) -> None:
    con.execute("CREATE TABLE measured (id INTEGER PRIMARY KEY, value REAL NOT NULL, unit TEXT NOT NULL DEFAULT 's')")
    con.execute("INSERT INTO measured (id, value) SELECT id, CAST(text AS REAL) FROM readings")
    con.execute("DROP TABLE readings")


V1, V2 = Schema(7, (first,)), Schema(7, (first, second))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "one.db"
    assert prepare(file, V1, at=NOW) is None
    ask(file, "INSERT INTO readings (text) VALUES ('1.5'), ('2.5')")
    return file


def ask(file: Path, text: str) -> list[tuple[object, ...]]:
    con = sqlite3.connect(file, isolation_level=None)
    try:
        return con.execute(text).fetchall()
    finally:
        con.close()


def test_an_old_schema_is_migrated_and_the_old_file_is_kept(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert prepare(file, V2, at=NOW) is None
    assert "from schema version 1 to 2" in caplog.text
    assert ask(file, "SELECT value, unit FROM measured") == [(1.5, "s"), (2.5, "s")]
    assert ask(file, "PRAGMA user_version") == [(2,)]
    kept = file.with_name("one.db.bak-v1")
    assert ask(kept, "SELECT text FROM readings") == [("1.5",), ("2.5",)]
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert prepare(file, V2, at=NOW) is None
    # The copy is a database that the old program takes.
    shutil.copy(kept, file)
    assert prepare(file, V1, at=NOW) is None


def test_a_migration_that_fails_leaves_the_file_as_it_was(file: Path) -> None:
    def broken(con: sqlite3.Connection) -> None:
        con.execute("DROP TABLE readings")
        con.execute("SELECT * FROM nowhere")

    with pytest.raises(StoreError, match="nowhere"):
        prepare(file, Schema(7, (first, broken)), at=NOW)
    assert ask(file, "SELECT text FROM readings") == [("1.5",), ("2.5",)]
    assert prepare(file, V2, at=NOW) is None


def test_a_migration_that_commits_is_a_mistake_that_is_noticed(file: Path) -> None:
    def commits(con: sqlite3.Connection) -> None:
        con.executescript("CREATE TABLE x (a)")

    with pytest.raises(RuntimeError, match="ended the transaction"):
        prepare(file, Schema(7, (first, commits)), at=NOW)


def test_a_newer_schema_is_refused_and_the_file_is_not_touched(file: Path) -> None:
    prepare(file, V2, at=NOW)
    # With something in the log, which an ordinary open and close would move into the file.
    con = sqlite3.connect(file, isolation_level=None)
    con.execute("INSERT INTO measured (value) VALUES (9)")
    copy = file.parent / "copy"
    copy.mkdir()
    for each in file.parent.glob("one.db*"):
        shutil.copy(each, copy)
    con.close()
    before = {name: (copy / name).read_bytes() for name in ("one.db", "one.db-wal")}
    with pytest.raises(StoreError, match="schema version 2, this program knows up to 1") as caught:
        prepare(copy / "one.db", V1, at=NOW)
    assert caught.value.reason is StoreReason.REFUSED
    assert {name: (copy / name).read_bytes() for name in before} == before
    assert list(copy.glob("*corrupt*")) == []


def test_a_newer_store_is_refused_and_names_the_file(tmp_path: Path) -> None:
    with open_store(tmp_path / "state"):
        pass
    for text in ("PRAGMA user_version = 99", "UPDATE schema_version SET version = 99"):
        ask(tmp_path / "state" / "learned.db", text)
    with pytest.raises(StoreError, match=r"learned\.db has schema version 99"):
        open_store(tmp_path / "state")


@pytest.mark.parametrize(
    "change",
    ["PRAGMA user_version = 99", "PRAGMA user_version = 0", "PRAGMA application_id = 1", "DROP TABLE schema_version",
     "DELETE FROM schema_version", "UPDATE schema_version SET version = 'x'"],
)  # fmt: skip
def test_a_header_that_contradicts_itself_is_damage_and_not_a_newer_program(file: Path, change: str) -> None:
    ask(file, change)
    recovery = prepare(file, V1, at=NOW)
    assert recovery is not None
    assert recovery.moved_to.name == "one.db.corrupt-20250615T150640Z"
    assert ask(file, "SELECT * FROM readings") == []
    assert ask(recovery.moved_to, "SELECT text FROM readings") == [("1.5",), ("2.5",)]


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"SQLite format 3\x00", b"hello, this is a text file\n" * 1000, bytes(8192), b"\xff" * 100],
    ids=["empty", "a byte", "magic only", "text", "zeros", "ones"],
)
def test_what_is_not_a_database_is_kept_under_another_name(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "one.db"
    file.write_bytes(content)
    recovery = prepare(file, V1, at=NOW)
    assert recovery is not None
    assert recovery.file == file
    assert recovery.salvaged == 0
    assert recovery.moved_to.read_bytes() == content
    assert ask(file, "SELECT * FROM readings") == []
    assert prepare(file, V1, at=NOW) is None


def test_damage_twice_in_a_second_keeps_both_files(tmp_path: Path) -> None:
    file = tmp_path / "one.db"
    for number in range(3):
        file.write_text(f"text {number}")
        assert prepare(file, V1, at=NOW) is not None
    kept = sorted(tmp_path.glob("*.corrupt-*"))
    assert [path.name[-3:] for path in kept] == ["40Z", "Z.2", "Z.3"]
    assert [path.read_text() for path in kept] == ["text 0", "text 1", "text 2"]


def test_a_log_without_its_database_is_kept_under_another_name(file: Path) -> None:
    con = sqlite3.connect(file, isolation_level=None)
    con.execute("INSERT INTO readings (text) VALUES ('3')")
    log = file.with_name("one.db-wal").read_bytes()
    file.unlink()
    con.close()
    file.with_name("one.db-wal").write_bytes(log)
    recovery = prepare(file, V1, at=NOW)
    assert recovery is not None
    assert recovery.moved_to.with_name(recovery.moved_to.name + "-wal").read_bytes() == log
    assert ask(file, "SELECT * FROM readings") == []


def test_files_of_an_interrupted_start_are_removed(file: Path) -> None:
    for suffix in (".new", ".new-journal", ".new-wal"):
        file.with_name(file.name + suffix).write_text("half")
    prepare(file, V2, at=NOW)
    assert {path.name for path in file.parent.iterdir()} == {"one.db", "one.db.bak-v1"}


def test_a_file_system_without_hard_links_is_good_enough(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("os.link", no_links)
    file.write_text("text")
    recovery = prepare(file, V1, at=NOW)
    assert recovery is not None
    assert recovery.moved_to.read_text() == "text"
    assert ask(file, "SELECT * FROM readings") == []


def test_what_still_reads_is_carried_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "state"
    alert = an_alert()
    with open_store(path) as store:
        store.alerts.commit(
            "q", 60.0, a_step(alert, transitions=(a_transition(), a_transition(event=AuditEvent.FIRING)))
        )
        store.deliveries.record("one", [("f1", "f1-1", AlertState.FIRING)], 61.0)
        before = store.audit.page().entries
    # Damage where no data are.
    ask(path / "anomaly.db", "PRAGMA user_version = 5")
    with open_store(path) as store:
        assert store.alerts.load() == {"q": {"f1": alert}}
        assert store.alerts.watermarks().get("q") == 60.0
        assert set(store.deliveries.load("one")) == {"f1"}
        assert {(entry.event, entry.at, entry.intact) for entry in store.audit.page().entries} == {
            (entry.event, entry.at, True) for entry in before
        }
        (recovery,) = store.recovered
        assert recovery.salvaged == 6
    assert "is damaged" in caplog.text
    with open_store(path) as store:
        assert store.recovered == ()


@pytest.mark.parametrize(
    "change",
    [
        "DROP TRIGGER audit_is_not_updated",
        "DROP INDEX audit_by_query",
        "DROP TABLE deliveries",
        "ALTER TABLE alerts RENAME COLUMN episode TO epysode",
    ],
)
def test_a_file_without_what_this_program_made_is_begun_afresh_with_what_reads(tmp_path: Path, change: str) -> None:
    path = tmp_path / "state"
    with open_store(path) as store:
        store.alerts.commit("q", 60.0, a_step(an_alert(), transitions=(a_transition(),)))
    ask(path / "anomaly.db", change)
    with open_store(path) as store:
        assert "is not as this program made it" in store.recovered[0].why
        assert store.alerts.watermarks().get("q") == 60.0
        assert len(store.audit.page().entries) == 1
        assert store.alerts.commit("q", 120.0, a_step(an_alert()))


def test_what_an_operator_added_to_a_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "state"
    with open_store(path):
        pass
    ask(path / "anomaly.db", "CREATE INDEX mine ON audit (who)")
    with open_store(path) as store:
        assert store.recovered == ()


def test_a_row_that_does_not_hold_is_not_carried_over(tmp_path: Path) -> None:
    path = tmp_path / "state"
    with open_store(path) as store:
        store.alerts.commit("q", 60.0, a_step(an_alert("f1"), an_alert("f2")))
    ask(path / "anomaly.db", "UPDATE alerts SET episode = 'x' WHERE fingerprint = 'f1'")
    ask(path / "anomaly.db", "PRAGMA user_version = 5")
    with open_store(path) as store:
        assert set(store.alerts.load()["q"]) == {"f2"}


@pytest.mark.parametrize(
    ("schema", "digests"),
    [
        (ALERTS_SCHEMA, ["5681b4f8f03ba3f2", "940313e10f851dc3", "da26eef7d841f467", "d7d84a1c0d5be0d1"]),
        (LEARNED_SCHEMA, ["987c87c87797a561"]),
    ],
    ids=["anomaly.db", "learned.db"],
)
def test_the_text_of_a_released_schema_stays_to_the_blank(schema: Schema, digests: list[str]) -> None:
    # A file whose tables have another text counts as damaged: add a version, and its digest here.
    texts = [repr(sorted(_objects_of(schema, version))) for version in range(1, schema.version + 1)]
    assert [hashlib.sha256(text.encode()).hexdigest()[:16] for text in texts] == digests
