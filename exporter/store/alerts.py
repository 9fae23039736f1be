"""``anomaly.db``: alerts, the newest slot of every query, and what Alertmanagers confirmed.

Everything here is durable when a call returns, because it is sent or shown afterwards.
"""

from __future__ import annotations

import logging
import math
import sqlite3
import uuid
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from exporter.alerting.alert import Alert, AlertState, Observation, Step
from exporter.store.audit import append_audit
from exporter.store.database import Database
from exporter.store.episode_rows import find_episode, rebuild_missing, write_episodes
from exporter.store.rows import ALERT_COLUMNS, Delivery, Row, alert_of, alert_row, intact, seal, sealed
from exporter.store.schema import ALERTS_SCHEMA

__all__ = ["AlertLog", "DeliveryLog"]

log = logging.getLogger(__name__)

_ALERT = ", ".join((*ALERT_COLUMNS, "crc"))
_SELECT_ALERTS = f"SELECT {_ALERT} FROM alerts"  # noqa: S608 - our own names.
_INSERT_ALERT = f"INSERT OR REPLACE INTO alerts ({_ALERT}) VALUES ({', '.join('?' * 14)})"  # noqa: S608


class AlertLog:
    """The alerts of all queries and their history, one transaction a step. Calls raise `StoreError`.

    Parameters
    ----------
    file : Path
        In a locked `StateDirectory`.
    at : float
        Unix seconds of this start.

    Attributes
    ----------
    database : Database
    damaged : tuple of str
        Rows that were dropped at the start because their checksum did not hold, as ``table: key``.
    """

    def __init__(self, file: Path, *, at: float) -> None:
        self.database = Database(file, ALERTS_SCHEMA, synchronous="FULL", at=at)
        self._worst: dict[str, dict[str, Observation]] = {}
        try:
            self.damaged: tuple[str, ...] = self.database.write(_clean)
            self.database.write(rebuild_missing)
        except BaseException:
            self.database.close()
            raise
        for row in self.damaged:
            log.warning("%s: a row was damaged and is dropped: %s", file, row)

    def commit(self, query: str, slot: float, step: Step) -> bool:
        """Apply the step of a slot: alerts, transitions and watermark, all or nothing.

        Parameters
        ----------
        query : str
        slot : float
            The evaluation instant, Unix seconds.
        step : Step
            `step.alerts` are all alerts of the query afterwards; those missing in it are deleted.

        Returns
        -------
        bool
            False where the slot is not newer than the watermark: nothing was changed.
        """
        if not math.isfinite(slot):
            raise ValueError(f"not an evaluation instant: {slot}")
        rows, worse = _rows_of(query, step), self._worse(query, step)

        def apply(con: sqlite3.Connection) -> bool:
            reached = _watermark(con, query)
            if reached is not None and slot <= reached:
                return False
            _apply(con, query, rows, step, worse)
            con.execute("INSERT OR REPLACE INTO watermarks VALUES (?, ?, ?)", sealed(query, float(slot)))
            return True

        applied = self.database.write(apply)
        if applied:
            self._worst[query] = _worst_of(step)
        return applied

    def record(self, query: str, step: Step) -> None:
        """Apply a step that belongs to no slot (hold, restore, withdraw): the watermark stays."""
        rows, worse = _rows_of(query, step), self._worse(query, step)
        self.database.write(lambda con: _apply(con, query, rows, step, worse))
        self._worst[query] = _worst_of(step)

    def _worse(self, query: str, step: Step) -> list[Alert]:
        """Return the alerts whose worst observation is not written yet."""
        written = self._worst.get(query, {})
        alerts = step.alerts.values()
        return [alert for alert in alerts if alert.worst is not None and alert.worst != written.get(alert.episode)]

    def load(self) -> dict[str, dict[str, Alert]]:
        """Return all alerts, by query and fingerprint."""

        def read(con: sqlite3.Connection) -> dict[str, dict[str, Alert]]:
            alerts: dict[str, dict[str, Alert]] = {}
            for row in con.execute(_SELECT_ALERTS).fetchall():
                alert = alert_of(row)
                if alert is not None:
                    episode = find_episode(con, alert.episode)
                    worst = None if episode is None else episode.worst
                    alerts.setdefault(alert.query, {})[alert.fingerprint] = replace(alert, worst=worst)
            return alerts

        return self.database.read(read)

    def notes(self) -> dict[str, bytes]:
        """Return what is remembered beside the alerts, by query; see `Step.notes`."""
        rows = self.database.read(lambda con: con.execute("SELECT query, value, crc FROM notes").fetchall())
        return dict(intact(rows))

    def watermarks(self) -> dict[str, float]:
        """Return the newest slot that was committed for each query."""
        rows = self.database.read(lambda con: con.execute("SELECT query, slot, crc FROM watermarks").fetchall())
        return {query: float(slot) for query, slot in intact(rows)}

    def identity(self) -> str:
        """Return what distinguishes this state from that of every other exporter; made when it is first asked for."""
        new = sealed("(identity)", uuid.uuid4().hex[:12].encode())

        def read(con: sqlite3.Connection) -> str:
            con.execute("INSERT OR IGNORE INTO notes VALUES (?, ?, ?)", new)
            row = con.execute("SELECT value FROM notes WHERE query='(identity)'").fetchone()
            return bytes(row[0]).decode(errors="replace")

        return self.database.write(read)

    def close(self) -> None:
        """Close the database."""
        self.database.close()


