"""SIGKILL at random instants: nothing is torn, nothing that was acknowledged is lost."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from exporter.store import Store
from exporter.store.opening import Schema, prepare
from tests.faults.crashing import Nursery
from tests.store_values import NOW, chance, open_store

KILLS = int(os.environ.get("STORE_KILLS", "60"))
SEED = 20261122

COMMIT_IMPORTS = """
from pathlib import Path
import numpy as np
from exporter.alerting.episode import Feedback
from exporter.store import Store, arrays
from tests.store_values import a_step, a_transition, an_alert, open_store
arrays.PIECE = 4096
"""
# Each slot writes its number into every row, so that a step that was applied by half shows.
COMMIT = """
    with open_store(Path(argument)) as store:
        os.write(1, b"open\\n")
        assert store.recovered == () and store.damaged == ()
        number = int(store.alerts.watermarks().get("q") or 0)
        while True:
            number += 1
            names = [f"f{index}" for index in range(5)]
            step = a_step(
                *(an_alert(name, evaluated_at=float(number), episode=f"e{number}") for name in names),
                transitions=tuple(a_transition(name, episode=f"e{number}", at=float(number)) for name in names),
            )
            assert store.alerts.commit("q", float(number), step)
            os.write(1, b"alerts %d\\n" % number)
            if number % 4 == 0:
                store.episodes.acknowledge(f"e{number}", at=number + 0.25, who="ann", why="on it")
                store.episodes.give_feedback(
                    f"e{number}", Feedback.NEW_NORMAL, at=number + 0.5, who="ann", comment="grown"
                )
                os.write(1, b"said %d\\n" % number)
            parts = {name: np.full(5000, number, np.float64) for name in "ab"}
            store.learned_arrays.save("q", "v", float(number), parts, [(0, b"%d" % number)])
            os.write(1, b"learned %d\\n" % number)
"""


def check(store: Store, acknowledged: dict[str, int], answered: set[int], before: int) -> int:
    """Everything that must hold after a kill; returns the watermark."""
    assert store.recovered == ()
    assert store.damaged == ()
    reached = int(store.alerts.watermarks().get("q") or 0)
    assert reached >= max(before, acknowledged["alerts"])
    alerts = store.alerts.load().get("q", {})
    assert {(alert.evaluated_at, alert.episode) for alert in alerts.values()} <= {(float(reached), f"e{reached}")}
    assert len(alerts) == (5 if reached else 0)
    events = store.alerts.database.read(
        lambda con: con.execute("SELECT at, count(*) FROM audit WHERE event='open' GROUP BY at ORDER BY at").fetchall()
    )
    assert events == [(float(number), 5) for number in range(1, reached + 1)]
    # What people were told is done is in the audit, in the episode, and waits to be taught.
    said = store.alerts.database.read(
        lambda con: con.execute(
            "SELECT id, feedback_at, acknowledged_at, EXISTS (SELECT 1 FROM lessons WHERE episode=id),"
            " (SELECT count(*) FROM audit WHERE episode=episodes.id AND event IN ('acknowledged', 'feedback'))"
            " FROM episodes"
        ).fetchall()
    )
    assert {name for name, *_ in said} == {f"e{number}" for number in range(1, reached + 1)}
    for name, feedback, acknowledgement, lesson, entries in said:
        assert (feedback is not None) == bool(lesson)
        assert (feedback is not None) + (acknowledgement is not None) == entries
        assert lesson or int(name[1:]) not in answered
    learned = store.learned_arrays.load("q", "v")
    if learned is None:
        assert acknowledged["learned"] == 0
        return reached
    assert learned.damaged == ()
    assert acknowledged["learned"] <= learned.at <= reached
    assert learned.series == [(0, b"%d" % learned.at)]
    for part in learned.parts.values():
        np.testing.assert_array_equal(part, np.full(5000, learned.at))
    return reached


@pytest.mark.timeout(600)
def test_kills_at_random_instants_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "state"
    luck = chance(SEED)
    acknowledged = {"alerts": 0, "said": 0, "learned": 0}
    answered: set[int] = set()
    reached = 0
    with Nursery(COMMIT_IMPORTS, COMMIT) as nursery:
        for kill in range(KILLS):
            for line in nursery.run(str(path), luck.uniform(0.0, 0.08)):
                kind, _, number = line.partition(" ")
                if number:
                    # The child goes on from the watermark it found: an acknowledged slot never comes twice.
                    assert int(number) > acknowledged[kind]
                    acknowledged[kind] = int(number)
                    if kind == "said":
                        answered.add(int(number))
            # Every other time it is the next child that finds what this one left, write-ahead log and all.
            if kill % 2 or kill == KILLS - 1:
                with open_store(path) as store:
                    reached = check(store, acknowledged, answered, reached)
    print(f"{KILLS} kills (seed {SEED}): {reached} slots, acknowledged {acknowledged}")
    assert acknowledged["alerts"] >= KILLS
    assert len(answered) >= KILLS // 8


MIGRATION_IMPORTS = """
import time
from pathlib import Path
from exporter.store.opening import prepare
from tests.faults.test_store_kill import V2
"""
MIGRATION = """
    os.write(1, b"begin\\n")
    begin = time.monotonic()
    prepare(Path(argument), V2, at=0.0)
    os.write(1, b"done %f\\n" % (time.monotonic() - begin))
