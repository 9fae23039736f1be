import contextlib
import sqlite3
from pathlib import Path

import pytest

from exporter.alerting.alert import AlertState, AuditEvent
from exporter.store import Store
from exporter.store.audit import AuditLog
from exporter.store.rows import audit_row
from tests.store_values import NOW, a_step, a_transition, an_alert, append, open_store


@pytest.fixture
def store(tmp_path: Path):
    with open_store(tmp_path / "state") as store:
        yield store


def episode(number: int, *events: tuple[AuditEvent, float], query: str = "q"):
    return [a_transition(f"f{number}", event, at, episode=f"e{number}", query=query) for event, at in events]


def listed(store: Store, **filters: object) -> list[tuple[str, str]]:
    return [(entry.fingerprint, entry.event) for entry in store.audit.page(**filters).entries]


def fill(store: Store, count: int) -> None:
    """Many rows by the way of one statement; the audit of years."""
    rows = (
        audit_row(a_transition(f"f{number % 5000}", at=float(number), query=f"q{number % 20}", episode=str(number)))
        for number in range(count)
    )
    store.alerts.database.write(
        lambda con: con.executemany(
            "INSERT INTO audit (at, query, fingerprint, episode, event, who, why, details, number, crc)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )
    )


def test_an_entry_says_what_happened(store: Store) -> None:
    append(store, [a_transition(event=AuditEvent.FIRING, at=7.5, who="ann", why="é", details={"a": "\ud800"})])
    (entry,) = store.audit.page().entries
    assert (entry.query, entry.fingerprint, entry.episode, entry.event) == ("q", "f1", "f1-1", "firing")
    assert (entry.at, entry.who, entry.why, entry.details, entry.intact) == (7.5, "ann", "é", {"a": "\ud800"}, True)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, ["f3", "f2", "f1"]),
        ({"query": "q"}, ["f2", "f1"]),
        ({"query": "other"}, ["f3"]),
        ({"query": "'\"--; DROP TABLE audit"}, []),
        ({"since": 20.0}, ["f3", "f2"]),
        ({"since": 20.5}, ["f3"]),
        ({"query": "q", "since": 20.0}, ["f2"]),
        ({"limit": 1}, ["f3"]),
    ],
    ids=str,
)
def test_filters_choose_entries_newest_first(store: Store, filters, expected: list[str]) -> None:
    append(store, episode(1, (AuditEvent.OPEN, 10.0)) + episode(2, (AuditEvent.OPEN, 20.0)))
    append(store, episode(3, (AuditEvent.OPEN, 30.0), query="other"))
    assert [name for name, _ in listed(store, **filters)] == expected


