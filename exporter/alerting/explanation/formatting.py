"""Numbers, lengths of time and instants as people read them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Literal

__all__ = [
    "Unit", "format_instant", "format_lasted", "format_numbers", "format_span", "is_share", "rounded_numbers",
    "scale_of",
]  # fmt: skip

Unit = Literal["bytes", "bytes_per_second", "per_second", "percent", "ratio", "seconds"]
"""What a query may say its values are."""

_DIGITS = 4
"""Significant digits of a number that is compared with nothing."""
_NEGLIGIBLE = 1e-5
"""Part of the largest of the numbers that are read together below which a number is zero: rounding, or what is left
of a mean of zeros."""
_OWN_SCALE = 0.01
"""Part of the largest below which a number has a scale of its own: 5 MiB, not 0.0049 GiB."""
_EQUAL = 0.01
"""Part of their spread below which two numbers need not differ when written."""
_LEAST, _MOST = 1e-4, 1e15
"""Between these numbers are written without an exponent."""
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

    A number far below the others has two digits all the same, and what is nothing beside them is 0.

    Parameters
    ----------
    numbers : sequence of float
    unit : Unit, optional
        All get the same sign, that of the largest of them, but for those that are less than a hundredth of it.
    like : sequence of float, optional
        Numbers that they are read beside and look like; themselves unless given.

    >>> format_numbers([0.1 + 0.2, 0.21, 0.1])
    ['0.30', '0.21', '0.10']
    >>> format_numbers([1234567.8, 1300000.0, float("inf")])
    ['1234568', '1300000', '+Inf']
    >>> format_numbers([0.56, 12.17, 1e-307], "per_second")
    ['0.56/s', '12.2/s', '0/s']
    >>> format_numbers([0.0093, 0.0021], "seconds")
    ['9.3 ms', '2.1 ms']
    >>> format_numbers([1.2 * 2**30, 5 * 2**20], "bytes")
    ['1.2 GiB', '5 MiB']
    """
    return [text for text, _ in _numbers(numbers, unit, numbers if like is None else like)]


def rounded_numbers(
    numbers: Sequence[float], unit: Unit | None = None, like: Sequence[float] | None = None
) -> list[float]:
    """Return the numbers as `format_numbers` writes them, so that what is said of them agrees with what is read.

    >>> rounded_numbers([0.1 + 0.2, 0.214, 0.1])
    [0.3, 0.21, 0.1]
    """
    return [value for _, value in _numbers(numbers, unit, numbers if like is None else like)]


def is_share(unit: Unit | None) -> bool:
    """Return whether values of a unit are shares, whose differences are percentage points."""
    return unit in ("percent", "ratio")


def scale_of(largest: float, unit: Unit) -> tuple[float, str]:
    """Return by what numbers of a unit are divided that are at most so large, and what is written after them.

    >>> scale_of(3.0 * 2**20, "bytes"), scale_of(0.2, "ratio")
    ((1048576.0, 'MiB'), (0.01, '%'))
    """
    return next((size, name) for least, size, name in _SCALES[unit] if largest >= least)


def format_lasted(since: float, at: float) -> str:
    """Write how long something has lasted; empty at the instant at which it began.

    >>> format_lasted(60.0, 180.0), format_lasted(60.0, 60.0)
    ('2 min', '')
    """
    return format_span(at - since) if at > since else ""


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


def _numbers(numbers: Sequence[float], unit: Unit | None, like: Sequence[float]) -> list[tuple[str, float]]:
    """Return the text of each number, and the number that it says."""
    largest = max((abs(number) for number in like if math.isfinite(number)), default=0.0)
    common = (1.0, "") if unit is None else scale_of(largest or 1.0, unit)
    decimals = _decimals([number / common[0] for number in like])
    scales, texts = [], []
    for number in numbers:
        own = unit is not None and _NEGLIGIBLE * largest <= abs(number) < _OWN_SCALE * largest
        scales.append(scale_of(abs(number), unit) if own and unit is not None else common)
        scaled = 0.0 if abs(number) < _NEGLIGIBLE * largest else number / scales[-1][0]
        texts.append(_number(scaled, decimals if scales[-1] == common else None))
    written = []
    for number, (size, name), text in zip(numbers, scales, _shortened(texts), strict=True):
        sign = f"{' ' * (not name.startswith('/'))}{name}" if name and math.isfinite(number) else ""
        written.append((text + sign, float(text) * size))
    return written


def _shortened(texts: Sequence[str]) -> list[str]:
    """Return numbers without the zeros at the end of all of their decimals."""
    parts = [text.partition(".") for text in texts]
    used = max((len(part.rstrip("0")) for _, _, part in parts if part.isdigit()), default=0)
    return [
        (f"{whole}.{part[:used]}" if used else whole) if part.isdigit() else text
        for text, (whole, _, part) in zip(texts, parts, strict=True)
    ]


def _decimals(numbers: Sequence[float]) -> int | None:
    """Return the decimals that distinguish numbers with two digits to spare, or None for significant digits."""
    finite = sorted(number for number in numbers if math.isfinite(number))
    if not finite:
        return None
    largest = max(abs(number) for number in finite)
    # Halves, because the difference of two finite numbers need not be finite.
    spread = 2 * (finite[-1] / 2 - finite[0] / 2)
    if not 0 < spread < math.inf or not _LEAST <= largest < _MOST:
        return None
    gaps = [b - a for a, b in pairwise(finite) if b - a >= _EQUAL * spread]
    decimals = max(0, 1 - math.floor(math.log10(spread)), -math.floor(math.log10(min(gaps))))
    # More digits than a float has would be noise, and then the significant ones are not shared.
    return decimals if decimals + max(0, math.floor(math.log10(largest))) <= 12 else None


def _number(number: float, decimals: int | None) -> str:
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "+Inf" if number > 0 else "-Inf"
    if number == 0:
        return "0"
    if decimals is not None:
        least = 1 - math.floor(math.log10(abs(number)))
        if least <= decimals:
            return f"{number:.{decimals}f}"
        # Two digits, because a share of it may be read beside it.
        whole, _, part = f"{number:.{least}f}".partition(".")
        part = part[:decimals] + part[decimals:].rstrip("0")
        return f"{whole}.{part}" if part else whole
    text = f"{number:.{_DIGITS}g}"
    return f"{number:.0f}" if "e+" in text and abs(number) < _MOST else text
