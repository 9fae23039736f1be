"""The past of one series, from Prometheus: its samples, and what this exporter said of them.

What was said at the time is there where Prometheus scrapes the exporter. Otherwise an engine of its own goes through
the history as the daemon's would have, each sample judged by what came before it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from exporter.charts.tasks import TRAINING_STEP, ReplayedVerdicts, ReplayTask, replay
from exporter.config.engine_settings import engine_settings
from exporter.config.plan import QueryPlan
from exporter.engine.series import key_of, labels_of
from exporter.errors import PrometheusError, Reason
from exporter.exposition.labels import exposed_labels, row_prefix
from exporter.prometheus import Block, PrometheusApi
from exporter.prometheus.settings import PrometheusSettings
from exporter.promql.narrow import narrow
from exporter.web.pages.models import DisplayError, Labels

__all__ = ["Judged", "Past", "Samples"]

FloatArray = npt.NDArray[np.float64]

_TIMEOUT = 20.0
"""Seconds for one range; whoever waits for a picture waits no longer."""
_MOST_SAMPLES = 2_000_000
"""Samples that are read for one line, where the expression cannot be narrowed to its series."""
_FEWEST_POINTS = 24
_LEARNED = 21 * 86400.0
"""Seconds that are learned before a range is judged again: three visits of every hour of the week."""
_AGAIN = 6 * 3600.0
"""What was learned up to a multiple of so many seconds serves every range that begins after it."""
_COVERED = 0.8
"""Share of the samples that must have been scored at the time for that to be what is shown."""
_SAID = (
    "anomaly_score",
    "expected_value",
    "expected_value_lower",
    "expected_value_upper",
    "anomaly_votes",
    "observed_value",
)


@dataclass(frozen=True, slots=True)
class Samples:
    """Samples of one series on a grid, arrays of shape (t,); NaN where there is none."""

    times: FloatArray
    values: FloatArray


@dataclass(frozen=True, slots=True)
class Judged:
    """Samples and what was said of each; arrays of shape (t,), source units, NaN = absent."""

    times: FloatArray
    observed: FloatArray
    expected: FloatArray
    lower: FloatArray
    upper: FloatArray
    score: FloatArray
    votes: FloatArray
    replayed: bool


class Past:
    """Reads the past of single series; safe for several threads.

    Parameters
    ----------
    connect : callable
        Makes a client from settings; slots have another one, so that a page never makes them wait.
    run : callable
        Calls `replay`, here or in another process.
    """

    def __init__(
        self,
        connect: Callable[[PrometheusSettings], PrometheusApi],
        run: Callable[[Callable[[ReplayTask], ReplayedVerdicts], ReplayTask], ReplayedVerdicts],
    ) -> None:
        self._connect = connect
        self._run = run
        self._lock = threading.Lock()
        self._api: tuple[PrometheusSettings, PrometheusApi] | None = None

    def close(self) -> None:
        """Break off what is read, and close the connections."""
        with self._lock:
            if self._api is not None:
                self._api[1].close()
                self._api = None

    def samples(
        self,
        source: PrometheusSettings,
        plan: QueryPlan,
        labels: Labels,
        start: float,
        end: float,
        step: float,
        *,
        of: int,
    ) -> Samples:
        """Read samples of one series on the grid `start`, `start + step`, ... up to `end`.

        Parameters
        ----------
        of : int
            How many series the whole query has.

        Raises
        ------
        Unshowable
            Prometheus cannot be asked, or it would be too much.
        """
        wanted = dict(labels)
        expr = narrow(plan.expr, wanted)
        points = int((end - start) / step) + 1
        if expr == plan.expr and points * of > _MOST_SAMPLES:
            step = (end - start) / max(1, _MOST_SAMPLES // of)
            if (end - start) / step < _FEWEST_POINTS:
                said = f"the expression cannot be narrowed to one series, and all {of:,} are too many to read"
                raise DisplayError(said, 503)
        blocks = self._read(source, expr, start, end, step, of=of if expr == plan.expr else 1)
        return _one_of(blocks, tuple(sorted(wanted.items())))

    def judged(
        self,
        source: PrometheusSettings,
        plan: QueryPlan,
        labels: Labels,
        start: float,
        end: float,
        step: float,
        *,
        of: int,
    ) -> Judged:
        """Read samples of one series with what was expected of them; parameters as of `samples`."""
        samples = self.samples(source, plan, labels, start, end, step, of=of)
        said = self._said(source, plan, labels, samples)
        return self._replayed(source, plan, labels, samples, of=of) if said is None else said

    def _said(self, source: PrometheusSettings, plan: QueryPlan, labels: Labels, samples: Samples) -> Judged | None:
        """Return what the exporter said at the time, if Prometheus has scraped it."""
        here = ~np.isnan(samples.values)
        if not here.any():
            return None
        own = row_prefix(exposed_labels(sorted(labels), [("query", plan.name)])).decode()
        expr = f'{{__name__=~"{"|".join(_SAID)}",{own}}}'
        times = samples.times
        step = float(times[1] - times[0]) if len(times) > 1 else plan.interval
        # The score of a slot is on the page from the end of its cycle on, and in Prometheus with the next scrape.
        try:
            blocks = self._read(source, expr, float(times[0]), float(times[-1]), step, of=len(_SAID), offset=0.0)
        except DisplayError:
            return None
        lines = {name: np.full(len(times), np.nan) for name in _SAID}
        done = 0
        for block in blocks:
            part = slice(done, done + len(block.times))
            done = part.stop
            for column, key in enumerate(block.keys):
                line = lines[dict(labels_of(key)).get("__name__", "expected_value")]
                # Two exporters that say the same, or one that was scraped twice.
                line[part] = np.where(np.isnan(line[part]), block.values[:, column], line[part])
        expected = lines["expected_value"]
        if np.count_nonzero(~np.isnan(expected) & here) < _COVERED * np.count_nonzero(here):
            return None
        # A scrape comes some time after its slot, so a score belongs to the sample that was scraped with it.
        seen = lines["observed_value"]
        return Judged(
            times,
            samples.values if np.isnan(seen).all() else seen,
            expected,
            lines["expected_value_lower"],
            lines["expected_value_upper"],
            lines["anomaly_score"],
            lines["anomaly_votes"],
            replayed=False,
        )

    def _replayed(
        self, source: PrometheusSettings, plan: QueryPlan, labels: Labels, samples: Samples, *, of: int
    ) -> Judged:
        """Have the samples judged again, each by what came before it."""
        times = samples.times
        step = float(times[1] - times[0]) if len(times) > 1 else plan.interval
        until = float(times[0]) - step
        fixed = until // _AGAIN * _AGAIN
        first = self.samples(source, plan, labels, fixed - _LEARNED, fixed, TRAINING_STEP, of=of)
        then = Samples(np.zeros(0), np.zeros(0))
        if until - fixed >= TRAINING_STEP:
            then = self.samples(source, plan, labels, fixed + TRAINING_STEP, until, TRAINING_STEP, of=of)
        said = self._run(
            replay,
            ReplayTask(
                # A budget is that of all series of the query: one alone says nothing about its threshold.
                settings=replace(engine_settings(plan), budget=None),
                source=source.url,
                series=key_of(tuple(sorted(labels))),
                trained_until=fixed,
                first=(first.times, first.values),
                then=(then.times, then.values),
                times=times,
                values=samples.values,
                step=step,
            ),
        )
        return Judged(
            times, samples.values, said.expected, said.lower, said.upper, said.score, said.votes, replayed=True
        )

    def _read(
        self,
        source: PrometheusSettings,
        expr: str,
        start: float,
        end: float,
        step: float,
        *,
        of: int,
        offset: float | None = None,
    ) -> list[Block]:
        offset = source.query_offset if offset is None else offset
        try:
            blocks = self._client(source).history(
                expr, start - offset, end - offset, step, timeout=_TIMEOUT, series=max(1, of)
            )
            return [replace(block, times=np.round(block.times + offset, 3)) for block in blocks]
        except PrometheusError as fault:
            status = 504 if fault.reason is Reason.TIMEOUT else 502
            raise DisplayError(
                f"Prometheus did not give the history: {fault.reason}: {fault.message}", status
            ) from fault

    def _client(self, source: PrometheusSettings) -> PrometheusApi:
        with self._lock:
            if self._api is not None and self._api[0] != source:
                self._api[1].close()
                self._api = None
            if self._api is None:
                self._api = source, self._connect(source)
            return self._api[1]


def _one_of(blocks: list[Block], wanted: Labels) -> Samples:
    """Pick the series with these labels out of an answer; or the only one that has more than these."""
    known = [[labels_of(key) for key in block.keys] for block in blocks]
    including = {labels for part in known for labels in part if set(wanted) <= set(labels)}
    chosen = wanted if wanted in including or len(including) != 1 else including.pop()
    columns = [
        block.values[:, part.index(chosen)] if chosen in part else np.full(len(block.times), np.nan)
        for block, part in zip(blocks, known, strict=True)
    ]
    if not columns:
        return Samples(np.zeros(0), np.zeros(0))
    return Samples(np.concatenate([block.times for block in blocks]), np.concatenate(columns))
