"""Numbers, lengths of time and instants as people read them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

__all__ = ["Unit", "format_instant", "format_numbers", "format_span", "scale_of"]

Unit = Literal["bytes", "bytes_per_second", "per_second", "percent", "ratio", "seconds"]
"""What a query may say its values are."""

_DIGITS = 4
_SECONDS = ((7200.0, 3600.0, "h"), (120.0, 60.0, "min"), (0.1, 1.0, "s"), (1e-4, 1e-3, "ms"), (0.0, 1e-6, "\u00b5s"))
_BYTES = (*((1024.0**power, 1024.0**power, f"{name}iB") for power, name in ((4, "T"), (3, "G"), (2, "M"), (1, "K"))),
          (0.0, 1.0, "B"))  # fmt: skip
_SCALES: dict[str, Sequence[tuple[float, float, str]]] = {
    "bytes": _BYTES,
    "bytes_per_second": [(least, size, f"{name}/s") for least, size, name in _BYTES],
    "per_second": [(0.0, 1.0, "/s")],
    "percent": [(0.0, 1.0, "%")],
    "ratio": [(0.0, 0.01, "%")],
    "seconds": _SECONDS,
}
"""For each unit: from which largest number on, how large it is, and its sign."""
_SPANS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))


def format_numbers(
    numbers: Sequence[float], unit: Unit | None = None, like: Sequence[float] | None = None
) -> list[str]:
    """Write numbers that are read side by side: with as many decimals as it takes to distinguish them, in all of them.

    Parameters
    ----------
    numbers : sequence of float
    unit : Unit, optional
        All get the same sign, that of the largest of them.
    like : sequence of float, optional
        Numbers that they are read beside and look like; themselves unless given.

    >>> format_numbers([0.1 + 0.2, 0.21, 0.1])
    ['0.30', '0.21', '0.10']
    >>> format_numbers([1234567.8, 1300000.0, float("inf")])
    ['1234568', '1300000', '+Inf']
    >>> format_numbers([0.0093, 0.0021], "seconds")
    ['9.3 ms', '2.1 ms']
    >>> format_numbers([1.2 * 2**30], "bytes")
    ['1.2 GiB']
    """
    like = numbers if like is None else like
    if unit is None:
        return _written(numbers, like)
    largest = max((abs(number) for number in like if math.isfinite(number)), default=0.0)
    if not largest:
        largest = 1.0
    size, name = scale_of(largest, unit)
    texts = _written([number / size for number in numbers], [number / size for number in like])
    space = "" if name.startswith("/") else " "
    pairs = zip(texts, numbers, strict=True)
    return [f"{text}{space}{name}" if math.isfinite(number) else text for text, number in pairs]


def scale_of(largest: float, unit: Unit) -> tuple[float, str]:
    """Return by what numbers of a unit are divided that are at most so large, and what is written after them.

    >>> scale_of(3.0 * 2**20, "bytes"), scale_of(0.2, "ratio")
    ((1048576.0, 'MiB'), (0.01, '%'))
    """
    return next((size, name) for least, size, name in _SCALES[unit] if largest >= least)


def format_span(seconds: float) -> str:
    """Write a length of time by its two largest units.

    >>> format_span(93784.0), format_span(60.0), format_span(0.4)
    ('1 d 2 h', '1 min', '0 s')
    """
    left = max(0.0, seconds)
    for index, (size, unit) in enumerate(_SPANS[:-1]):
        count, rest = divmod(left, size)
        if count:
            smaller, name = _SPANS[index + 1]
            more = int(rest // smaller)
            # Nobody counts seconds beside minutes.
            return f"{int(count)} {unit} {more} {name}" if more and name != "s" else f"{int(count)} {unit}"
    return f"{int(left)} s"


def format_instant(at: float) -> str:
    """Write Unix seconds as ISO 8601, UTC.

    >>> format_instant(1_800_000_000.0)
    '2027-01-15T08:00:00Z'
    """
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _written(numbers: Sequence[float], like: Sequence[float]) -> list[str]:
    decimals = _decimals([number for number in like if math.isfinite(number)])
    return [_number(number, decimals) for number in numbers]


def _decimals(finite: Sequence[float]) -> int | None:
    """Return the decimals that distinguish `finite` with two digits to spare, or None for significant digits."""
    if not finite:
        return None
    largest = max(abs(number) for number in finite)
    # Halves, because the difference of two finite numbers need not be finite.
    spread = 2 * (max(finite) / 2 - min(finite) / 2)
    if not 0 < spread < math.inf or not 1e-4 <= largest < 1e15:
        return None
    decimals = max(0, 1 - math.floor(math.log10(spread)))
    # More digits than a float has would be noise, and then the significant ones are not shared.
    return decimals if decimals + max(0, math.floor(math.log10(largest))) <= 12 else None


def _number(number: float, decimals: int | None) -> str:
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "+Inf" if number > 0 else "-Inf"
    if decimals is not None:
        text = f"{number:.{decimals}f}"
        # A number far below the others is not zero, and must not be read as zero.
        if number == 0 or float(text) != 0:
            return text
    text = f"{number:.{_DIGITS}g}"
    if "e+" in text and abs(number) < 1e15:
        return f"{number:.0f}"
    return "0" if text == "-0" else text
