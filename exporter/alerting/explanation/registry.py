"""The registry of annotations: name, builder and documentation line of every text that an alert can carry.

Template variables, docs/annotations.md and the texts of series, groups, storms, causes and known events derive from it.
To add an annotation, write its builder and one entry here; `python -m exporter.alerting.explanation.registry` prints
the tables of docs/annotations.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from exporter.alerting.explanation import canary, cause, change, drill_down, group, limit, query, storm, verdicts
from exporter.alerting.explanation.formatting import format_instant
from exporter.alerting.explanation.input import (
    CanaryInput,
    CauseInput,
    EntityInput,
    SharedAlertInput,
    StormInput,
)
from exporter.alerting.explanation.query import SeriesTexts
from exporter.alerting.explanation.why_input import ChangeInput, DrillDownInput, LikelyCausesInput, VerdictsInput

__all__ = [
    "CANARY",
    "CAUSE",
    "CHANGE",
    "DRILL_DOWN",
    "ENTITY",
    "EVENT",
    "RECOVERED",
    "LIKELY_CAUSES",
    "SERIES",
    "SHARED",
    "STORM",
    "UNSENT",
    "VARIABLES",
    "VERDICTS",
    "Annotation",
    "build",
    "reference",
]

Source = TypeVar("Source")


@dataclass(frozen=True, slots=True)
class Annotation(Generic[Source]):
    """One text.

    Attributes
    ----------
    build : callable
        Returns the text; empty where there is nothing to say.
    doc : str
        What it says, for docs/annotations.md.
    sent : bool
        False: no annotation of the alert, only a variable of templates.
    """

    name: str
    build: Callable[[Source], str]
    doc: str
    sent: bool = True


SERIES: tuple[Annotation[SeriesTexts], ...] = (
    Annotation(
        "summary", query.summary, "One sentence: which series, what it is, what was expected, the band, for how long."
    ),
    Annotation("observed", query.observed, "The sample."),
    Annotation("expected", query.expected, "What was expected for it."),
    Annotation(
        "band",
        lambda texts: texts.band,
        "The values for which it would not have been anomalous: `0.10 to 0.35`, `up to 0.35`, `from 0.10`.",
    ),
    Annotation(
        "shape",
        lambda texts: texts.source.shape,
        "How it came about, from the samples before: `jump`, `build-up`, `drift`, `drop`, `missing`, `level shift`, "
        "`frozen` or `noisier`; or `limit ahead`. Where they do not say, it is left out.",
    ),
    Annotation(
        "limit",
        lambda texts: limit.limit(texts.source),
        "Of a query with `forecast.limit`, where it is near: the limit, when it is reached, the instants between "
        "which that is with a probability of 80 %, and the probability that it is within `within`.",
    ),
    Annotation(
        "deviation",
        query.deviation,
        "How far from what was expected, in units of the source and in per cent where that helps, and how far "
        "outside the band. A sample can be anomalous inside the band: it is unlike anything before, or small "
        "deviations have added up.",
    ),
    Annotation("since", lambda texts: format_instant(texts.began), "When the series became anomalous (ISO 8601, UTC)."),
    Annotation("lasted", lambda texts: texts.lasted, "How long ago that is."),
    Annotation("score", query.score, "0 to 1; 0.5 is the threshold."),
    Annotation(
        "votes",
        query.votes,
        "Which detectors call it anomalous, how many votes they have together, and how many are enough. A number "
        "behind a name is its votes, where it has more than one.",
    ),
    Annotation(
        "why",
        query.why,
        "A line for each of them: why, and how far beyond what it takes (the threshold, and the smallest "
        "deviation that counts).",
    ),
    Annotation(
        "history",
        query.history,
        "What this hour of the week was like: the middle half of the values and their mean, over how many weeks, "
        "in which time zone. A series that is too young for that is compared with the hour of the day, or with "
        "all values so far, and it says so.",
    ),
    Annotation(
        "level_shift",
        query.level_shift,
        "Where the level was and where it is now, once an anomaly lasts for an hour and stays on one side.",
    ),
    Annotation(
        "also",
        query.co_occurrent,
        "Series, of other queries first, that became anomalous within ten minutes of this one: the five worst, "
        "and how many more.",
    ),
    Annotation(
        "chart_url",
        lambda texts: texts.chart,
        "The page with the chart of this series, from three hours before the anomaly until now. Only with "
        "`--web.external-url`, which says where people reach this exporter.",
    ),
    Annotation("chart_image", lambda texts: texts.image, "The same chart as a PNG."),
    Annotation("lower", lambda texts: texts.lower, "The lower edge of the band.", sent=False),
    Annotation("upper", lambda texts: texts.upper, "The upper edge of the band.", sent=False),
    Annotation("query", lambda texts: texts.source.query, "The name of the query.", sent=False),
    Annotation(
        "series",
        lambda texts: texts.name,
        "The query and the labels of the series, as the summary has them.",
        sent=False,
    ),
)
"""Of the alert of one series."""

ENTITY: tuple[Annotation[EntityInput], ...] = (
    Annotation("summary", group.summary, "One sentence: which entity, and the part of each metric in its score."),
    Annotation(
        "metrics", group.metrics, "A line for each metric: its part in the score, and how far it is from its mean."
    ),
    Annotation(
        "shape",
        lambda source: source.shape,
        "How the metric with the largest share came about: `jump`, `build-up`, `drop`, `missing`, `level shift`, "
        "`frozen` or `noisier`. Where its newest samples do not say, it is left out.",
    ),
    Annotation("score", lambda source: f"{source.score:.2f}", "0 to 1; 0.5 is the threshold."),
    Annotation(
        "since", lambda source: format_instant(source.since), "When the entity became anomalous (ISO 8601, UTC)."
    ),
    Annotation("lasted", group.lasted, "How long ago that is."),
    Annotation(
        "chart_url",
        lambda source: group.chart(source)[0],
        "The page with the chart of the metric with the largest share.",
    ),
    Annotation("chart_image", lambda source: group.chart(source)[1], "The same chart as a PNG."),
    Annotation("group", lambda source: source.group, "The name of the group.", sent=False),
    Annotation("query", group.main_metric, "The metric with the largest share.", sent=False),
)
"""Of the alert of one entity of a group."""

CANARY: tuple[Annotation[CanaryInput], ...] = (
    Annotation(
        "summary",
        canary.summary,
        "One sentence: which candidate, how far from which baseline, since when, and p: the highest probability that "
        "so much evidence ever comes together where there is no difference.",
    ),
    Annotation("observed", canary.candidate, "The candidate of late."),
    Annotation("expected", canary.baseline, "The baseline of late."),
    Annotation("deviation", canary.difference, "How far they are apart."),
    Annotation(
        "compared", canary.compared, "Of how many series, in how many slots, and from which difference on that counts."
    ),
    Annotation("since", lambda source: format_instant(source.since), "When the difference began, as far as known."),
    Annotation("lasted", canary.lasted, "How long ago that is."),
    Annotation("chart_url", lambda source: canary.chart(source)[0], "The page with the chart of the candidate."),
    Annotation("chart_image", lambda source: canary.chart(source)[1], "The same chart as a PNG."),
    Annotation("query", lambda source: source.query, "The name of the query.", sent=False),
)
"""Of the alert of a comparison."""

STORM: tuple[Annotation[StormInput], ...] = (
    Annotation(
        "summary", storm.storm_summary, "One sentence: how many, what most have in common, and the worst member."
    ),
    Annotation(
        "members", storm.members, "How many are anomalous now, of how many, and how many were in the course of it."
    ),
    Annotation(
        "in_common", storm.in_common, "A line for each label value that is far more frequent among the members."
    ),
    Annotation("worst", lambda source: "\n".join(source.summaries), "The summaries of the five worst members."),
    Annotation("since", lambda source: format_instant(source.since), "When the first member became anomalous."),
    Annotation("lasted", storm.storm_lasted, "How long ago that is."),
)
"""Of a storm, beside those of its worst member."""

SHARED: tuple[Annotation[SharedAlertInput], ...] = (
    Annotation(
        "same_labels",
        storm.same_labels,
        "Of an alert that several series have, because their labels are the same once `alert.labels` has removed or "
        "set some: which of them are anomalous. The other annotations are about the worst.",
    ),
)
"""Of an alert of several series, beside those of the worst."""

CAUSE: tuple[Annotation[CauseInput], ...] = (
    Annotation(
        "suspected_cause",
        storm.suspected_cause,
        "Of an alert that `dependencies` speak of: the anomaly that explains it, since when, and how long before.",
    ),
    Annotation("suspected_effects", storm.suspected_effects, "The alerts that it explains: five, and how many more."),
    Annotation(
        "same_incident",
        storm.same_incident,
        "Of an alert of a group or of one of its queries: the other alerts about the same entity, five and how many "
        "more; of those, the one that began first.",
    ),
)
"""Of an alert of an incident, beside its other annotations."""

LIKELY_CAUSES: tuple[Annotation[LikelyCausesInput], ...] = (
    Annotation(
        "likely_causes",
        cause.likely_causes,
        "Of an alert that `causes` speak of: the three components with most of the damage that is their own and not "
        "that of what they call, how much it is, and since when; or that none is likely.",
    ),
)
"""Of an alert whose damage is measured, beside its other annotations."""

DRILL_DOWN: tuple[Annotation[DrillDownInput], ...] = (
    Annotation(
        "drill_down",
        drill_down.drill_down,
        "Of a query with `drill_down`, as of when the alert fired: which label values carry the change and how much of "
        "it, and what is left without them; that none does; or why it is not known.",
    ),
)
"""Of an alert of an aggregate that is split, beside its other annotations."""

CHANGE: tuple[Annotation[ChangeInput], ...] = (
    Annotation(
        "change",
        change.preceding_changes,
        "How long after which deploys and other changes it began: those of `changes`, and announced events whose "
        "matchers fit; the three newest, such as `12 min after deploy v1.4.2 of checkout`.",
    ),
)
"""Of an alert that follows a change, beside its other annotations."""

VERDICTS: tuple[Annotation[VerdictsInput], ...] = (
    Annotation(
        "verdicts",
        verdicts.verdicts,
        "How many of the earlier alerts like this were real by the word of people, once there is any: of the same "
        "series, or, where fewer than three have a verdict, of the same query or group.",
    ),
)
"""Of an alert like others that people judged, beside its other annotations."""

EVENT: tuple[Annotation[str], ...] = (
    Annotation("calendar", str, "The entry of the calendar, the announced event or the silence that is in effect."),
)
"""Of an alert while a known event is in effect, beside its other annotations."""

RECOVERED: tuple[Annotation[Mapping[str, str]], ...] = (
    Annotation(
        "recovered", query.recovered, "Of an alert that is over because its series is normal again: what it is now."
    ),
)
"""Of the alert of one series that ends, from the other texts of that slot."""

_TABLES: dict[str, tuple[Annotation[Any], ...]] = {
    "alert of a series": SERIES,
    "alert of a group": ENTITY,
    "alert of a canary": CANARY,
    "storm, beside those of its worst member": STORM,
    "several series with the same labels, in addition": SHARED,
    "incident, in addition": CAUSE,
    "after a change, in addition": CHANGE,
    "`causes`, in addition": LIKELY_CAUSES,
    "`drill_down`, in addition": DRILL_DOWN,
    "known event, in addition": EVENT,
    "with verdicts of people, in addition": VERDICTS,
    "alert that is over, in addition": RECOVERED,
}

VARIABLES = tuple(sorted({annotation.name for entries in _TABLES.values() for annotation in entries}))
"""What a template may use, beside ``labels.NAME``. A text that an alert does not have is empty."""

UNSENT = frozenset(annotation.name for entries in _TABLES.values() for annotation in entries if not annotation.sent)
"""Variables that are no annotations."""


def build(annotations: Iterable[Annotation[Source]], source: Source) -> dict[str, str]:
    """Return the texts by name, in the order of the registry."""
    return {annotation.name: annotation.build(source) for annotation in annotations}


def reference() -> str:
    """Return the tables of docs/annotations.md."""
    parts = []
    for kind, entries in _TABLES.items():
        lines = [f"| {kind} | what it says |", "| --- | --- |"]
        lines += [f"| `{entry.name}`{'' if entry.sent else ' (variable only)'} | {entry.doc} |" for entry in entries]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


if __name__ == "__main__":
    print(reference())  # noqa: T201 - what it is for.
