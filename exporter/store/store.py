"""All state of the exporter: a locked directory with two databases."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Self

from exporter.store.alerts import AlertLog, DeliveryLog
from exporter.store.audit import AuditLog
from exporter.store.directory import StateDirectory
from exporter.store.episodes import EpisodeLog
from exporter.store.events import EventLog, SilenceLog
from exporter.store.learned_arrays import LearnedArrays
from exporter.store.opening import Recovery

__all__ = ["Store"]


class Store:
    """The state, safe to use from any thread. Use `open`.

    What concerns alerts is durable when a call returns; learned arrays may lose their last checkpoints
    when the power fails. Calls raise `StoreError`, whose `reason` is a metric label, and work again as
    soon as the cause is gone.

    Attributes
    ----------
    alerts : AlertLog
    deliveries : DeliveryLog
    audit : AuditLog
    episodes : EpisodeLog
    events : EventLog
    silences : SilenceLog
    learned_arrays : LearnedArrays
    recovered : tuple of Recovery
        Databases that were damaged at the start and were begun afresh; empty on a normal start.
    damaged : tuple of str
        Rows of intact databases that were dropped at the start because their checksum did not hold.
    """

    def __init__(
        self, directory: StateDirectory, alerts: AlertLog, learned_arrays: LearnedArrays, clock: Callable[[], float]
    ) -> None:
        self._directory = directory
        self._clock = clock
        self._databases = (alerts.database, learned_arrays.database)
        self.alerts = alerts
        self.deliveries = DeliveryLog(alerts.database)
        self.audit = AuditLog(alerts.database)
        self.episodes = EpisodeLog(alerts.database)
        self.events = EventLog(alerts.database)
        self.silences = SilenceLog(alerts.database)
        self.learned_arrays = learned_arrays
        recoveries = (database.recovery for database in self._databases)
        self.recovered: tuple[Recovery, ...] = tuple(recovery for recovery in recoveries if recovery is not None)
        self.damaged: tuple[str, ...] = alerts.damaged

    @classmethod
    def open(cls, path: Path | str, *, clock: Callable[[], float]) -> Self:
        """Lock the directory, bring both databases into a sound state of this version, and open them.

        Parameters
        ----------
        path : Path or str
            The state directory; created where it is missing.
        clock : callable
            Returns Unix seconds.

        Raises
        ------
        StoreError
            The directory is unsafe, read-only or in use, or a database is newer than this program.
        """
        with contextlib.ExitStack() as opened:
            directory = opened.enter_context(StateDirectory.open(Path(path)))
            alerts = AlertLog(directory.file("anomaly.db"), at=clock())
            opened.callback(alerts.close)
            learned_arrays = LearnedArrays(directory.file("learned.db"), at=clock())
            opened.pop_all()
        return cls(directory, alerts, learned_arrays, clock)

    def retain(self, before: float) -> int:
        """Delete episodes and events that ended before an instant, in short slices; returns entries of the audit."""
        self.events.retain(before)
        return self.audit.retain(before, at=self._clock())

    def checkpoint(self) -> bool:
        """Empty both write-ahead logs; False while an outside reader prevents it."""
        emptied = [database.checkpoint() for database in self._databases]
        return all(emptied)

    def wal_bytes(self) -> int:
        """Size of both write-ahead logs, in bytes."""
        return sum(database.wal_bytes() for database in self._databases)

    def size_bytes(self) -> int:
        """Size of both databases with their logs, in bytes."""
        return sum(database.size_bytes() for database in self._databases)

    def close(self) -> None:
        """Finish writing, checkpoint, close and unlock. Closing twice does nothing."""
        with self._directory, contextlib.closing(self.learned_arrays):
            self.alerts.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
