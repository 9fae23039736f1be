"""Counts of the alerts that each threshold would have raised: what an alert budget is calibrated with.

How many alerts a threshold would have raised is counted for every threshold at once. A series whose severity was
at least *u* for as many slots as ``for`` asks for has an open alert at *u*, and it stays open until the severity
was below *u* for as many slots as ``keep_firing_for`` asks for. So what is open is one number for each series, the
**height**: the alert is open at every threshold up to it. Where the height rises from *a* to *b*, an alert begins at
every threshold in between, and nothing else has to be kept of it.

What begins within twelve minutes counts once, however many series it are: one storm is one alert. The counts fade
with the window of the baseline, and so does the time that they were made in. What follows from them is in
`exporter.engine.calibration`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from exporter.engine.calibration import GRID, LEVELS, Budget, Calibration, calibrate, with_false_rate
from exporter.engine.detectors.base import BLOCK
from exporter.engine.false_alerts import FalseRate, JudgedAlerts
from exporter.engine.ordered import FEW, any_of
from exporter.engine.seconds import DAY, HOUR

__all__ = ["SETTLED", "AlertCounts"]

FloatArray = npt.NDArray[np.float64]

SETTLED = 9 * DAY
"""Age of a series from which on its severities count. In the days after its first week a series raises three times
as many alerts as it ever will again."""
_BURST, _LEAST_BURST = 4.0, 2.0
"""Times the alerts of a mean day that a day counts for at most, and how many it may have anyway: what a changed level
raises until it is learned is one event, and says nothing about the weeks to come."""
_FIRST_DAYS = 3.0
"""Days without a mean day: what is well below any threshold counts in full, the rest for the least."""
_FIRST_MOST = np.where(GRID < 0.8, np.inf, _LEAST_BURST)
EVERY = HOUR
"""Seconds of history between two calibrations: a fit takes milliseconds, and the counts change slowly."""
EVERY_RATE = 6 * HOUR
"""The same without a budget, where nothing but the rate of false alerts follows from it."""
PATIENCE = DAY
"""Seconds that a calibration waits for open alerts to end, so that an incident does not mute itself."""
_RING = 64
"""Pieces of a window at most, 4 bytes each a series."""
_SAME = 0.01
"""Part of the interval that samples may be off and still be slots: rounding of times, not another step."""


class AlertCounts:
    """Alerts that each threshold would have raised. Arrays have the rows as last axis.

    Parameters
    ----------
    budget : Budget
    fading : float, seconds
        Over which counts fade.

    Attributes
    ----------
    calibration : Calibration
        In force.
    judged : JudgedAlerts
        What people said of the alerts; what is not stored with the state.
    slot : int
        Number of the next instant.
    """

    def __init__(self, budget: Budget, fading: float) -> None:
        self.budget = budget
        self.fading = fading
        self.calibration = Calibration()
        self.judged = JudgedAlerts()
        self._height, self._last = np.zeros((2, 0), np.float32)
        self._low = _Window(budget.needed, np.minimum)
        self._high = _Window(budget.kept, np.maximum)
        self._counts = np.zeros(LEVELS)
        # Whether an alert began, in each span of the block under way.
        self._begun = np.zeros((math.ceil(BLOCK / budget.together), LEVELS), np.bool_)
        # Alerts of the day under way, and the squares of those of the days before: how much they come in clumps.
        self._today = np.zeros(LEVELS)
        self._squares = np.zeros(LEVELS)
        # Of the block under way: samples of series, and instants; and the number of the next instant.
        self._samples = self._instants = 0
        self.slot = 0
        # Faded seconds of all series together, and how many series there are; seconds of the query in all, and since
        # the last calibration; faded days, and seconds of the day under way.
        self._exposure = self._series = self._history = self._since = self._days = self._day = 0.0

    def fits(self, seconds: float) -> bool:
        """Return whether samples that stand for so many seconds are of the grain of the query's slots."""
        return abs(seconds / self.budget.interval - 1.0) <= _SAME

    def configure(self, budget: Budget) -> None:
        """Count on for another budget; what makes an alert must be the same."""
        if budget != self.budget:
            self.budget = budget
            self.calibrate()

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` rows."""
        self._height, self._last = _wider(self._height, capacity), _wider(self._last, capacity)
        self._low.ring, self._high.ring = _wider(self._low.ring, capacity), _wider(self._high.ring, capacity)

    def forget(self, rows: npt.NDArray[np.intp]) -> None:
        """Begin anew for `rows`."""
        for array in self.arrays().values():
            array[..., rows] = 0.0

    def update(self, rows: slice, severity: FloatArray) -> None:
        """Note severities that have not been divided by any threshold.

        Parameters
        ----------
        severity : ndarray, shape (t, n)
            Of the next instants; NaN where there is none, or no alert could come of it.
        """
        here = ~np.isnan(severity)
        # Where there is no severity, what waits goes on waiting.
        last = np.concatenate([self._last[None, rows], severity.astype(np.float32)])
        if not here.all():
            for before, now, ok in zip(last, last[1:], here, strict=False):
                np.copyto(now, before, where=~ok)
        lowest, highest = self._low.put(self.slot, rows, last[1:]), self._high.put(self.slot, rows, last[1:])
        height = np.empty_like(last)
        height[0] = self._height[rows]
        for index, ok in enumerate(here):
            reached = np.maximum(lowest[index], np.minimum(height[index], highest[index]))
            height[index + 1] = reached if ok.all() else np.where(ok, reached, height[index])
        rises = np.nonzero(here & (lowest > height[:-1]) & (lowest >= GRID[0]))
        spans = (self.slot + rises[0]) % BLOCK // self.budget.together
        for span in sorted(set(spans.tolist())):
            place = tuple(part[spans == span] for part in rises)
            self._begin(span, height[place], lowest[place])
        self._height[rows], self._last[rows] = height[-1], last[-1]
        self._samples += int(np.count_nonzero(here))

    def _begin(self, span: int, below: npt.NDArray[np.float32], upto: npt.NDArray[np.float32]) -> None:
        """Note that alerts begin at all thresholds above `below` and up to `upto`, of some series."""
        first, last = (np.searchsorted(GRID, edge, side="right") for edge in (below, upto))
        change = np.bincount(first, minlength=LEVELS + 1) - np.bincount(last, minlength=LEVELS + 1)
        self._begun[span] |= np.cumsum(change)[:LEVELS] > 0

    @property
    def instants_left(self) -> int:
        """How many instants the block under way has left."""
        return BLOCK - self._instants

    @property
    def instants_alike(self) -> int:
        """How many instants have the threshold of now, whatever comes: up to the end of a block."""
        every = EVERY_RATE if self.budget.rate is None else EVERY
        blocks = math.ceil((every - self._since) / (BLOCK * self.budget.interval) - 1e-6)
        return self.instants_left + BLOCK * max(0, blocks - 1)

    def advance(self, instants: int) -> None:
        """Note that so many instants are complete; of those beyond `instants_left` no alert was counted."""
        while instants:
            # Without a series there is nothing to count, and instants of several blocks come at once.
            part = min(instants, self.instants_left)
            self._instants += part
            self.slot += part
            instants -= part
            if self._instants == BLOCK:
                self.end_block()

    def end_block(self) -> None:
        """Add the block to the counts; calibrate where it is time."""
        seconds, samples = self._instants * self.budget.interval, self._samples
        if samples:
            fade = math.exp(-seconds / self.fading)
            self._counts *= fade
            most, begun = self._most_a_day(), self._begun.sum(axis=0)
            self._counts += np.minimum(self._today + begun, most) - np.minimum(self._today, most)
            self._exposure = self._exposure * fade + samples * self.budget.interval
            share = 1.0 if not self._history else min(1.0, seconds / DAY)
            self._series += share * (samples / self._instants - self._series)
            self._history += seconds
            self._since += seconds
            self._pass_day(seconds)
        self._begun[...] = False
        self._samples = self._instants = 0
        every = EVERY_RATE if self.budget.rate is None else EVERY
        if self._since >= every and not (self._since < PATIENCE and self._is_open()):
            self.calibrate()

    def _pass_day(self, seconds: float) -> None:
        self._today += self._begun.sum(axis=0)
        self._day += seconds
        if self._day >= DAY:
            fade = math.exp(-self._day / self.fading)
            self._squares = self._squares * fade + np.minimum(self._today, self._most_a_day()) ** 2
            self._days = self._days * fade + 1.0
            self._today[:] = self._day = 0.0

    def _most_a_day(self) -> FloatArray:
        """Return how many alerts a day may count for, at each threshold."""
        if self._days < _FIRST_DAYS:
            return _FIRST_MOST
        return np.maximum(_LEAST_BURST, _BURST * self._counts / self._days)

    def _is_open(self) -> bool:
        calibration = self.calibration
        return calibration.fitted and any_of(self._height >= calibration.threshold)

    def calibrate(self) -> None:
        """Find the threshold for the budget by what was counted so far."""
        self._since = 0.0
        # As if there had always been as many series as there are now.
        seconds = self._exposure / max(self._series, 1e-9)
        mean = self._counts * DAY / max(seconds, 1.0)
        clumps = (self._squares / max(self._days, 1.0) - mean**2) / np.maximum(mean, 1e-9)
        before = self.calibration.threshold
        calibration = calibrate(self._counts, seconds, self._history, self.budget, clumps)
        self.calibration = with_false_rate(calibration, self._counts, seconds, clumps, self.judged, before)

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return what has a value a row, by name."""
        return {"height": self._height, "last": self._last, "low": self._low.ring, "high": self._high.ring}

    def state(self) -> FloatArray:
        """Return everything else, one number after the other."""
        now = self.calibration
        fit = (now.threshold, now.fitted, now.expected, now.lower, now.upper, now.shape, now.peaks)
        sums = (self._samples, self._instants, self._exposure, self._series, self._history, self._since)
        false = (now.false.expected, now.false.lower, now.false.upper)
        last = (now.history, self._days, self._day, self.slot, *false)
        levels = [self._counts, self._today, self._squares, self._begun.ravel()]
        return np.concatenate([*levels, sums, fit, last]).astype(np.float64)

    def restore(self, state: npt.NDArray[Any]) -> bool:
        """Go on from what `state` gave; False, with nothing changed, where it does not fit."""
        if state.shape == (len(self.state()) - 3,):
            # Before false alerts were estimated beside a budget.
            state = np.append(state, (math.nan, math.nan, math.nan))
        if state.shape != self.state().shape:
            return False
        count = 3 + len(self._begun)
        levels, rest = state[: count * LEVELS].reshape(count, LEVELS).copy(), state[count * LEVELS :].tolist()
        self._counts, self._today, self._squares, self._begun = *levels[:3], levels[3:].astype(np.bool_)
        # Earlier versions went on beyond the block where a query had no series.
        self._samples, self._instants = int(rest[0]), min(int(rest[1]), BLOCK - 1)
        self._exposure, self._series, self._history, self._since = rest[2:6]
        threshold, fitted, expected, lower, upper, shape, peaks, history = rest[6:14]
        self._days, self._day, self.slot = rest[14], rest[15], int(rest[16])
        false = FalseRate(*rest[17:])
        self.calibration = Calibration(threshold, bool(fitted), expected, lower, upper, shape, peaks, history, false)
        return True


class _Window:
    """The least, or the largest, of the last values of every row.

    Long windows are kept in at most 64 pieces, so their length is rounded up to whole pieces.
    """

    def __init__(self, length: int, join: np.ufunc) -> None:
        self._piece = math.ceil(length / _RING)
        self._join = join
        self.ring = np.zeros((math.ceil(length / self._piece), 0), np.float32)

    def put(self, first: int, rows: slice, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Add the values of instants from number `first` on; return the least or largest of each window."""
        ring, joined = self.ring[:, rows], np.empty_like(values)
        if self._piece == 1 and len(values) > 1 and values.shape[1] < FEW:
            length, count = len(ring), min(len(ring), len(values))
            last = np.concatenate([ring[(first + np.arange(1, length)) % length], values])
            self._join.reduce(sliding_window_view(last, length, axis=0), axis=-1, out=joined)
            ring[(first + np.arange(len(values) - count, len(values))) % length] = values[len(values) - count :]
            return joined
        for index, (value, out) in enumerate(zip(values, joined, strict=True), first):
            piece, inside = divmod(index, self._piece)
            now = ring[piece % len(ring)]
            now[...] = self._join(now, value) if inside else value
            self._join.reduce(ring, axis=0, out=out)
        return joined


def _wider(array: npt.NDArray[np.float32], capacity: int) -> npt.NDArray[np.float32]:
    wider = np.zeros((*array.shape[:-1], capacity), np.float32)
    wider[..., : array.shape[-1]] = array
    return wider
