"""Charts by matplotlib, without any state of its own. One thread at a time: its settings are global."""

from __future__ import annotations

import io
import re
import textwrap
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
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

from exporter.charts.chart import Chart, Look, Part
from exporter.charts.ticks import Ticks

__all__ = ["draw"]

FloatArray = npt.NDArray[np.float64]

_DAY = 86400.0
_INCHES = {Part.BAND: 4.3, Part.WEEKS: 2.6, Part.DECOMPOSITION: 5.2}
_WIDE, _NARROW = 9.6, 4.4
_TITLE, _LINE = 0.3, 0.16
"""Inches that a title takes, and a line of small print."""
_OFFSETS = [f"{form} %Z" for form in ("", "%Y", "%Y-%b", "%Y-%b-%d", "%Y-%b-%d", "%Y-%b-%d %H:%M")]
"""What is written below the instants of an axis, from years to seconds: what they share, and the time zone."""
_LONGEST_TITLE = {False: 110, True: 52}
# Characters that XML cannot have; and dollars, which would begin a formula.
_HARMFUL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")

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


def draw(chart: Chart, look: Look) -> bytes:
    """Draw a chart and return the file."""
    colours = _DARK if look.dark else _LIGHT
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
        size = (_NARROW if look.narrow else _WIDE, _INCHES[chart.part])
        figure = Figure(figsize=size, dpi=100, facecolor=colours.back)
        {Part.BAND: _band, Part.WEEKS: _weeks, Part.DECOMPOSITION: _parts}[chart.part](figure, chart, look, colours)
        _words(figure, chart, look, colours)
        out = io.BytesIO()
        if look.form == "svg":
            FigureCanvasSVG(figure).print_svg(
                out, metadata={"Date": None, "Creator": None, "Title": _clean(chart.title)}
            )
        else:
            figure.set_dpi(150)
            FigureCanvasAgg(figure).print_png(out, metadata={"Software": None})
    return out.getvalue()


def _band(figure: Figure, chart: Chart, look: Look, colours: _Colours) -> None:
    grid = figure.add_gridspec(2, 1, height_ratios=(6, 1), hspace=0.12, **_margins(chart, look))
    main = figure.add_subplot(grid[0])
    votes = figure.add_subplot(grid[1], sharex=main)
    x, lines = chart.times / _DAY, chart.lines
    observed, expected, score = lines["observed"], lines["expected"], lines["score"]
    low, high = _limits([observed, expected, lines["lower"], lines["upper"]])
    known = ~(np.isnan(lines["lower"]) & np.isnan(lines["upper"]))
    lower = np.where(np.isnan(lines["lower"]), low, lines["lower"])
    upper = np.where(np.isnan(lines["upper"]), high, lines["upper"])
    main.fill_between(x, lower, upper, where=known, color=colours.band, linewidth=0, label="band")
    bad = score >= 0.5
    half = _half(x)
    for axes in (main, votes):
        for begin, end in _runs(bad):
            axes.axvspan(x[begin] - half, x[end] + half, color=colours.bad, alpha=0.13, linewidth=0)
    _line(main, x, expected, chart, color=colours.expected, linewidth=1.1, linestyle=(0, (4, 3)), label="expected")
    _line(main, x, observed, chart, color=colours.observed, linewidth=1.4, label="observed")
    main.plot(x[bad], observed[bad], "o", color=colours.bad, markersize=3.2, label="anomalous", linestyle="none")
    main.set_ylim(low, high)
    main.yaxis.set_major_formatter(Ticks(chart.unit))
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
    _time_axis(votes, chart, look)
    _legend(main, colours, columns=4)


