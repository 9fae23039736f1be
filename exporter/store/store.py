"""All state of the exporter: a locked directory with two databases, and files of verdicts."""

from __future__ import annotations

import contextlib
import logging
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
from exporter.store.settings import StorageSettings
from exporter.store.verdict_log import VerdictLog

__all__ = ["Store"]

log = logging.getLogger(__name__)

_FILES = ("anomaly.db", "learned.db")


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
    verdicts : VerdictLog
    recovered : tuple of Recovery
        Databases that were damaged at the start and were begun afresh; empty on a normal start.
    damaged : tuple of str
        Rows of intact databases that were dropped at the start because their checksum did not hold.
    lost_logs : tuple of Path
        Databases that had lost their write-ahead log at the start.
    """

    def __init__(
        self,
        directory: StateDirectory,
        alerts: AlertLog,
        learned_arrays: LearnedArrays,
        clock: Callable[[], float],
        lost_logs: tuple[Path, ...] = (),
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
        self.verdicts = VerdictLog(directory.path / "verdicts")
        recoveries = (database.recovery for database in self._databases)
        self.recovered: tuple[Recovery, ...] = tuple(recovery for recovery in recoveries if recovery is not None)
        self.damaged: tuple[str, ...] = alerts.damaged
        self.lost_logs = lost_logs

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
            lost = tuple(file for name in _FILES if _is_lost(file := directory.file(name), directory))
            for file in lost:
                log.error("%s: its write-ahead log is gone, and with it what was written last", file)
            directory.mark(in_use=False)
            alerts = AlertLog(directory.file(_FILES[0]), at=clock())
            opened.callback(alerts.close)
            learned_arrays = LearnedArrays(directory.file(_FILES[1]), at=clock())
            opened.pop_all()
        directory.mark(in_use=True)
        return cls(directory, alerts, learned_arrays, clock, lost)

    def configure(self, settings: StorageSettings) -> None:
        """Put the limits of kept verdicts into force."""
        self.verdicts.configure(retention=settings.verdict_retention, most_bytes=settings.verdict_retention_size)

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

    @property
    def impaired(self) -> bool:
        """Whether something was lost or had to be restored, at the start or since."""
        return bool(self.recovered or self.lost_logs or any(database.restored for database in self._databases))

    def close(self) -> None:
        """Finish writing, checkpoint, close and unlock. Closing twice does nothing."""
        self.verdicts.close()
        # Before: a kill in between leaves logs that the next start reads.
        self._directory.mark(in_use=False)
        with self._directory, contextlib.closing(self.learned_arrays):
            self.alerts.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _is_lost(file: Path, directory: StateDirectory) -> bool:
    """Whether a process that was killed had a log beside a database, and it is not there."""
    return directory.killed and file.exists() and not file.with_name(file.name + "-wal").exists()
