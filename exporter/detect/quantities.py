"""Numbers with units, as dashboards export them: ``12.3 ms``, ``45 %``, ``1.2 GiB``, ``1.5 K req/s``."""

from __future__ import annotations

import re

from exporter.detect.recorded_series import parse_value

__all__ = ["ColumnReader"]

_SHORT = {"k": 1e3, "K": 1e3, "M": 1e6, "Mil": 1e6, "G": 1e9, "Bil": 1e9, "T": 1e12, "Tri": 1e12}
_SECONDS = {
    1e-9: ("ns",), 1e-6: ("µs", "μs", "us"), 1e-3: ("ms",), 1.0: ("s", "sec", "secs", "second", "seconds"),
    60.0: ("min", "mins", "minute", "minutes"), 3600.0: ("h", "hour", "hours"), 86400.0: ("d", "day", "days"),
    604800.0: ("week", "weeks"), 31536000.0: ("year", "years"),
}  # fmt: skip
_UNITS: dict[str, tuple[float, str]] = {"%": (1.0, "%"), "°C": (1.0, "°C"), "°F": (1.0, "°F"), "K": (1e3, "")}
"""Factor and base unit of each unit."""
_UNITS |= {name: (factor, "") for name, factor in _SHORT.items()}
_UNITS |= {name: (factor, "s") for factor, names in _SECONDS.items() for name in names}
for _power, _prefix in enumerate(("", "k", "M", "G", "T", "P", "E")):
    for _base in ("B", "b", "Hz", "W", "Wh", "V", "A", "J", "bps", "Bps"):
        _of = {"bps": "b/s", "Bps": "B/s"}.get(_base, _base)
        _UNITS[_prefix + _base] = (1e3**_power, _of)
        if _base in ("B", "b", "bps", "Bps") and _prefix:
            _UNITS[f"{_prefix.upper()}i{_base}"] = _UNITS[f"{_prefix}i{_base}"] = (1024.0**_power, _of)
_UNITS |= {"KB": (1e3, "B"), "Kb": (1e3, "b"), "bytes": (1.0, "B"), "bits": (1.0, "b"), "bit": (1.0, "b")}
_UNITS |= {"mV": (1e-3, "V"), "mA": (1e-3, "A"), "mW": (1e-3, "W")}
_UNITS |= {money: (1.0, money) for money in "$€£¥"}
_COUNTED = ("ops", "rps", "wps", "iops", "rpm", "opm", "cps", "eps", "mps", "pps")
_UNITS |= {name: (1.0, name) for name in _COUNTED}

_QUANTITY = re.compile(
    r"\s*(?P<money>[$€£¥])?\s*(?P<number>[+-]?[0-9][0-9.,\u00a0\u202f]*(?:[eE][+-]?[0-9]+)?|[+-]?\.[0-9]+)"
    r"(?P<blank>\s*)(?P<unit>[^\W\d_°%][^\d]*|[°%$€£¥][^\d]*)?\s*"
)
_GROUPED = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_BLANKS = re.compile(r"(?<=\d)[\u00a0\u202f](?=\d{3})")


class ColumnReader:
    """Reads the cells of a column; all of its units must be of one kind.

    Parameters
    ----------
    comma_is_decimal : bool
        Whether ``1.234,5`` is a little more than a thousand.
    """

    def __init__(self, *, comma_is_decimal: bool) -> None:
        self._comma = comma_is_decimal
        self._base: str | None = None
        self._first = ""
        self.units: set[str] = set()
        """As they are written."""

    def read(self, text: str) -> float | str:
        """Return the value in base units (NaN: missing), or why it cannot be read."""
        plain = None if self._comma and "," in text else parse_value(text)
        if plain is not None:
            # A zero has no unit as it has any; what is missing or infinite has none, either.
            return (
                plain
                if plain != plain or plain in (0.0, float("inf"), float("-inf"))
                else self._of_kind(plain, "", text)
            )
        form = _QUANTITY.fullmatch(text)
        number = None if form is None else self._number(form["number"])
        if form is None or number is None:
            return f"not a number: {text[:60]!r}"
        written = (form["unit"] or "").strip()
        scale = _scale(written, spaced=bool(form["blank"]))
        if scale is None:
            return f"not a number: {text[:60]!r}"
        factor, base = scale
        value = self._of_kind(number * factor, (form["money"] or "") + base, text)
        if written and isinstance(value, float):
            self.units.add(written)
        return value

    @property
    def note(self) -> str:
        """What was done with the units; empty where there were none."""
        written = sorted(self.units - {self._base})
        return f"values in {', '.join(written)} are read as {self._base or 'plain numbers'}" if written else ""

    def _of_kind(self, value: float, base: str, text: str) -> float | str:
        if self._base is None:
            self._base, self._first = base, text.strip()
        if base != self._base:
            return f"{text.strip()[:60]!r} has another unit than {self._first[:60]!r} above it"
        return value

    def _number(self, text: str) -> float | None:
        text = _BLANKS.sub("", text)
        if self._comma:
            return parse_value(text.replace(".", "").replace(",", ".") if "," in text else text)
        return parse_value(text.replace(",", "") if _GROUPED.fullmatch(text) else text)


def _scale(unit: str, *, spaced: bool) -> tuple[float, str] | None:
    """Return factor and base unit of a unit, None where it is none.

    >>> _scale("MiB/s", spaced=True), _scale("K req/s", spaced=True), _scale("xx", spaced=False)
    ((1048576.0, 'B/s'), (1000.0, 'req/s'), None)
    """
    if not unit:
        return 1.0, ""
    if unit in _UNITS:
        return _UNITS[unit]
    counted, slash, per = unit.partition("/")
    if slash and counted in _UNITS and " " not in per:
        factor, base = _UNITS[counted]
        return factor, f"{base}/{per}"
    short, blank, rest = unit.partition(" ")
    if blank and short in _SHORT:
        return _SHORT[short], rest.strip()
    # Words that follow a number at once are names, such as 5xx.
    return (1.0, unit) if spaced or slash else None
