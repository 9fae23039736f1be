"""What a slot can do without: texts, correlation, and what follows from a verdict elsewhere.

A failure of such a part is counted, and logged once, and takes neither the slot nor another part with it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from traceback import extract_tb
from typing import TypeVar

__all__ = ["Containment"]

log = logging.getLogger(__name__)

_MOST = 1000
"""Failures that are remembered as logged."""

Result = TypeVar("Result")


class Containment:
    """Runs the parts of a cycle that it can do without. Safe from any thread.

    Parameters
    ----------
    count : callable
        Called with the name of the query, or of the job of a group, at every failure.
    """

    def __init__(self, count: Callable[[str], None] = lambda owner: None) -> None:  # noqa: ARG005
        self._count = count
        self._logged: set[tuple[object, ...]] = set()
        self._lock = threading.Lock()

    def run(self, part: str, owner: str, call: Callable[[], Result], otherwise: Result) -> Result:
        """Return what `call` returns, and `otherwise` where it raises anything.

        Parameters
        ----------
        part : str
            What it does, for the log.
        owner : str
            The query, or the job of the group, whose slot it is.
        """
        try:
            return call()
        except Exception as error:
            self.failed(part, owner, error)
            return otherwise

    def failed(self, part: str, owner: str, error: Exception) -> None:
        """Count a failure, and log it if it is the first of its kind at its place."""
        self._count(owner)
        place = extract_tb(error.__traceback__)[-1]
        kind = (part, owner, type(error), place.filename, place.lineno)
        with self._lock:
            if kind in self._logged or len(self._logged) >= _MOST:
                return
            self._logged.add(kind)
        more = {"query": owner, "part": part}
        log.error("a part of a cycle failed; the cycle goes on without it", extra=more, exc_info=error)
