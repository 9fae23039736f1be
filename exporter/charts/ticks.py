"""How the numbers beside an axis are written: in the unit of the query, and no longer than they have to be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from matplotlib.ticker import Formatter

from exporter.alerting.explanation.formatting import Unit, scale_of

__all__ = ["Ticks", "written"]

_PLAIN = ((1e12, 1e12, "T"), (1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k"), (1e-3, 1.0, ""))
"""Without a unit: from which largest number on, how large it is, and its letter."""
_MOST = 6
"""Decimals."""


class Ticks(Formatter):
    """Writes the ticks of an axis.

    Parameters
    ----------
    unit : Unit or None
    """

    def __init__(self, unit: Unit | None) -> None:
        self._unit = unit

    def __call__(self, x: float, pos: int | None = None) -> str:  # noqa: ARG002 - as matplotlib calls it.
        """Return the text of one tick."""
        return written([x], self._unit)[0]

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        """Return the texts of all ticks; they share unit and decimals."""
        return written([float(value) for value in values], self._unit)


def written(values: Sequence[float], unit: Unit | None) -> list[str]:
    """Write numbers that are evenly apart.

    >>> written([0.0, 0.05, 0.1], "seconds"), written([0.0, 2e6, 4e6], None)
    (['0.00 s', '0.05 s', '0.10 s'], ['0 M', '2 M', '4 M'])
    >>> written([0.1, 0.2], "ratio"), written([1e-9, 2e-9], None)
    (['10 %', '20 %'], ['1e-09', '2e-09'])
    """
    largest = max((abs(value) for value in values), default=0.0)
    found = next(((size, name) for least, size, name in _PLAIN if largest >= least), None)
    if unit is not None:
        found = scale_of(largest, unit)
    elif largest == 0.0:
        found = 1.0, ""
    if found is None or not largest < 1e15:
        return [f"{value:g}" for value in values]
    size, name = found
    apart = min((abs(b - a) for a, b in pairwise(values)), default=largest) or 1.0
    decimals = next(
        (n for n in range(_MOST) if all(abs(round(v / size, n) * size - v) < 0.02 * apart for v in values)), _MOST
    )
    space = "" if not name or name.startswith("/") else " "
    return [f"{_whole(value / size):.{decimals}f}{space}{name}" for value in values]


def _whole(number: float) -> float:
    """Return the number, without the sign of a zero."""
    return 0.0 if math.isclose(number, 0.0, abs_tol=1e-12) else number