"""
ROWS = 3000


def first(con: sqlite3.Connection) -> None:
    con.execute("CREATE TABLE readings (id INTEGER PRIMARY KEY, text TEXT NOT NULL)")


def second(con: sqlite3.Connection) -> None:
    con.execute("CREATE TABLE measured (id INTEGER PRIMARY KEY, value REAL NOT NULL, padding BLOB NOT NULL)")
    for row in con.execute("SELECT id, text FROM readings").fetchall():
        con.execute("INSERT INTO measured VALUES (?, ?, zeroblob(300))", (row[0], float(row[1])))
    con.execute("DROP TABLE readings")


V1, V2 = Schema(7, (first,)), Schema(7, (first, second))


@pytest.mark.timeout(600)
def test_a_kill_in_a_migration_leaves_the_old_or_the_new_and_never_something_between(tmp_path: Path) -> None:
    luck = chance(SEED)
    outcomes = {"old": 0, "new": 0}
    whole = 0.0
    with Nursery(MIGRATION_IMPORTS, MIGRATION) as nursery:
        for kill in range(1 + max(50, KILLS // 4)):
            file = tmp_path / f"{kill}.db"
            prepare(file, V1, at=NOW)
            with closing(sqlite3.connect(file, isolation_level=None)) as con:
                con.execute(
                    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < ?)"
                    " INSERT INTO readings SELECT i, i || '.5' FROM n",
                    (ROWS,),
                )
            if kill == 0:
                # Nobody kills the first one; it says how long the others will take.
                whole = float(nursery.run(str(file), 60.0)[-1].removeprefix("done "))
            else:
                nursery.run(str(file), luck.uniform(0.0, 1.1 * whole))
            with closing(sqlite3.connect(file, isolation_level=None)) as con:
                tables = {name for (name,) in con.execute("SELECT name FROM sqlite_master WHERE type='table'")}
                version = con.execute("PRAGMA user_version").fetchone()[0]
                assert con.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            outcome = {1: "old", 2: "new"}[version]
            outcomes[outcome] += 1
            assert tables == {"schema_version", "readings" if outcome == "old" else "measured"}
            # The next start finishes what was begun.
            assert prepare(file, V2, at=NOW) is None
            with closing(sqlite3.connect(file)) as con:
                found = con.execute("SELECT count(*), sum(value) FROM measured").fetchone()
                assert found == (ROWS, ROWS * (ROWS + 1) / 2 + ROWS / 2)
            with closing(sqlite3.connect(f"{file}.bak-v1")) as con:
                assert con.execute("SELECT count(*) FROM readings").fetchone() == (ROWS,)
    print(f"kills in a migration (seed {SEED}): {outcomes}")
    assert outcomes["old"] >= 5


REPLACEMENT_IMPORTS = """
import time
from pathlib import Path
from tests.store_values import open_store
"""
REPLACEMENT = """
    os.write(1, b"begin\\n")
    begin = time.monotonic()
    open_store(Path(argument)).close()
    os.write(1, b"done %f\\n" % (time.monotonic() - begin))
"""


def test_a_kill_while_a_damaged_file_is_replaced_loses_neither_file(tmp_path: Path) -> None:
    luck = chance(SEED)
    with Nursery(REPLACEMENT_IMPORTS, REPLACEMENT) as nursery:
        whole = 0.0
        for kill in range(21):
            path = tmp_path / str(kill)
            path.mkdir(mode=0o700)
            (path / "anomaly.db").write_text("precious")
            lines = nursery.run(str(path), luck.uniform(0.0, whole) if kill else 60.0)
            whole = whole or float(lines[-1].removeprefix("done "))
            with open_store(path) as store:
                assert store.alerts.load() == {}
            assert {file.read_text() for file in path.glob("anomaly.db.corrupt-*")} == {"precious"}
