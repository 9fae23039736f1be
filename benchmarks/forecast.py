"""Forecasts: what they cost, and "full within a day" beside the rule that most people have.

Disks of six kinds are watched for two weeks after two weeks of history: some grow and fill, some are cleaned by a
schedule or by restarts in time, some are high and stay there. The rule is `predict_linear(free[6h], 86400) < 0` for an
hour. An alert is false where the disk is not full two days later; a lead is from the last begin of an alert until then.

``--tasks DIR`` answers recorded tasks instead: DIR/tasks.csv (series,origin,step_s,file) with a CSV timestamp,value for
each, and DIR/fill_tasks.csv (series,limit). It writes DIR/forecasts.csv (series,origin,step,q0.1,q0.5,q0.9) and
DIR/times.csv (series,q0.1,q0.5,q0.9; hours, inf = never), by the code of `detect --forecast`.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from exporter.detect.forecasting import forecast_series
from exporter.detect.reader import read
from exporter.engine.forecast.forecasts import Forecasts
from exporter.engine.forecast.settings import ForecastSettings, LimitSettings
from exporter.engine.seconds import DAY, HOUR
from exporter.engine.settings import BaselineSettings, DetectionSettings, EngineSettings

__all__ = ["main"]

FloatArray = npt.NDArray[np.float64]

MONDAY = 1_760_313_600.0
STEP, SLOT = 300.0, 900.0
HISTORY, WATCHED = 14, 14
"""Days."""
LINE = round(6 * HOUR / SLOT)


def main() -> int:
    """Measure, or answer tasks; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=Path, help="a folder with tasks.csv and fill_tasks.csv")
    parser.add_argument("--series", type=int, default=10_000)
    parser.add_argument("--disks", type=int, default=12, help="of each kind (default: %(default)s)")
    args = parser.parse_args()
    if args.tasks is not None:
        return answer(args.tasks)
    cost(args.series)
    compare(args.disks)
    return 0


def cost(count: int) -> None:
    """Print what forecasts of so many series cost."""
    rng = np.random.default_rng(1)
    made = Forecasts(ForecastSettings(horizons=("1h", "1d", "3d")), ZoneInfo("UTC"), STEP, (-np.inf, np.inf))
    made.grow(count)
    times = MONDAY + np.arange(round(28 * DAY / STEP)) * STEP
    shape = 10.0 + 3.0 * np.sin(2 * np.pi * times / DAY)
    begin = time.process_time()
    for day in range(28):
        part = slice(288 * day, 288 * (day + 1))
        made.note(times[part], shape[part, None] + rng.standard_normal((288, 1)) + np.zeros(count))
    noted = time.process_time()
    rounds = 0
    with np.errstate(all="ignore"):
        while rounds == 0 or np.isnan(made.make(count).value).any():
            rounds += 1
    fitted = time.process_time()
    steps = 12
    with np.errstate(all="ignore"):
        for step in range(1, steps + 1):
            made.note(times[-1:] + STEP * step, rng.standard_normal((1, count)) + 10.0)
            made.make(count)
    ended = time.process_time()
    print(f"{count} series, three horizons, 28 days of history at 5 minutes:")
    print(f"  history   {1e3 * (noted - begin) / count:6.2f} ms of CPU a series")
    print(f"  first fit {1e3 * (fitted - noted) / count:6.2f} ms of CPU a series")
    print(f"  each step {1e6 * (ended - fitted) / count / steps:6.2f} us of CPU a series")
    print(f"  memory    {made.nbytes / count / 1024:6.1f} KiB of slots a series")


# ---------------------------------------------------------------- beside predict_linear


def disks(each: int) -> tuple[FloatArray, FloatArray, list[str]]:
    """Return times, use as a share, shape (t, n), and the kind of each disk."""
    rng = np.random.default_rng(7)
    days = np.arange((HISTORY + WATCHED) * 96) / 96 - HISTORY
    columns, kinds = [], []
    for kind in ("grows", "grows by night", "leaks from a deploy on", "cleaned every day", "restarted", "stays high"):
        for _ in range(each):
            columns.append(_use(kind, days, rng) + rng.normal(0, 0.001, len(days)))
            kinds.append(kind)
    return MONDAY + (days + HISTORY) * DAY, np.stack(columns, axis=1), kinds


def _use(kind: str, days: FloatArray, rng: np.random.Generator) -> FloatArray:
    wave = 0.01 * np.sin(2 * np.pi * (days + rng.random()))
    fills = rng.uniform(2, 12)
    slope = rng.uniform(0.01, 0.04)
    if kind == "grows":
        return 1.0 + slope * (days - fills) + wave
    if kind == "grows by night":
        night = np.cumsum((days % 1.0) < 0.12).astype(float)
        night = (night - night[np.searchsorted(days, fills)]) / (0.12 * 96)
        return 1.0 + slope * night
    if kind == "leaks from a deploy on":
        return 0.55 + wave + np.maximum(days - fills + 2.0, 0.0) * 0.45 / 2.0
    if kind == "cleaned every day":
        return 0.5 + 0.4 * ((days + rng.random()) % 1.0) + 0.1 * wave
    if kind == "restarted":
        values, value, left, lasts = np.empty(len(days)), 0.0, 0.0, rng.uniform(1.5, 3.0)
        for at in range(len(days)):
            value, left = value + 0.12 / 96, left - 1 / 96
            if left <= 0.0:
                value, left = 0.0, rng.uniform(0.6, 1.4) * lasts
            values[at] = value
        return 0.35 + values
    return rng.uniform(0.8, 0.92) + wave


