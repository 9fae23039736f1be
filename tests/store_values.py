"""Values and children that the tests of the store share."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from exporter.alerting.alert import Alert, AlertState, AlertTransition, AuditEvent, Step
from exporter.store import Store
from exporter.store.audit import append_audit
from exporter.store.episode_rows import write_episodes

ROOT = Path(__file__).resolve().parent.parent
NOBODY = 65534
NOW = 1_750_000_000.0

# Runs the text that follows without any privilege: a test of permissions says nothing when root runs it.
UNPRIVILEGED = f"""
import os, sys
from pathlib import Path
from exporter.store import Store, StoreError
from tests.store_values import a_step, an_alert
if os.geteuid() == 0:
    os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})
path = Path(sys.argv[1])
"""


def chance(seed: int | str) -> random.Random:
    """Chance that falls the same way every time."""
    return random.Random(seed)  # noqa: S311 - no secret comes of it.


def clock() -> float:
    return NOW


def open_store(path: Path) -> Store:
    return Store.open(path, clock=clock)


def an_alert(name: str = "f1", query: str = "q", **changes: object) -> Alert:
    values: dict[str, object] = {
        "fingerprint": name,
        "query": query,
        "labels": {"alertname": "A", "instance": name},
        "annotations": {"summary": "é ☃"},
        "generator_url": "http://prometheus.example/graph",
        "state": AlertState.FIRING,
        "episode": f"{name}-1",
        "active_at": 1.5,
        "evaluated_at": 60.0,
        "fired_at": 30.25,
    }
    return Alert(**{**values, **changes})  # type: ignore[arg-type]


def a_transition(
    name: str = "f1", event: AuditEvent = AuditEvent.OPEN, at: float = 1.5, **changes: object
) -> AlertTransition:
    values: dict[str, object] = {
        "fingerprint": name,
        "query": "q",
        "episode": f"{name}-1",
        "event": event,
        "at": at,
        "why": "too high",
        "details": {"value": "17.3"},
    }
    return AlertTransition(**{**values, **changes})  # type: ignore[arg-type]


def a_step(*alerts: Alert, transitions: tuple[AlertTransition, ...] = ()) -> Step:
    return Step({alert.fingerprint: alert for alert in alerts}, transitions)


def append(store: Store, transitions: Iterable[AlertTransition]) -> int:
    """Add events to the audit that change no alert, and return how many were new."""
    rows = tuple(transitions)

    def apply(con: sqlite3.Connection) -> int:
        added = append_audit(con, rows)
        write_episodes(con, rows)
        return added

    return store.alerts.database.write(apply)


def run_child(text: str, *arguments: object) -> str:
    """Run Python text in a process of its own and return what it printed; its failure is the test's."""
    done = subprocess.run(
        [sys.executable, "-c", text, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def directory_for_anybody() -> Iterator[Path]:
    """A directory that the unprivileged child owns, below one it can enter."""
    with tempfile.TemporaryDirectory() as outer:
        Path(outer).chmod(0o755)
        inner = Path(outer) / "state"
        inner.mkdir(mode=0o700)
        if os.geteuid() == 0:
            os.chown(inner, NOBODY, NOBODY)
        yield inner
        inner.chmod(0o700)
