"""The silences that were created here: written down, and noted in memory while that fails."""

from __future__ import annotations

import logging
from collections.abc import Collection

from exporter.calendar import Calendar
from exporter.errors import ExporterError
from exporter.silences.peer import Peer
from exporter.store import CreatedSilence, SilenceLog

__all__ = ["CreatedSilences"]

log = logging.getLogger(__name__)


class CreatedSilences:
    """The created silences, by their identity.

    Parameters
    ----------
    written : SilenceLog
        An `ExporterError` of it is logged; the next round tries again.
    """

    def __init__(self, written: SilenceLog) -> None:
        self._log = written
        self._silences: dict[str, CreatedSilence] | None = None
        self._unwritten: dict[str, CreatedSilence] = {}

    def load(self, calendar: Calendar, peers: Collection[Peer]) -> dict[str, CreatedSilence]:
        """Return all of them, with those of our entries that another replica created, or that were not written."""
        if self._silences is None:
            try:
                self._silences = dict(self._log.load())
            except ExporterError as fault:
                log.warning("silences that were made are not known", extra={"error": str(fault)})
                return dict(self._unwritten)
        entries = {entry.name for entry in calendar.entries} | {event.name for event in calendar.announced}
        for peer in peers:
            for silence in peer.silences:
                if silence.entry in entries and not silence.expired and silence.id not in self._silences:
                    self.add(CreatedSilence(silence.id, silence.entry or "", silence.window.end))
        return self._silences

    def add(self, silence: CreatedSilence) -> None:
        """Note a silence, to be written with the others of this round."""
        if self._silences is not None:
            self._silences[silence.id] = silence
        self._unwritten[silence.id] = silence

    def write(self, at: float) -> None:
        """Write what is not written."""
        if not self._unwritten:
            return
        try:
            self._log.record(list(self._unwritten.values()), at=at)
        except ExporterError as fault:
            log.warning("silences that were made could not be noted", extra={"error": str(fault)})
        else:
            self._unwritten = {}