class DeliveryLog:
    """What every Alertmanager confirmed last. Calls raise `StoreError`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, am_key: str, items: Iterable[tuple[str, str, AlertState]], at: float) -> None:
        """Note that an Alertmanager took alerts: (fingerprint, episode, state) as they were sent.

        An episode that is over and deleted meanwhile is not noted.
        """
        rows = [
            (*sealed(am_key, fingerprint, episode, str(state), float(at)), fingerprint, episode)
            for fingerprint, episode, state in items
        ]
        self._database.write(
            lambda con: con.executemany(
                "INSERT OR REPLACE INTO deliveries SELECT ?, ?, ?, ?, ?, ?"
                " WHERE EXISTS (SELECT 1 FROM alerts WHERE fingerprint=? AND episode=?)",
                rows,
            )
        )

    def load(self, am_key: str) -> dict[str, Delivery]:
        """Return what an Alertmanager confirmed last, by fingerprint."""
        select = "SELECT am_key, fingerprint, episode, acked_state, acked_at, crc FROM deliveries WHERE am_key=?"
        rows = self._database.read(lambda con: con.execute(select, (am_key,)).fetchall())
        return {name: Delivery(name, episode, AlertState(state), at) for _, name, episode, state, at in intact(rows)}

    def forget(self, am_key: str) -> None:
        """Drop what an Alertmanager confirmed, because it is no longer configured."""
        self._database.write(lambda con: con.execute("DELETE FROM deliveries WHERE am_key=?", (am_key,)))


def _rows_of(query: str, step: Step) -> dict[str, Row]:
    foreign = {alert.query for alert in step.alerts.values()} - {query}
    if foreign:
        raise ValueError(f"a step of {query!r} has alerts of {sorted(foreign)}")
    return {alert.fingerprint: alert_row(alert) for alert in step.alerts.values()}


def _worst_of(step: Step) -> dict[str, Observation]:
    """Return the worst observations of the alerts of a step, by episode."""
    return {alert.episode: alert.worst for alert in step.alerts.values() if alert.worst is not None}


def _apply(con: sqlite3.Connection, query: str, rows: dict[str, Row], step: Step, worse: list[Alert]) -> None:
    stored = {row[1]: row for row in con.execute(f"{_SELECT_ALERTS} WHERE query=?", (query,))}
    con.executemany(_INSERT_ALERT, [row for name, row in rows.items() if stored.get(name) != row])
    ended = [name for name in stored if name not in rows]
    con.executemany("DELETE FROM alerts WHERE query=? AND fingerprint=?", [(query, name) for name in ended])
    con.executemany("DELETE FROM deliveries WHERE fingerprint=?", [(name,) for name in ended])
    if step.notes is not None:
        con.execute("INSERT OR REPLACE INTO notes VALUES (?, ?, ?)", sealed(query, step.notes))
    append_audit(con, step.transitions)
    write_episodes(con, step.transitions, worse)


def _watermark(con: sqlite3.Connection, query: str) -> float | None:
    rows = con.execute("SELECT query, slot, crc FROM watermarks WHERE query=?", (query,))
    return next((float(slot) for _, slot in intact(rows)), None)


def _clean(con: sqlite3.Connection) -> tuple[str, ...]:
    """Write the small tables anew where a row does not hold: a damaged key may stand out of order."""
    damaged: list[str] = []
    for table, keys in (("alerts", 2), ("deliveries", 2), ("watermarks", 1), ("notes", 1)):
        rows = con.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608 - our own names.
        good = [row for row in rows if seal(*row[:-1]) == row[-1]]
        if len(good) < len(rows):
            damaged += [f"{table}: {' '.join(map(str, row[:keys]))}" for row in rows if row not in good]
            con.execute(f"DELETE FROM {table}")  # noqa: S608
            con.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", good)  # noqa: S608
    # Those of alerts that were lost, here or with a damaged file: nothing would delete them later.
    con.execute(
        "DELETE FROM deliveries WHERE NOT EXISTS"
        " (SELECT 1 FROM alerts WHERE alerts.fingerprint = deliveries.fingerprint)"
    )
    return tuple(damaged)