def _weeks(figure: Figure, chart: Chart, look: Look, colours: _Colours) -> None:
    axes = figure.add_subplot(figure.add_gridspec(1, 1, **_margins(chart, look))[0])
    x = chart.times / _DAY
    names = list(chart.lines)
    for name, colour in zip(names[:-1], reversed(colours.weeks), strict=True):
        _line(axes, x, chart.lines[name], chart, color=colour, linewidth=1.0, label=name)
    _line(axes, x, chart.lines[names[-1]], chart, color=colours.observed, linewidth=1.6, label=names[-1])
    axes.set_ylim(*_limits(list(chart.lines.values())))
    axes.yaxis.set_major_formatter(Ticks(chart.unit))
    _style(axes, colours)
    _time_axis(axes, chart, look)
    _legend(axes, colours, columns=5)


def _parts(figure: Figure, chart: Chart, look: Look, colours: _Colours) -> None:
    names = list(chart.lines)
    grid = figure.add_gridspec(len(names), 1, hspace=0.45, **_margins(chart, look))
    first: Axes | None = None
    for number, name in enumerate(names):
        axes = figure.add_subplot(grid[number], sharex=first)
        first = first or axes
        if name == "residual":
            axes.axhline(0.0, color=colours.grid, linewidth=1.0)
        _line(axes, chart.times / _DAY, chart.lines[name], chart, color=colours.observed, linewidth=1.1)
        axes.set_ylim(*_limits([chart.lines[name]]))
        axes.yaxis.set_major_formatter(Ticks(chart.unit))
        axes.set_title(name, loc="left", fontsize=8.5, pad=2, color=colours.soft)
        axes.locator_params(axis="y", nbins=3)
        _style(axes, colours)
        axes.tick_params(labelbottom=number == len(names) - 1)
        if number == len(names) - 1:
            _time_axis(axes, chart, look)


def _margins(chart: Chart, look: Look) -> dict[str, float]:
    """Return where the axes are, in parts of the figure; what is around them is written in inches."""
    width, height = _NARROW if look.narrow else _WIDE, _INCHES[chart.part]
    top = _TITLE if look.form == "png" else 0.0
    bottom = _LINE * len(_lines(chart.source, look)) if chart.source else 0.0
    return {
        "left": 0.7 / width,
        "right": 1.0 - 0.26 / width,
        "top": 1.0 - (0.32 + top) / height,
        "bottom": (0.42 + bottom) / height,
    }


def _words(figure: Figure, chart: Chart, look: Look, colours: _Colours) -> None:
    """Write what a picture needs that stands alone; a page has it beside the picture."""
    width, height = _NARROW if look.narrow else _WIDE, _INCHES[chart.part]
    if look.form == "png":
        title = _short(f"{chart.title}  {chart.subtitle}", _LONGEST_TITLE[look.narrow])
        figure.text(0.12 / width, 1.0 - 0.1 / height, title, va="top", fontsize=9.5, fontweight="bold")
    for number, line in enumerate(reversed(_lines(chart.source, look))):
        place = (0.12 / width, (0.06 + _LINE * number) / height)
        figure.text(*place, line, va="bottom", fontsize=7.5, color=colours.soft)


def _lines(text: str, look: Look) -> list[str]:
    return textwrap.wrap(_clean(text), 74 if look.narrow else 170)


def _line(axes: Axes, x: FloatArray, y: FloatArray, chart: Chart, **style: object) -> None:
    """Draw a line that is broken where samples are missing."""
    gaps = np.flatnonzero(np.diff(chart.times) > chart.gaps) + 1
    axes.plot(np.insert(x, gaps, np.nan), np.insert(y, gaps, np.nan), **style)  # type: ignore[arg-type]


def _style(axes: Axes, colours: _Colours) -> None:
    axes.set_facecolor(colours.back)
    axes.grid(visible=True, color=colours.grid, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def _time_axis(axes: Axes, chart: Chart, look: Look) -> None:
    zone = ZoneInfo(chart.zone)
    # With these numbers there is an interval for every range from a minute to a month.
    locator = AutoDateLocator(tz=zone, minticks=2 if look.narrow else 3, maxticks=5 if look.narrow else 10)
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
    return _HARMFUL.sub("\ufffd", text)
