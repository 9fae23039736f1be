"""State of the forecasts of all series of a query: what was, what was fitted to it, and when each is due again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from exporter.engine.buckets import utc_offset
from exporter.engine.columns import Array, Column, Columns
from exporter.engine.forecast.forecast import LEVELS, Forecast
from exporter.engine.forecast.limit import probability_within, times_to_limit
from exporter.engine.forecast.model import KNOTS, Fit, at_horizons, fit, move_on
from exporter.engine.forecast.past import slot_seconds
from exporter.engine.forecast.profile import WeekProfile
from exporter.engine.forecast.ring import Ring
from exporter.engine.forecast.settings import ForecastSettings, LimitSettings
from exporter.engine.forecast.weights import FEATURES, HALF_LIVES
from exporter.engine.seconds import DAY, HOUR

__all__ = ["Forecasts"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.intp]

_DAYS = 28
"""Kept of every series in slots of 15 minutes (or an hour),"""
_NEAR_SECONDS, _NEAR_DAYS = 300.0, 2
"""and of the last days in slots of five minutes."""
_TOGETHER = 256
"""Series that are fitted at once: what is computed of so many stays in the processor's cache."""
_FIT_EVERY = DAY
_LIMIT_EVERY, _FAR_EVERY = HOUR, 6 * HOUR
_SOON = 7 * 24.0
"""Hours until a limit is reached with a probability of 0.9 from which on it is computed less often,"""
_PART = 0.1
"""unless so much of the way has been gone since."""
_SOONEST = 60.0
"""Seconds: what is not yet reached is at least so far."""
_STAYS = 0.75
"""Part of the probability that alerts, down to which an alert goes on: otherwise it would come and go."""
_MOST = 2000
"""Series that are fitted in one evaluation, at least: with more, the first forecasts come over several of them."""
_BEHIND = 288
"""Slots of five minutes that running means may lack; with more, everything is fitted again."""


