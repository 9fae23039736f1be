"""Drawing of charts by matplotlib. One thread at a time: the settings of matplotlib are global."""

from __future__ import annotations

import io
import math
import re
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import Formatter

from exporter.alerting.explanation.formatting import Unit, scale_of
from exporter.charts.chart import PREFIXES, Chart, ChartPart, ChartStyle
from exporter.hidden_text import escape_hidden

__all__ = ["UnitFormatter", "draw", "format_ticks"]

FloatArray = npt.NDArray[np.float64]

_DAY = 86400.0
_INCHES = {ChartPart.BAND: 4.3, ChartPart.WEEKS: 2.6, ChartPart.DECOMPOSITION: 5.2}
_WIDE, _NARROW = 9.6, 4.4
_TITLE, _LINE = 0.3, 0.16
"""Inches that a title takes, and a line of small print."""
_OFFSETS = [f"{form} %Z" for form in ("", "%Y", "%Y-%b", "%Y-%b-%d", "%Y-%b-%d", "%Y-%b-%d %H:%M")]
"""What is written below the instants of an axis, from years to seconds: what they share, and the time zone."""
_LONGEST_TITLE = {False: 110, True: 52}
# Characters that XML cannot have; and dollars, which would begin a formula.
_HARMFUL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")

_MOST_DECIMALS = 6

# Labels may be in any script; a letter that no font here has is drawn as a box, and that is all.
warnings.filterwarnings("ignore", message="Glyph .* missing from font")


@dataclass(frozen=True, slots=True)
class _Colours:
    back: str
    text: str
    soft: str
    grid: str
    observed: str
    expected: str
    band: str
    bad: str
    weeks: tuple[str, ...]


_LIGHT = _Colours(
    "#ffffff", "#18202c", "#566174", "#e4e8ee", "#14427f", "#566174", "#cfe0f6", "#c3261f",
    ("#8a97a8", "#a3aebb", "#bac2cc", "#cfd5dc"),
)  # fmt: skip
_DARK = _Colours(
    "#181e27", "#e5eaf1", "#9dabbd", "#2b3440", "#9cc2fb", "#9dabbd", "#233a5c", "#ff7a70",
    ("#8492a4", "#6d7a8b", "#596575", "#485361"),
)  # fmt: skip


_SHARED_SCALE = ("daily", "weekly", "residual")
"""Parts of a decomposition."""
_LONGEST_CHANGE = 40
"""Letters of what changed that have room in a chart."""


def draw(chart: Chart, style: ChartStyle) -> bytes:
    """Draw a chart and return the file."""
    colours = _DARK if style.dark else _LIGHT
    settings: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": "anomaly-exporter",
        "font.family": "sans-serif",
        "font.size": 9.0,
        "text.color": colours.text,
        "text.parse_math": False,
        "axes.edgecolor": colours.grid,
        "axes.labelcolor": colours.soft,
        "axes.titlecolor": colours.text,
        "xtick.color": colours.soft,
        "ytick.color": colours.soft,
        "timezone": chart.zone,
        "path.simplify": True,
    }
    with mpl.rc_context(settings):
        size = (_NARROW if style.narrow else _WIDE, _INCHES[chart.part])
        figure = Figure(figsize=size, dpi=100, facecolor=colours.back)
        {ChartPart.BAND: _band, ChartPart.WEEKS: _weeks, ChartPart.DECOMPOSITION: _parts}[chart.part](
            figure, chart, style, colours
        )
        _captions(figure, chart, style, colours)
        out = io.BytesIO()
        if style.form == "svg":
            FigureCanvasSVG(figure).print_svg(
                out, metadata={"Date": None, "Creator": None, "Title": _clean(chart.title)}
            )
        else:
            figure.set_dpi(150)
            FigureCanvasAgg(figure).print_png(out, metadata={"Software": None})
    return out.getvalue()


