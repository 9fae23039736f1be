"""What groups and canaries have in common: a job with rows of its own, of which state and alerts outlive it."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from exporter.alerting.alert import Step
from exporter.alerting.settings import AlertSettings
from exporter.engine.series import SeriesTable, key_of
from exporter.errors import StateError
from exporter.evaluation.apply_feedback import apply_job_feedback
from exporter.evaluation.context import EvaluationContext
from exporter.evaluation.row_alerts import RowAlerts
from exporter.store import LearnedState

__all__ = ["TableJob"]

log = logging.getLogger(__name__)

_PATIENCE = 5.0
"""Seconds that a reload or the end waits for a slot under way."""


class TableJob(ABC):
    """Judges the rows of its own table, beside the queries that they come from.

    Parameters
    ----------
    name : str
        In the log: of the group, or of the query.
    job : str
        The name of its state and of its alerts; no query has it.
    identity : str
        What its state depends on, hashed.

    Attributes
    ----------
    saved : float, Unix seconds
        The newest slot that is on disk.
    ended : bool
        Whether nothing of it runs any more, so that another evaluator can take over its state.
    rows : RowAlerts
        Its alerts; set before the first slot.
    """

    kind: ClassVar[Literal["group", "canary"]]
    label: ClassVar[Literal["group", "query"]]
    """What its name is the name of."""
    rows: RowAlerts

    def __init__(self, name: str, job: str, identity: str, context: EvaluationContext) -> None:
        self.job, self.identity, self.context = job, identity, context
        self.saved = -np.inf
        self.ended = False
        self._logged_as: dict[str, object] = {self.label: name}
        self._lock = threading.Lock()
        self._retired = False

    @property
    @abstractmethod
    def table(self) -> SeriesTable:
        """Its rows."""

    @property
    @abstractmethod
    def newest(self) -> float:
        """The newest slot that its state has, Unix seconds."""

    @abstractmethod
    def _parts(self) -> Mapping[str, npt.NDArray[Any]]:
        """Return the state, to be stored."""

    @abstractmethod
    def _take(self, stored: LearnedState) -> bool:
        """Go on from stored state; False, with nothing changed, where it does not fit."""

    @abstractmethod
    def _accept(self, rows: npt.NDArray[np.intp]) -> None:
        """Take the present of some rows, shape (m,), as normal."""

    def _apply_feedback(self, at: float) -> None:
        """Apply the feedback since the last slot; a failure of it is contained."""
        ports = self.context.ports
        apply = partial(apply_job_feedback, ports.feedback, self.rows, self._accept, self.table, self._save, at=at)
        ports.containment.run("feedback", self.job, apply, None)

    def _restore(self) -> None:
        try:
            with self.context.storing(self.job):
                stored = self.context.ports.store.learned_arrays.load(self.job, self.identity)
        except StateError:
            return
        if stored is None:
            return
        if not stored.damaged and self._take(stored):
            self.saved = stored.at
        else:
            log.warning("the state of a %s cannot be used; it begins anew", self.kind, extra=self._logged_as)

    def _save(self) -> bool:
        """Write the state; return whether that worked."""
        series = [(row, key_of(labels)) for row, labels in self.table.items()]
        free = set(range(self.table.size)) - {row for row, _ in series}
        try:
            with self.context.storing(self.job):
                store = self.context.ports.store.learned_arrays
                store.save(self.job, self.identity, self.newest, self._parts(), series, free)
        except StateError:
            return False
        self.saved = self.newest
        return True

    def retire(self) -> None:
        """End: no other slot is judged. Its rows stay on the page until the caller withdraws them."""
        self._retired = True
        if self._lock.acquire(timeout=_PATIENCE):
            if self.newest > self.saved:
                self._save()
            self.rows.alert_store.flush()
            self.ended = True
            self._lock.release()
        else:
            log.error("a %s hangs and is left behind", self.kind, extra=self._logged_as)

    def leave(self, rule: AlertSettings | None, context: EvaluationContext, *, at: float) -> Step:
        """Return the alerts, for the evaluator that takes over under another configuration.

        Parameters
        ----------
        rule : AlertSettings, optional
            That of the other configuration.
        at : float, Unix seconds
        """
        if self.ended:
            self.rows.configure(rule, context, self.table, at=at)
        return self.rows.alert_store.left
