"""What the watch of silences remembers, in the store."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from exporter.silences import Made
from exporter.store import EventLog

__all__ = ["SilenceLog"]


class SilenceLog:
    """The silences that were made for the calendar; calls raise `StoreError`.

    Parameters
    ----------
    log : EventLog
    clock : callable
        Unix seconds.
    """

    def __init__(self, log: EventLog, clock: Callable[[], float]) -> None:
        self._log = log
        self._clock = clock

    def made_silences(self) -> dict[str, Made]:
        """Return what was made, by id."""
        return {row[0]: Made(*row) for row in self._log.silences()}

    def note_silences(self, made: Iterable[Made]) -> None:
        """Note silences that were made or ended."""
        self._log.note(((one.id, one.entry, one.ends_at, one.removed) for one in made), at=self._clock())