def _band(figure: Figure, chart: Chart, style: ChartStyle, colours: _Colours) -> None:
    grid = figure.add_gridspec(2, 1, height_ratios=(6, 1), hspace=0.12, **_margins(chart, style))
    main = figure.add_subplot(grid[0])
    votes = figure.add_subplot(grid[1], sharex=main)
    x, lines = chart.times / _DAY, chart.lines
    observed, expected, score = lines["observed"], lines["expected"], lines["score"]
    coming = [lines[name] for name in ("forecast", "forecast_lower", "forecast_upper") if name in lines]
    low, high = _limits([observed, expected, lines["lower"], lines["upper"], *coming])
    if chart.limit is not None and low - (high - low) <= chart.limit <= high + (high - low):
        # It is worth seeing where it is not so far that all else would be flat.
        low, high = _limits([np.array([low, high, chart.limit])])
        main.axhline(chart.limit, color=colours.bad, linewidth=1.0, linestyle=(0, (3, 2)), label="limit")
    has_band = ~(np.isnan(lines["lower"]) & np.isnan(lines["upper"]))
    lower = np.where(np.isnan(lines["lower"]), low, lines["lower"])
    upper = np.where(np.isnan(lines["upper"]), high, lines["upper"])
    anew = np.zeros(len(x), np.bool_) if chart.anew is None else chart.anew
    main.fill_between(x, lower, upper, where=has_band & ~anew, color=colours.band, linewidth=0, label="band")
    if anew.any():
        # One sample further, so that the two meet.
        there = has_band & (anew | np.append(False, anew[:-1]))
        main.fill_between(
            x, lower, upper, where=there, facecolor="none", edgecolor=colours.band, hatch="////", linewidth=0
        )
    bad, hollow = (score >= 0.5) & ~anew, (score >= 0.5) & anew
    half = _half(x[~np.isnan(observed)])
    for axes in (main, votes):
        for begin, end in _runs(bad):
            axes.axvspan(x[begin] - half, x[end] + half, color=colours.bad, alpha=0.13, linewidth=0)
    _line(main, x, expected, chart, color=colours.expected, linewidth=1.1, linestyle=(0, (4, 3)), label="expected")
    _line(main, x, observed, chart, color=colours.observed, linewidth=1.4, label="observed")
    if coming:
        middle, below, beyond = coming
        main.fill_between(x, below, beyond, color=colours.observed, alpha=0.16, linewidth=0, label="forecast, 80 %")
        main.plot(x, middle, color=colours.observed, linewidth=1.2, linestyle=(0, (1, 1)))
    main.plot(x[bad], observed[bad], "o", color=colours.bad, markersize=3.2, label="anomalous", linestyle="none")
    if hollow.any():
        main.plot(x[hollow], observed[hollow], "o", markerfacecolor="none", markeredgecolor=colours.bad, markersize=3.6,
                  linestyle="none", label="judged anew")  # fmt: skip
    for starts, ends, _ in chart.events:
        main.axvspan(starts / _DAY, ends / _DAY, ymin=0.97, color=colours.soft, alpha=0.5, linewidth=0)
    _mark_changes(main, chart, colours)
    main.set_ylim(low, high)
    main.yaxis.set_major_formatter(UnitFormatter(chart.unit))
    cast = lines["votes"]
    votes.fill_between(x, 0.0, np.nan_to_num(cast), step="mid", color=colours.observed, alpha=0.55, linewidth=0)
    votes.axhline(chart.quorum, color=colours.bad, linewidth=1.0, linestyle=(0, (3, 2)))
    top = max(float(np.nanmax(cast, initial=0.0)), float(chart.quorum)) + 0.5
    votes.set_ylim(0, top)
    votes.set_yticks([0, chart.quorum])
    votes.set_ylabel("votes")
    for axes in (main, votes):
        _style(axes, colours)
    main.tick_params(labelbottom=False)
    _time_axis(votes, chart, style)
    _legend(main, colours, columns=3 if style.narrow else 7)


