"""The texts of one anomalous series.

The summary is for a reader who was just woken up; everything else is reference. Numbers that are read together have the
same unit and the same decimals.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from zoneinfo import ZoneInfo

from exporter.alerting.explanation.formatting import (
    format_instant,
    format_lasted,
    format_numbers,
    is_share,
    rounded_numbers,
)
from exporter.alerting.explanation.input import ExplanationInput, LevelDrift
from exporter.alerting.explanation.limit import limit_sentence
from exporter.alerting.explanation.links import chart_links
from exporter.alerting.identity import METRIC_LABELS
from exporter.hidden_text import escape_control

__all__ = [
    "SeriesTexts",
    "co_occurrent",
    "deviation",
    "expected",
    "history",
    "level_shift",
    "observed",
    "recovered",
    "score",
    "series_name",
    "summary",
    "votes",
    "why",
]

_LONGEST_VALUE = 64
_LONGEST_SERIES = 256
_TWICE = 2.0
_VERBS = {
    "build-up": "has built up to",
    "drop": "has dropped to",
    "frozen": "does not move from",
    "level shift": "has moved to",
    "noisier": "varies more than usual and is",
}
_MANY_TIMES = 1000.0
"""From here on "times the expected" is no help: what was expected is next to nothing."""


class SeriesTexts:
    """What several texts of one series share.

    Attributes
    ----------
    value, expected, lower, upper : str
        The numbers, with one unit and the same decimals.
    numbers : tuple of float
        The four as they are written: what is said of them agrees with what is read.
    band : str
        Empty where there is none.
    name : str
        The query and the labels of the series.
    began : float, Unix seconds
        When the series became anomalous, or was seen last.
    lasted : str
        How long ago that is; empty in the first slot.
    chart, image : str
        Links; empty without an external URL.
    """

    __slots__ = (
        "band",
        "began",
        "chart",
        "expected",
        "image",
        "lasted",
        "lower",
        "name",
        "numbers",
        "source",
        "upper",
        "value",
    )

    def __init__(self, source: ExplanationInput) -> None:
        self.source = source
        numbers = (source.observed, source.expected, source.lower, source.upper)
        self.value, self.expected, self.lower, self.upper = format_numbers(numbers, source.unit)
        self.numbers = tuple(rounded_numbers(numbers, source.unit))
        self.began = source.since
        if source.missing_since is not None:
            self.value = f"missing since {format_instant(source.missing_since)}"
            # A missing series is anomalous only after some minutes.
            self.began = min(source.missing_since, source.since)
        elif source.drift is not None:
            # Its samples were anomalous long after it began.
            self.began = min(source.drift.since, source.since)
        self.band = _band(source, self.lower, self.upper)
        self.lasted = format_lasted(self.began, source.at)
        # The name of the metric is one of the labels where series differ in nothing else.
        metric = {label: source.labels[label] for label in METRIC_LABELS.values() if label in source.labels}
        self.name = series_name(source.query, {**metric, **source.series})
        self.chart, self.image = chart_links(
            source.external_url, source.query, source.series, since=self.began, at=source.at
        )

    @property
    def has_value(self) -> bool:
        """Whether there is a sample, or an instant since when there is none."""
        return not math.isnan(self.source.observed) or self.source.missing_since is not None


def series_name(query: str, series: Mapping[str, str]) -> str:
    r"""Return what a series is called in a sentence.

    >>> series_name("cpu", {"__name__": "x", "job": "node"})
    'cpu of job=node'
    >>> series_name("cpu", {"path": "a\nb"})
    'cpu of path=a\\nb'
    """
    own = [(name, value) for name, value in sorted(series.items()) if name not in ("__name__", "alertname", "query")]
    # A line break would end a line of a list in the middle of a name.
    pairs = " ".join(f"{name}={_short(escape_control(value), _LONGEST_VALUE)}" for name, value in own)
    return _short(f"{query} of {pairs}" if pairs else query, _LONGEST_SERIES)


def summary(texts: SeriesTexts) -> str:
    """Return one sentence: which series, its value, what was expected, the band, for how long."""
    source = texts.source
    if source.limit is not None:
        return _with_duration(texts, limit_sentence(source, texts.name))
    if source.drift is not None and texts.has_value:
        return _with_duration(texts, f"{texts.name} has drifted {_drifted(texts, source.drift)}")
    verb = _VERBS.get(source.shape, "is")
    sentence = f"{texts.name} {verb} {texts.value}" if texts.has_value else f"{texts.name} has no sample"
    if not math.isnan(source.expected):
        sentence += f", {_compared(texts)} {texts.expected}"
    if texts.band:
        sentence += f" (band {texts.band})"
    return _with_duration(texts, sentence)


def _with_duration(texts: SeriesTexts, sentence: str) -> str:
    # In a storm the duration is that of the storm.
    return f"{sentence}, for {texts.lasted}" if texts.lasted and not texts.source.in_storm else sentence


def _drifted(texts: SeriesTexts, drift: LevelDrift) -> str:
    """Return from what to what a level has drifted, since when, and how fast."""
    unit, zone = texts.source.unit, texts.source.zone
    levels = (drift.before, drift.after)
    before, after = format_numbers(levels, unit)
    first, last = rounded_numbers(levels, unit)
    hours = max((texts.source.at - texts.began) / 3600.0, 1.0)
    begun = datetime.fromtimestamp(texts.began, ZoneInfo(zone)).strftime("%A %H:%M")
    text = f"from {before} to {after} since {begun}{'' if zone == 'UTC' else f' ({zone})'}"
    each = (last - first) / hours
    if is_share(unit):
        return f"{text}, {_distance(texts, abs(each))} an hour"
    return f"{text}, {_percent(each / first)} an hour" if first and each else text


def observed(texts: SeriesTexts) -> str:
    """Return the sample, or since when it is missing."""
    return texts.value if texts.has_value else ""


def expected(texts: SeriesTexts) -> str:
    """Return the expected value."""
    return "" if math.isnan(texts.source.expected) else texts.expected


def recovered(texts: Mapping[str, str]) -> str:
    """Return what a series is now that its alert ends, from the other texts of the slot.

    >>> recovered({"series": "cpu of host=a", "observed": "0.27", "expected": "0.26"})
    'cpu of host=a is 0.27 again, expected 0.26'
    """
    if not texts.get("observed") or not texts.get("series"):
        return ""
    expected = texts.get("expected")
    return f"{texts['series']} is {texts['observed']} again{f', expected {expected}' if expected else ''}"


def score(texts: SeriesTexts) -> str:
    """Return the score with two decimals."""
    return "" if math.isnan(texts.source.score) else f"{texts.source.score:.2f}"


def deviation(texts: SeriesTexts) -> str:
    """Return how far the sample is from what was expected, and how far beyond the band."""
    source = texts.source
    observed, expected, lower, upper = texts.numbers
    off = observed - expected
    if math.isnan(off):
        return ""
    beyond = observed - upper if off >= 0 else lower - observed
    distance, excess = (_distance(texts, length) for length in (abs(off), beyond))
    side = "above" if off >= 0 else "below"
    ratio = off / abs(expected) if expected and not is_share(source.unit) else math.nan
    percent = f" ({_percent(ratio)})" if 0.0 < abs(ratio) < _TWICE - 1.0 else ""
    text = f"{distance}{percent} {side} expected" if off else "as expected"
    if math.isnan(beyond):
        return text
    return f"{text}, {excess} {side} the band" if beyond > 0 else f"{text}, inside the band"


def votes(texts: SeriesTexts) -> str:
    """Return which detectors call the sample anomalous, and how many votes are needed."""
    source = texts.source
    names = [
        f"{vote.kind} ({vote.votes})" if vote.votes > 1 else vote.kind for vote in source.votes if vote.severity >= 1
    ]
    if not names:
        return ""
    if any(vote.alone for vote in source.votes):
        return f"{source.votes[0].kind}, which decides alone"
    needed = f"{source.quorum} {'is' if source.quorum == 1 else 'are'} enough"
    return f"{', '.join(names)}: {source.cast} {'vote' if source.cast == 1 else 'votes'}, {needed}"


def why(texts: SeriesTexts) -> str:
    """Return a line for every detector that calls the sample anomalous."""
    anomalous = (vote for vote in texts.source.votes if vote.severity >= 1.0)
    return "\n".join(f"{vote.kind}: {vote.reason} ({_times(vote.severity)})" for vote in anomalous)


def _times(severity: float) -> str:
    """Return how many times its threshold a severity is."""
    if severity < 1.05:
        return "just what it takes"
    times = f"{severity:.1f}" if severity < 10 else f"{min(severity, 1000.0):.0f}"
    return f"{'over ' * (severity > 1000)}{times} times what it takes"


def history(texts: SeriesTexts) -> str:
    """Return what this hour of the week, or of the day, was like before."""
    source, past = texts.source, texts.source.past
    if past is None or math.isnan(past.mean):
        return ""
    low, high, mean = format_numbers([past.q1, past.q3, past.mean], source.unit)
    count = max(1, round(past.visits))
    if past.scope == "week":
        hours, counted = f"past {source.when} were", f"{count} week{'s' * (count != 1)}"
    elif past.scope == "day":
        hours, counted = f"past days at {source.when.partition(' ')[2]} were", f"{count} day{'s' * (count != 1)}"
    else:
        hours, counted = "so far values were", f"{count} day{'s' * (count != 1)}"
    zone = f", {source.zone}" if past.scope != "all" else ""
    return f"{hours} mostly {low} to {high}, mean {mean} ({counted}{zone})"


def level_shift(texts: SeriesTexts) -> str:
    """Return where the level was and where it is now."""
    source, moved = texts.source, texts.source.moved
    if moved is None:
        return ""
    before, after = format_numbers([moved.before, moved.after], source.unit)
    # Since the alert says so everywhere: the run of the level begins with a block, which is a little later.
    return f"the level moved from {before} to {after} at {format_instant(texts.began)}"


def co_occurrent(texts: SeriesTexts) -> str:
    """Return a line for each of the worst series that became anomalous at about the same time."""
    source = texts.source
    lines = [
        f"{series_name(other.query, other.series)} since {format_instant(other.since)[11:16]} UTC "
        f"(score {other.score:.2f})"
        for other in source.co_occurrent
    ]
    more = source.co_occurrent_count - len(lines)
    return "\n".join([*lines, f"and {more} more series"] if lines and more > 0 else lines)


def _compared(texts: SeriesTexts) -> str:
    """Return how the sample compares with what is expected, up to the number that follows."""
    observed, expected = texts.numbers[:2]
    if observed == expected:
        return "about the expected"
    ratio = observed / expected if expected else math.nan
    if not 0.0 < ratio < _MANY_TIMES:
        return "expected"
    if ratio >= _TWICE:
        return f"{ratio:.2g} times the expected" if ratio < 100 else f"{ratio:.0f} times the expected"
    side = "above" if observed > expected else "below"
    if is_share(texts.source.unit):
        return f"{_distance(texts, abs(observed - expected))} {side} the expected"
    if ratio <= 1.0 / _TWICE:
        return f"{100 * ratio:.2g} % of the expected"
    return f"{_percent(ratio - 1.0)} {side} the expected"


def _distance(texts: SeriesTexts, length: float) -> str:
    """Return the distance of two of the numbers: of shares in percentage points, which are no per cent of a share."""
    source = texts.source
    like = (source.observed, source.expected, source.lower, source.upper)
    text = format_numbers([length], source.unit, like)[0]
    if not is_share(source.unit) or not text.endswith(" %"):
        return text
    number = text.removesuffix(" %")
    return f"{number} percentage {'point' if number == '1' else 'points'}"


def _percent(ratio: float) -> str:
    percent = abs(100.0 * ratio)
    return f"{percent:.2g} %" if percent < 99.5 else f"{percent:.0f} %"


def _band(source: ExplanationInput, low: str, high: str) -> str:
    if math.isfinite(source.lower) and math.isfinite(source.upper):
        return f"{low} to {high}"
    if math.isfinite(source.upper):
        return f"up to {high}"
    return f"from {low}" if math.isfinite(source.lower) else ""


def _short(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "\u2026"
