"""A backup, as docs/operations.md says it, while alerts are written: killed half-way, and to its end."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from exporter.store import Store
from tests.store_values import a_step, a_transition, an_alert, chance, open_store

# A page at a time, so that it lasts for as long as it takes to be killed.
SLOW = """
import sqlite3, sys, time
source, copy = sqlite3.connect(sys.argv[1]), sqlite3.connect(sys.argv[2])
print("begun", flush=True)
source.backup(copy, pages=1, sleep=0.01, progress=lambda *_: time.sleep(0.01))
"""


def write(store: Store, first: int, count: int) -> None:
    for number in range(first, first + count):
        alert = an_alert(evaluated_at=float(number), episode=f"e{number}")
        assert store.alerts.commit("q", float(number), a_step(alert, transitions=(a_transition(episode=f"e{number}"),)))


def test_a_backup_that_is_killed_harms_nothing_and_one_that_ends_is_a_store(tmp_path: Path) -> None:
    source, copy = tmp_path / "state" / "anomaly.db", tmp_path / "copy" / "anomaly.db"
    rng, done = chance("backup"), 0
    with open_store(tmp_path / "state") as store:
        write(store, 1, 50)
        for number in range(5):
            argv = [sys.executable, "-c", SLOW, str(source), str(tmp_path / f"partial{number}.db")]
            with subprocess.Popen(argv, stdout=subprocess.PIPE) as backup:
                assert backup.stdout is not None
                assert backup.stdout.readline() == b"begun\n"
                write(store, 51 + done, some := rng.randint(1, 40))
                done += some
                backup.kill()
        copy.parent.mkdir(mode=0o700)
        with closing(sqlite3.connect(source)) as con, closing(sqlite3.connect(copy)) as kept:

            def meanwhile(*_: int) -> None:
                nonlocal done
                if done < 400:
                    write(store, 51 + done, 1)
                    done += 1

            con.backup(kept, pages=20, progress=meanwhile)
        assert store.alerts.watermarks().get("q") == 50 + done
    copy.chmod(0o600)
    for folder in ("state", "copy"):
        with open_store(tmp_path / folder) as store:
            assert (store.recovered, store.damaged) == ((), ())
            newest = int(store.alerts.watermarks().get("q") or 0)
            assert 50 < newest <= 50 + done
            entries = store.audit.page(limit=1000).entries
            assert all(entry.intact for entry in entries)
            # Nothing is torn: the audit, the alert and the watermark are of the same slot.
            assert [entry.episode for entry in entries] == [f"e{number}" for number in range(newest, 0, -1)]
            assert [alert.episode for alert in store.alerts.load()["q"].values()] == [f"e{newest}"]
