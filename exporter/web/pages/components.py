"""Small drawings inside a page: how high a score is, and where in its band a series has been."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from exporter.web.pages.markup import Markup, Node, tag

__all__ = ["score_bar", "strip"]

FloatArray = npt.NDArray[np.float64]

_WIDTH, _HEIGHT = 132.0, 30.0
_REACH = 3.2
"""Half-widths of the band from the middle of the strip to its edge."""


def score_bar(score: float) -> Markup:
    """Draw a score from 0 to 1, with a mark where anomalies begin, and say it."""
    if math.isnan(score):
        return tag("span", "–", class_="absent", title="nothing can be said of it so far")  # noqa: RUF001
    bar = [
        tag("rect", class_="track", width=60, height=8, y=3, rx=2),
        tag("rect", class_="fill", width=f"{60 * score:.1f}", height=8, y=3, rx=2),
        tag("line", class_="mark", x1=30, x2=30, y1=0, y2=14),
    ]
    drawing = tag("svg", *bar, viewBox="0 0 60 14", class_="bar", aria_hidden="true")
    return tag("span", f"{score:.2f} ", drawing, class_="score bad" if score >= 0.5 else "score")


def strip(place: FloatArray) -> Markup:
    """Draw where in its band each of the last samples was, oldest first.

    Parameters
    ----------
    place : ndarray, shape (t,)
        0 as expected, 1 at the upper edge, -1 at the lower one; NaN where nothing can be said.
    """
    known = int(np.count_nonzero(~np.isnan(place)))
    outside = int(np.count_nonzero(np.abs(place) > 1.0))
    said = f"{outside} of the last {known} samples were outside the band" if known else "no samples so far"
    middle, unit = _HEIGHT / 2, _HEIGHT / 2 / _REACH
    x = np.linspace(2.0, _WIDTH - 2.0, len(place))
    y = middle - np.clip(place, -3.0, 3.0) * unit
    shapes: list[Node] = [
        tag("rect", class_="band", x=0, y=f"{middle - unit:.1f}", width=_WIDTH, height=f"{2 * unit:.1f}"),
        tag("line", class_="middle", x1=0, x2=_WIDTH, y1=middle, y2=middle),
    ]
    shapes += [
        tag("polyline", points=" ".join(f"{x[i]:.1f},{y[i]:.1f}" for i in run)) for run in _runs(~np.isnan(place))
    ]
    shapes += [
        tag("circle", cx=f"{x[i]:.1f}", cy=f"{y[i]:.1f}", r="1.7") for i in np.flatnonzero(np.abs(place) > 1.0).tolist()
    ]
    if known:
        last = int(np.flatnonzero(~np.isnan(place))[-1])
        shapes.append(tag("circle", class_="last", cx=f"{x[last]:.1f}", cy=f"{y[last]:.1f}", r="2.2"))
    return tag("svg", tag("title", said), shapes, viewBox=f"0 0 {_WIDTH:g} {_HEIGHT:g}", class_="strip", role="img")


def _runs(here: npt.NDArray[np.bool_]) -> Iterator[list[int]]:
    """Yield the places of samples that follow each other without a gap."""
    run: list[int] = []
    for index, is_here in enumerate([*here.tolist(), False]):
        if is_here:
            run.append(index)
        elif run:
            yield run
            run = []