def _mark_changes(axes: Axes, chart: Chart, colours: _Colours) -> None:
    """Draw a line for each change, with its text along it."""
    for at, text in chart.changes:
        axes.axvline(at / _DAY, color=colours.soft, linewidth=1.0, linestyle=(0, (1, 2)))
        axes.annotate(
            _clean(text)[:_LONGEST_CHANGE],
            (at / _DAY, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(3, -4),
            textcoords="offset points",
            rotation=90,
            va="top",
            fontsize=7.0,
            color=colours.soft,
            annotation_clip=True,
        )


def _weeks(figure: Figure, chart: Chart, style: ChartStyle, colours: _Colours) -> None:
    axes = figure.add_subplot(figure.add_gridspec(1, 1, **_margins(chart, style))[0])
    x = chart.times / _DAY
    names = list(chart.lines)
    for name, colour in zip(names[:-1], reversed(colours.weeks), strict=True):
        _line(axes, x, chart.lines[name], chart, color=colour, linewidth=1.0, label=name)
    _line(axes, x, chart.lines[names[-1]], chart, color=colours.observed, linewidth=1.6, label=names[-1])
    axes.set_ylim(*_limits(list(chart.lines.values())))
    axes.yaxis.set_major_formatter(UnitFormatter(chart.unit))
    _style(axes, colours)
    _time_axis(axes, chart, style)
    _legend(axes, colours, columns=5)


def _parts(figure: Figure, chart: Chart, style: ChartStyle, colours: _Colours) -> None:
    names = list(chart.lines)
    grid = figure.add_gridspec(len(names), 1, hspace=0.45, **_margins(chart, style))
    first: Axes | None = None
    # Seasons and residual have one scale, so that a small one looks small.
    limits = {name: _limits([line]) for name, line in chart.lines.items()}
    span = max(limits[name][1] - limits[name][0] for name in _SHARED_SCALE)
    for number, name in enumerate(names):
        axes = figure.add_subplot(grid[number], sharex=first)
        first = first or axes
        if name == "residual":
            axes.axhline(0.0, color=colours.grid, linewidth=1.0)
        _line(axes, chart.times / _DAY, chart.lines[name], chart, color=colours.observed, linewidth=1.1)
        low, high = limits[name]
        if name in _SHARED_SCALE:
            low, high = (low + high - span) / 2, (low + high + span) / 2
        axes.set_ylim(low, high)
        axes.yaxis.set_major_formatter(UnitFormatter(chart.unit))
        axes.set_title(name, loc="left", fontsize=8.5, pad=2, color=colours.soft)
        axes.locator_params(axis="y", nbins=3)
        _style(axes, colours)
        axes.tick_params(labelbottom=number == len(names) - 1)
        if number == len(names) - 1:
            _time_axis(axes, chart, style)


def _margins(chart: Chart, style: ChartStyle) -> dict[str, float]:
    """Return the borders of the axes as fractions of the figure."""
    width, height = _NARROW if style.narrow else _WIDE, _INCHES[chart.part]
    top = _TITLE if style.form == "png" else 0.0
    bottom = _LINE * len(_lines(chart.source, style)) if chart.source else 0.0
    return {
        "left": 0.7 / width,
        "right": 1.0 - 0.26 / width,
        "top": 1.0 - (0.32 + top) / height,
        "bottom": (0.42 + bottom) / height,
    }


def _captions(figure: Figure, chart: Chart, style: ChartStyle, colours: _Colours) -> None:
    """Write the title of a picture that stands alone, and the small print."""
    width, height = _NARROW if style.narrow else _WIDE, _INCHES[chart.part]
    if style.form == "png":
        title = _short(f"{chart.title}  {chart.subtitle}", _LONGEST_TITLE[style.narrow])
        figure.text(0.12 / width, 1.0 - 0.1 / height, title, va="top", fontsize=9.5, fontweight="bold")
    for number, line in enumerate(reversed(_lines(chart.source, style))):
        place = (0.12 / width, (0.06 + _LINE * number) / height)
        figure.text(*place, line, va="bottom", fontsize=7.5, color=colours.soft)


def _lines(text: str, style: ChartStyle) -> list[str]:
    return textwrap.wrap(_clean(text), 74 if style.narrow else 170)


def _line(axes: Axes, x: FloatArray, y: FloatArray, chart: Chart, **options: object) -> None:
    """Draw a line that is broken where samples are missing."""
    gaps = np.flatnonzero(np.diff(chart.times) > chart.gaps) + 1
    axes.plot(np.insert(x, gaps, np.nan), np.insert(y, gaps, np.nan), **options)  # type: ignore[arg-type]


def _style(axes: Axes, colours: _Colours) -> None:
    axes.set_facecolor(colours.back)
    axes.grid(visible=True, color=colours.grid, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def _time_axis(axes: Axes, chart: Chart, style: ChartStyle) -> None:
    zone = ZoneInfo(chart.zone)
    # With these numbers there is an interval for every range from a minute to a month.
    locator = AutoDateLocator(tz=zone, minticks=2 if style.narrow else 3, maxticks=5 if style.narrow else 10)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=zone, offset_formats=_OFFSETS))
    if len(chart.times) > 1:
        begin, end = chart.times[0] / _DAY, chart.times[-1] / _DAY
        axes.set_xlim(begin, end + 0.004 * (end - begin))