def compare(each: int) -> None:
    """Print false alerts and leads of both, by kind of disk."""
    times, use, kinds = disks(each)
    full = np.array([times[np.argmax(column >= 1.0)] if (column >= 1.0).any() else np.inf for column in use.T])
    use = np.minimum(use, 1.0)
    begin = HISTORY * 96
    settings = ForecastSettings(horizons=("1h",), limit=LimitSettings(above=1.0, within="1d", probability=0.8))
    made = Forecasts(settings, ZoneInfo("UTC"), SLOT, (0.0, 1.0))
    made.grow(use.shape[1])
    forecast, line = [], []
    ahead = np.arange(LINE) - LINE + 1.0
    ahead -= ahead.mean()
    with np.errstate(all="ignore"):
        made.note(times[:begin], use[:begin])
        for at in range(begin, len(times), 4):
            since = slice(max(begin, at - 3), at + 1)
            made.note(times[since], use[since])
            forecast.append(made.make(use.shape[1]).near)
            window = use[at - LINE + 1 : at + 1]
            slope = (ahead[:, None] * window).sum(axis=0) / (ahead**2).sum()
            line.append(window.mean(axis=0) + slope * (ahead[-1] + 96.0) > 1.0)
    hours = times[begin::4]
    rule = np.array(line)
    held = rule.copy()
    held[1:] &= rule[:-1]
    print(f"\nfull within a day: {use.shape[1]} disks, {WATCHED} days")
    print("  false alerts a disk and week, alerts in time, lead:")
    print(f"  {'':24}{'forecast':>26}{'predict_linear[6h]':>26}")
    for kind in dict.fromkeys(kinds):
        chosen = np.array([each == kind for each in kinds])
        texts = [_score(state[:, chosen], hours, full[chosen]) for state in (np.array(forecast), held)]
        print(f"  {kind:24}{texts[0]:>26}{texts[1]:>26}")


def _score(state: npt.NDArray[np.bool_], hours: FloatArray, full: FloatArray) -> str:
    false, leads = 0, []
    watched = 0.0
    for column, end in zip(state.T, full, strict=True):
        before = hours < end
        watched += float(before.sum())
        begun = np.flatnonzero(column & before & ~np.concatenate([[False], column[:-1]]))
        false += int(np.count_nonzero(hours[begun] < end - 2 * DAY))
        fits = begun[hours[begun] >= end - 2 * DAY]
        if np.isfinite(end) and len(fits):
            leads.append((end - hours[fits[-1]]) / HOUR)
    fills = int(np.isfinite(full).sum())
    text = f"{false / (watched / 168):.2f}"
    if not fills:
        return text
    return f"{text}, {len(leads)}/{fills}" + (f", {np.median(leads):.0f} h" if leads else "")


# ---------------------------------------------------------------- recorded tasks


def answer(folder: Path) -> int:
    """Answer the tasks of a folder."""
    settings = EngineSettings(ZoneInfo("UTC"), BaselineSettings(), DetectionSettings())
    limits = {row["series"]: float(row["limit"]) for row in _rows(folder / "fill_tasks.csv")}
    values: list[tuple[object, ...]] = []
    fills: list[tuple[object, ...]] = []
    used, count = 0.0, 0
    for task in _rows(folder / "tasks.csv"):
        step = float(task["step_s"])
        (series,) = read(gzip.decompress((folder / task["file"]).read_bytes()), "csv", source=task["file"])
        limit = limits.get(task["series"])
        forecast = ForecastSettings(limit=None if limit is None else LimitSettings(above=limit))
        begin = time.process_time()
        # Steps are counted from the origin, which may be some after the newest sample.
        behind = int(task["origin"]) - 1 - round((series.times[-1] - series.times[0]) / step)
        ahead = 3 * DAY + step * max(behind, 0)
        (result,) = forecast_series([series], replace(settings, forecast=forecast), step, ahead)
        used, count = used + time.process_time() - begin, count + 1
        rows = zip(result.lower.tolist(), result.value.tolist(), result.upper.tolist(), strict=True)
        for number, row in enumerate(rows, start=1 - behind):
            values.append((task["series"], task["origin"], number, *row))
        if result.to_limit is not None:
            fills.append((task["series"], *(result.to_limit[[0, 2, 4]] / HOUR).tolist()))
    _write(folder / "forecasts.csv", ("series", "origin", "step", "q0.1", "q0.5", "q0.9"), values)
    _write(folder / "times.csv", ("series", "q0.1", "q0.5", "q0.9"), fills)
    print(f"{count} tasks, one at a time: {1e3 * used / count:.1f} ms of CPU each", file=sys.stderr)
    return 0


def _rows(file: Path) -> list[Mapping[str, str]]:
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))


def _write(file: Path, head: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    with file.open("w", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(head)
        writer.writerows(rows)


if __name__ == "__main__":
    sys.exit(main())
