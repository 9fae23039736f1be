"""Draw docs/concepts.svg: how a score comes about, on samples that the real engine has judged (``make picture``)."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import matplotlib as mpl
import numpy as np
from matplotlib import dates
from matplotlib import pyplot as plt

from exporter.detect.recorded_series import RecordedSeries
from exporter.detect.scoring import ScoredSeries, score_series
from exporter.engine.engine import EngineSettings
from exporter.engine.settings import BaselineSettings, DetectionSettings

__all__ = ["draw", "judge"]

TARGET = Path(__file__).parent.parent / "docs" / "concepts.svg"

STEP = 300.0
DAY = 86400.0
FIRST = datetime(2026, 10, 5, tzinfo=UTC).timestamp()  # A Monday.
DAYS = 28
SHOWN = 2.0
"""Days."""
BLUE, GRAY, RED = "#2b6cb0", "#4a5568", "#c53030"
COLORS = {
    "zscore": "#2b6cb0",
    "iqr": "#2f855a",
    "novelty": "#b7791f",
    "far": "#c53030",
    "counts": "#4a5568",
    "window": "#0987a0",
    "texture": "#97266d",
    "collective": "#805ad5",
}


def judge(settings: EngineSettings) -> ScoredSeries:
    """Let the engine judge four weeks of a latency that follows load; on the last day it doubles for an hour."""
    times = FIRST + STEP * np.arange(int(DAYS * DAY / STEP), dtype=np.float64)
    hour, weekday = times % DAY / 3600, (times - FIRST) // DAY % 7
    load = 1 + 0.6 * np.sin((hour - 9) / 24 * 2 * np.pi)
    noise = 1 + 0.035 * np.random.default_rng(3).standard_normal(len(times))
    values = (80 + 60 * load * np.where(weekday >= 5, 0.7, 1.0)) * noise
    fault = (times >= times[-1] - 9 * 3600) & (times < times[-1] - 8 * 3600)
    values[fault] *= 2.0
    stamps = np.array([f"{at:.0f}" for at in times], dtype="S")
    [judged] = score_series([RecordedSeries({}, stamps, times, values)], settings, STEP)
    return judged


def draw(judged: ScoredSeries, settings: EngineSettings, target: Path) -> None:
    """Draw the last two days: what was observed and expected, what each detector said, and the score."""
    mpl.rcParams.update(
        {"svg.hashsalt": "concepts", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    )
    part = judged.series.times >= judged.series.times[-1] - SHOWN * DAY
    when = [datetime.fromtimestamp(at, UTC) for at in judged.series.times[part]]
    observed, score = judged.series.values[part], judged.score[part]

    figure, axes = plt.subplots(3, 1, figsize=(9, 6), sharex=True, height_ratios=[3, 2, 1.4], layout="constrained")
    values, votes, scores = axes
    values.fill_between(when, judged.lower[part], judged.upper[part], color=BLUE, alpha=0.15, lw=0, label="band")
    values.plot(when, judged.expected[part], color=BLUE, lw=1, ls="--", label="expected_value")
    values.plot(when, observed, color=GRAY, lw=1, label="observed_value")
    anomalous = score >= 0.5
    values.plot(np.array(when)[anomalous], observed[anomalous], "o", color=RED, ms=3.5, label="anomalous")
    values.set_ylabel("latency, milliseconds")
    values.set_ylim(bottom=0)

    # One colour a detector, and a severity of 1 is its own threshold.
    for params, severities in zip(settings.detection.detectors, judged.severities, strict=True):
        label = f"{params.kind} ({params.votes})"
        votes.plot(when, np.clip(severities[part], 0, 4), color=COLORS[params.kind], lw=1, label=label)
    votes.axhline(1.0, color=RED, lw=0.8, ls=":")
    votes.set_ylabel("severity (votes)")

    scores.fill_between(when, score, color=RED, alpha=0.25, lw=0)
    scores.plot(when, score, color=RED, lw=1, label="anomaly_score")
    scores.axhline(0.5, color=RED, lw=0.8, ls=":")
    scores.set_ylim(0, 1)
    scores.set_ylabel("score")
    scores.xaxis.set_major_formatter(dates.DateFormatter("%a %H:%M"))
    for axis in axes:
        axis.legend(loc="upper left", frameon=False, ncols=4, fontsize=8)
        axis.margins(x=0)
    figure.savefig(target, metadata={"Date": None})


if __name__ == "__main__":
    chosen = EngineSettings(ZoneInfo("UTC"), BaselineSettings(), DetectionSettings())
    draw(judge(chosen), chosen, TARGET)