@pytest.mark.parametrize("filters", [{}, {"query": "q"}, {"since": 0.0}], ids=str)
def test_pages_follow_each_other_without_a_gap_or_a_repeat(store: Store, filters) -> None:
    # Several entries of one instant: the time alone would not say where a page ended.
    append(store, [step for number in range(25) for step in episode(number, (AuditEvent.OPEN, float(number // 10)))])
    seen, after = [], None
    while True:
        page = store.audit.page(limit=4, after=after, **filters)
        seen += [entry.id for entry in page.entries]
        after = page.next
        if after is None:
            break
    assert len(seen) == len(set(seen)) == 25
    assert seen == sorted(seen, reverse=True)


@pytest.mark.parametrize("limit", [0, -1, 1001, 10**9])
def test_a_limit_out_of_range_is_refused(store: Store, limit: int) -> None:
    with pytest.raises(ValueError, match="between 1 and 1000"):
        store.audit.page(limit=limit)


@pytest.mark.parametrize(
    "filters",
    [{}, {"query": "q7"}, {"since": 10.0}, {"query": "q7", "since": 1e12}, {"after": (500.0, 501)}],
    ids=str,
)
def test_every_listing_goes_by_an_index_and_never_sorts(store: Store, filters) -> None:
    fill(store, 2000)
    database = store.alerts.database
    plans: list[str] = []

    def explain(con: sqlite3.Connection):
        class Explaining:
            def execute(self, text: str, values: tuple[object, ...]) -> sqlite3.Cursor:
                plans.extend(row[3] for row in con.execute(f"EXPLAIN QUERY PLAN {text}", values))
                return con.execute(text, values)

        return Explaining()

    class Observation:
        def read(self, work):
            return database.read(lambda con: work(explain(con)))

    AuditLog(Observation()).page(**filters)  # type: ignore[arg-type]
    assert plans
    assert all("USING INDEX audit_by" in plan for plan in plans), plans


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET why = 'nothing happened'",
        "UPDATE audit SET at = at WHERE id = 3",
        "DELETE FROM audit",
        "DELETE FROM audit WHERE id = 3",
        (
            "INSERT OR REPLACE INTO audit"
            " SELECT id, at, query, 'other', episode, event, who, why, details, number, 0 FROM audit"
        ),
        "DELETE FROM retention",
    ],
)
def test_the_audit_cannot_be_changed_by_a_statement(tmp_path: Path, statement: str) -> None:
    path = tmp_path / "state"
    with open_store(path) as store:
        append(
            store, episode(1, (AuditEvent.OPEN, 1.0), (AuditEvent.RESOLVED, 2.0)) + episode(2, (AuditEvent.OPEN, 50.0))
        )
        store.retain(10.0)
        before = store.audit.page()
        con = sqlite3.connect(path / "anomaly.db", isolation_level=None)
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            con.execute(statement)
        con.close()
        assert store.audit.page() == before


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT OR REPLACE INTO audit SELECT * FROM audit",
        (
            "REPLACE INTO audit"
            " SELECT NULL, at, query, fingerprint, episode, event, who, 'x', details, number, crc FROM audit"
        ),
        "INSERT INTO audit SELECT * FROM audit WHERE true ON CONFLICT DO UPDATE SET why = 'x'",
    ],
)
def test_an_entry_cannot_be_replaced_by_a_newer_one(tmp_path: Path, statement: str) -> None:
    path = tmp_path / "state"
    with open_store(path) as store:
        append(store, episode(1, (AuditEvent.OPEN, 1.0), (AuditEvent.RESOLVED, 2.0)))
        before = store.audit.page()
        con = sqlite3.connect(path / "anomaly.db", isolation_level=None)
        # Left out in silence, or refused where it names an id.
        with contextlib.suppress(sqlite3.IntegrityError):
            con.execute(statement)
        con.close()
        assert store.audit.page() == before


def test_a_row_that_was_changed_past_the_triggers_is_shown_as_such(tmp_path: Path) -> None:
    path = tmp_path / "state"
    with open_store(path) as store:
        append(store, episode(1, (AuditEvent.OPEN, 1.0)) + episode(2, (AuditEvent.OPEN, 2.0)))
    con = sqlite3.connect(path / "anomaly.db", isolation_level=None)
    ((trigger,),) = con.execute("SELECT sql FROM sqlite_master WHERE name = 'audit_is_not_updated'").fetchall()
    con.execute("DROP TRIGGER audit_is_not_updated")
    con.execute("UPDATE audit SET why = x'ff', details = '{' WHERE fingerprint = 'f1'")
    con.execute(trigger)
    con.close()
    with open_store(path) as store:
        assert [(entry.fingerprint, entry.intact) for entry in store.audit.page().entries] == [
            ("f2", True),
            ("f1", False),
        ]


def test_retention_deletes_what_ended_and_keeps_what_is_open(store: Store) -> None:
    old = an_alert("f2", episode="e2")
    store.alerts.commit("q", 60.0, a_step(old))
    append(
        store,
        [
            *episode(1, (AuditEvent.OPEN, 1.0), (AuditEvent.FIRING, 2.0), (AuditEvent.RESOLVED, 3.0)),
            *episode(2, (AuditEvent.OPEN, 1.0), (AuditEvent.FIRING, 2.0)),
            *episode(3, (AuditEvent.OPEN, 1.0), (AuditEvent.RESOLVED, 200.0)),
            *episode(4, (AuditEvent.OPEN, 150.0), (AuditEvent.RESOLVED, 160.0)),
            *episode(5, (AuditEvent.OPEN, 5.0), (AuditEvent.DROPPED, 6.0), query="other"),
        ],
    )
    assert store.retain(100.0) == 5
    assert {name for name, _ in listed(store)} == {"f2", "f3", "f4"}
    assert len(listed(store)) == 6
    assert store.retain(100.0) == 0


def test_retention_is_logged_in_the_database_and_locks_the_audit_again(tmp_path: Path, caplog) -> None:
    path = tmp_path / "state"
    with open_store(path) as store:
        append(
            store,
            [*episode(1, (AuditEvent.OPEN, 1.0), (AuditEvent.RESOLVED, 2.0)), *episode(2, (AuditEvent.OPEN, 3.0))],
        )
        with caplog.at_level("INFO"):
            store.retain(2.5)
        assert "deleted 2 audit rows" in caplog.text
        assert store.retain(2.5) == 0
    con = sqlite3.connect(path / "anomaly.db", isolation_level=None)
    assert con.execute("SELECT at, before, deleted, running FROM retention").fetchall() == [(NOW, 2.5, 2, 0)]
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        con.execute("DELETE FROM audit WHERE at < 2.5 OR 1")
    con.close()


def test_a_resolved_alert_that_is_still_kept_keeps_its_audit(store: Store) -> None:
    store.alerts.commit("q", 60.0, a_step(an_alert("f1", state=AlertState.RESOLVED, resolved_at=50.0, episode="e1")))
    append(store, episode(1, (AuditEvent.OPEN, 1.0), (AuditEvent.RESOLVED, 50.0)))
    assert store.retain(100.0) == 0
    store.alerts.commit("q", 120.0, a_step())
    assert store.retain(100.0) == 2


def test_retention_goes_on_over_many_slices_while_others_write(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exporter.store.audit._SLICE", 0.0)
    monkeypatch.setattr("exporter.store.audit._SCAN", 7)
    fill(store, 50)
    store.alerts.commit("q", 60.0, a_step(an_alert("f3", "q", episode="3")))
    ticks = iter(range(10**6))
    # A clock that allows three rows a slice.
    monkeypatch.setattr("exporter.store.audit.time.monotonic", lambda: next(ticks) / 3e6)
    monkeypatch.setattr("exporter.store.audit._SLICE", 1e-6)
    slices = []
    database = store.alerts.database
    write = database.write
    monkeypatch.setattr(database, "write", lambda work: (slices.append(1), write(work))[1])
    assert store.retain(40.0) == 40
    assert len(slices) > 10
    assert len(listed(store)) == 10