class Forecasts:
    """Forecasts of every series; arrays in the order of the rows.

    Parameters
    ----------
    settings : ForecastSettings
    zone : ZoneInfo
        Whose days and weeks are meant.
    step : float, seconds
        How far samples are apart.
    valid_range : pair of float
        No forecast is outside.
    """

    def __init__(
        self, settings: ForecastSettings, zone: ZoneInfo, step: float, valid_range: tuple[float, float]
    ) -> None:
        self.settings, self.valid_range = settings, valid_range
        self._zone = zone
        self.seconds = slot_seconds(step)
        self._far = self._near = Ring("forecast/far", self.seconds, _DAYS)
        if self.seconds < HOUR:
            self._near = Ring("forecast/near", _NEAR_SECONDS, _NEAR_DAYS)
        layout = {
            "weights": Column((len(KNOTS), FEATURES), np.float32),
            "errors": Column((len(KNOTS), 2), np.float32, np.nan),
            "spread": Column((24,), np.float32, 1.0),
            "means": Column((len(HALF_LIVES),), np.float32),
            "root": Column((), np.bool_),  # Whether it was fitted to square roots.
            "negative": Column((), np.bool_),
            "newest": Column((), np.float64, np.nan),
            "fitted_at": Column((), np.float64, -np.inf),
            "times": Column((len(LEVELS),), np.float32, np.nan),  # Hours from `timed_at`.
            "timed_at": Column((), np.float64, -np.inf),
            "timed_value": Column((), np.float64, np.nan),  # The newest sample then.
            "near_limit": Column((), np.bool_),
        }
        self._columns = Columns(layout)
        self._followed = -1
        """Newest near slot that the running means have followed."""
        self._since = 0.0
        self._at = -np.inf

    def configure(self, settings: ForecastSettings, valid_range: tuple[float, float]) -> None:
        """Apply other horizons and another limit."""
        if settings.limit != self.settings.limit:
            state = self._columns.arrays()
            state["timed_at"][...], state["near_limit"][...] = -np.inf, False
        self.settings, self.valid_range = settings, valid_range

    # ------------------------------------------------------------------ rows

    @property
    def _rings(self) -> list[Ring]:
        return [self._far] if self._near is self._far else [self._far, self._near]

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` rows."""
        self._columns.grow(capacity)
        for ring in self._rings:
            ring.grow(capacity)

    def forget(self, rows: Rows) -> None:
        """Begin anew for `rows`."""
        self._columns.forget(rows)
        for ring in self._rings:
            ring.forget(rows)

    @property
    def row_bytes(self) -> int:
        """Bytes of slots that a row takes."""
        return sum(ring.row_bytes for ring in self._rings)

    @property
    def nbytes(self) -> int:
        """Bytes of all slots."""
        return sum(ring.nbytes for ring in self._rings)

    def arrays(self) -> dict[str, Array]:
        """Return the state by name, without the slots: of these a checkpoint has what `changed` gives."""
        return {f"forecast/{name}": array for name, array in self._columns.arrays().items()}

    def changed(self, at: float, size: int) -> dict[str, Array]:
        """Return the slots that changed since they were last `saved`, by name."""
        return {name: part for ring in self._rings for name, part in ring.changed(at, size).items()}

    def saved(self, parts: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Note that what `changed` gave is stored."""
        for ring in self._rings:
            ring.saved(parts)

    def restored(self, at: float, parts: Mapping[str, npt.NDArray[np.generic]], admitted: FloatArray) -> None:
        """Go on from arrays that were written when `at`, Unix seconds, was the newest instant; see `Ring.restore`."""
        self._enter(at)
        for ring in self._rings:
            ring.restore(parts, admitted, at + utc_offset(at, self._zone))
        self._followed = self._near.slot - 1

    # ------------------------------------------------------------------ samples

    def note(self, times: FloatArray, values: FloatArray) -> None:
        """Note samples, shapes (t,) and (t, size); NaN where there is none or it is not to be learned.

        What is infinite or beyond the valid range is no sample.
        """
        if not len(times):
            return
        low, high = self.valid_range
        values = np.where(np.isfinite(values) & (values >= low) & (values <= high), values, np.nan)
        local = times + _offsets(times, self._zone)
        # The clock of the wall goes back once a year.
        for run in np.split(np.arange(len(times)), np.flatnonzero(np.diff(local) < 0.0) + 1):
            for ring in self._rings:
                ring.note(local[run], values[run])
        self._enter(float(times[-1]))
        state = self._columns.views(slice(None, values.shape[1]))
        state["negative"] |= (values < 0.0).any(axis=0)
        last = len(values) - 1 - np.argmax(~np.isnan(values)[::-1], axis=0)
        newest = values[last, np.arange(values.shape[1])]
        state["newest"][...] = np.where(np.isnan(newest), state["newest"], newest)

    def _enter(self, at: float) -> None:
        local = at + utc_offset(at, self._zone)
        self._since = local % self.seconds
        self._at = at

    # ------------------------------------------------------------------ forecasts

    def make(self, size: int, present: BoolArray | None = None) -> Forecast:
        """Return the forecasts of the first `size` rows from the newest instant on; of those `present`, if given."""
        self._follow(size)
        self._fit_due(size)
        horizons = np.array(self.settings.horizons)
        state = self._columns.arrays()
        value = np.full((3, len(horizons), size), np.nan)
        deviations = self._deviations(slice(0, size))
        for rows in _pieces(np.arange(size), 8 * _TOGETHER):
            part = slice(int(rows[0]), int(rows[-1]) + 1)
            value[:, :, part] = self._at_horizons(part, deviations[:, part], horizons)
        if present is not None:
            value[:, :, ~present] = np.nan
        forecast = Forecast(self._at, horizons, value[1], value[0], value[2])
        limit = self.settings.limit
        if limit is None:
            return forecast
        self._time_due(size, limit)
        times = self._times_now(size, limit)
        if present is not None:
            times[:, ~present] = np.nan
        probability = probability_within(times / HOUR, limit.within / HOUR)
        near = state["near_limit"][:size]
        enough = probability >= np.where(near, _STAYS * limit.probability, limit.probability)
        near[...] = np.where(np.isnan(probability), near, enough)
        return replace(forecast, times=times, probability=probability, near=near.copy(), limit=limit)

    def curve(self, row: int, seconds: FloatArray) -> FloatArray:
        """Return lower end, middle and upper end of a row at times ahead: shape (3, h) for seconds of shape (h,)."""
        part = slice(row, row + 1)
        if not np.isfinite(self._columns.arrays()["fitted_at"][row]):
            return np.full((3, len(seconds)), np.nan)
        with np.errstate(all="ignore"):
            return self._at_horizons(part, self._deviations(part), seconds)[:, :, 0]

    def _at_horizons(self, part: slice, deviations: Array, seconds: FloatArray) -> FloatArray:
        state = self._columns.views(part)
        fitted = Fit(state["weights"], state["errors"], state["spread"], state["means"])
        past = self._far.of(part, state["root"])
        value = at_horizons(fitted, past, deviations, seconds, self._since, state["root"])
        low, high = self.valid_range
        # Nothing is below zero where the series never was.
        lowest = np.where(state["negative"], low, max(low, 0.0))
        return np.where(np.isfinite(state["fitted_at"]), np.clip(value, lowest, high), np.nan)

    def _away(self, part: slice, slot: int) -> Array:
        """Return the deviation of a near slot from the profile, shape (n,)."""
        root = self._columns.views(part)["root"]
        far = np.array([slot // round(self.seconds / self._near.seconds)])
        shape, _ = WeekProfile(self._far.of(part, root)).at(far, far - 1)
        deviation: Array = self._near.of(part, root).at(np.array([slot]))[0] - shape[0]
        return deviation

    def _follow(self, size: int) -> None:
        """Let the running means follow the slots that are complete."""
        behind = self._near.slot - 1 - self._followed
        if not 0 <= behind <= _BEHIND:
            self._columns.arrays()["fitted_at"][...] = -np.inf
            self._followed = self._near.slot - 1
            return
        for slot in range(self._followed + 1, self._near.slot):
            for part in _pieces(np.arange(size), 8 * _TOGETHER):
                rows = slice(int(part[0]), int(part[-1]) + 1)
                move_on(self._columns.views(rows)["means"], self._away(rows, slot), self._near.seconds)
        self._followed = self._near.slot - 1

    def _deviations(self, part: slice) -> Array:
        """Return the newest deviation and its running means, shape (6, n)."""
        away = self._away(part, self._near.slot)
        means = self._columns.views(part)["means"].copy()
        move_on(means, away, self._near.seconds)
        return np.concatenate([np.nan_to_num(away)[None], means])

    # ------------------------------------------------------------------ what is due

    def _fit_due(self, size: int) -> None:
        state = self._columns.arrays()
        fitted_at, negative, root = state["fitted_at"][:size], state["negative"][:size], state["root"][:size]
        # Square roots are of no use any more.
        fitted_at[negative & root] = -np.inf
        for rows in _pieces(self._due(fitted_at, _FIT_EVERY), _TOGETHER):
            self._fit(rows)

    def _due(self, done_at: FloatArray, every: float) -> Rows:
        """Return the rows that come next: those that wait for longest, so many that all have their turn in time."""
        waiting = np.flatnonzero(self._at - done_at >= every)
        never = np.isneginf(done_at[waiting])
        share = int(np.ceil(2.0 * len(done_at) * self._near.seconds / every))
        most = max(_MOST if never.any() else 1, share)
        return waiting[np.argsort(done_at[waiting], kind="stable")[:most]]

    def _fit(self, rows: Rows) -> None:
        state = self._columns.arrays()
        root = ~state["negative"][rows]
        near = None if self._near is self._far else self._near.of(rows).rooted(root)
        fitted = fit(self._far.of(rows).rooted(root), near)
        for name in ("weights", "errors", "spread", "means"):
            state[name][..., rows] = getattr(fitted, name)
        state["root"][rows] = root
        # Spread over the day, so that what began together does not come due together.
        never = np.isneginf(state["fitted_at"][rows])
        early = np.where(never, (rows * 0.618034) % 1.0 * 0.5 * _FIT_EVERY, 0.0)
        state["fitted_at"][rows] = self._at - early

    def _time_due(self, size: int, limit: LimitSettings) -> None:
        state = self._columns.views(slice(0, size))
        waited = self._at - state["timed_at"]
        # What is far away may wait; but not what has come a good part of the way since.
        far = state["times"][-1] > _SOON
        moved = np.abs(state["newest"] - state["timed_value"]) > _PART * np.abs(limit.value - state["timed_value"])
        due = (waited >= _LIMIT_EVERY) & (~far | moved | (waited >= _FAR_EVERY))
        rows = np.flatnonzero(due)
        rows = rows[np.argsort(-waited[rows], kind="stable")[: max(_MOST, size // 12)]]
        for some in _pieces(rows, _TOGETHER):
            past = self._far.of(some).all()
            above = limit.above is not None
            newest = state["newest"][some]
            state["times"][:, some] = times_to_limit(past, newest, limit.value, self.seconds, above=above)
            state["timed_at"][some], state["timed_value"][some] = self._at, newest

    def _times_now(self, size: int, limit: LimitSettings) -> FloatArray:
        """Return seconds from now on: those of the last computation, less what has gone by since."""
        state = self._columns.views(slice(0, size))
        times = state["times"] * HOUR - (self._at - state["timed_at"])
        newest = state["newest"]
        over = newest >= limit.value if limit.above is not None else newest <= limit.value
        times = np.where(over, 0.0, np.maximum(times, _SOONEST))
        return np.where(np.isnan(state["times"]), np.nan, times)


def _pieces(rows: Rows, size: int) -> Iterator[Rows]:
    return (rows[begin : begin + size] for begin in range(0, len(rows), size))


def _offsets(times: FloatArray, zone: ZoneInfo) -> FloatArray:
    """Return by how many seconds the clock of the wall is ahead of UTC at each instant, shape (t,)."""
    hours, index = np.unique(np.floor(times / HOUR), return_inverse=True)
    offsets: FloatArray = np.array([utc_offset(hour * HOUR, zone) for hour in hours.tolist()])[index]
    return offsets