def _legend(axes: Axes, colours: _Colours, *, columns: int) -> None:
    axes.legend(
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        ncols=columns,
        frameon=False,
        fontsize=8.5,
        labelcolor=colours.soft,
        borderaxespad=0.1,
        handlelength=1.6,
        columnspacing=1.4,
    )


def _limits(lines: list[FloatArray]) -> tuple[float, float]:
    """Return the range of the values with a margin."""
    values = np.concatenate([line[np.isfinite(line)] for line in lines])
    if not len(values):
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    margin = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    # What is never negative is not drawn below zero.
    return (max(low - margin, 0.0) if low >= 0 and low < margin else low - margin), high + margin


def _half(x: FloatArray) -> float:
    return 0.5 * float(np.median(np.diff(x))) if len(x) > 1 else 0.0


def _runs(flags: npt.NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """Yield the first and last index of every run of True."""
    edges = np.diff(np.concatenate(([0], flags.astype(np.int8), [0])))
    yield from zip(np.flatnonzero(edges == 1).tolist(), (np.flatnonzero(edges == -1) - 1).tolist(), strict=True)


def _short(text: str, most: int) -> str:
    text = _clean(text)
    return text if len(text) <= most else text[: most - 1] + "…"


def _clean(text: str) -> str:
    return escape_hidden(_HARMFUL.sub("\ufffd", text))


class UnitFormatter(Formatter):
    """Writes the ticks of an axis."""

    def __init__(self, unit: Unit | None) -> None:
        self._unit = unit

    def __call__(self, x: float, pos: int | None = None) -> str:  # noqa: ARG002 - as matplotlib calls it.
        """Return the text of one tick."""
        return format_ticks([x], self._unit)[0]

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        """Return the texts of all ticks; they share unit and decimals."""
        return format_ticks([float(value) for value in values], self._unit)


def format_ticks(values: Sequence[float], unit: Unit | None) -> list[str]:
    """Write evenly spaced numbers with one unit, and no more decimals than they need.

    >>> format_ticks([0.0, 0.05, 0.1], "seconds"), format_ticks([0.0, 2e6, 4e6], None)
    (['0.00 s', '0.05 s', '0.10 s'], ['0 M', '2 M', '4 M'])
    >>> format_ticks([0.1, 0.2], "ratio"), format_ticks([1e-9, 2e-9], None)
    (['10 %', '20 %'], ['1e-09', '2e-09'])
    """
    largest = max((abs(value) for value in values), default=0.0)
    scale = next(((size, name) for least, size, name in PREFIXES if largest >= least), None)
    if unit is not None:
        scale = scale_of(largest, unit)
    elif largest == 0.0:
        scale = 1.0, ""
    if scale is None or not largest < 1e15:
        return [f"{value:g}" for value in values]
    size, name = scale
    spacing = min((abs(b - a) for a, b in pairwise(values)), default=largest) or 1.0
    decimals = next(
        (n for n in range(_MOST_DECIMALS) if all(abs(round(v / size, n) * size - v) < 0.02 * spacing for v in values)),
        _MOST_DECIMALS,
    )
    space = "" if not name or name.startswith("/") else " "
    return [f"{_whole(value / size):.{decimals}f}{space}{name}" for value in values]


def _whole(number: float) -> float:
    """Return the number, without the sign of a zero."""
    return 0.0 if math.isclose(number, 0.0, abs_tol=1e-12) else number
