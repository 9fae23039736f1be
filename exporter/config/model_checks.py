"""Checks of the validated configuration that span several fields: names that must differ, numbers that must fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from exporter.config.messages import Diagnostic, duplicates
from exporter.config.model import Config, QuerySettings, ShadowSettings
from exporter.engine.forecast.settings import ForecastSettings
from exporter.engine.settings import BaselineSettings, DetectionSettings
from exporter.settings import Section, format_duration, overlay
from exporter.yaml_reader import Loc

__all__ = ["ValidPart", "check"]

_MANY_POINTS = 100_000
_BUCKET = 3600.0
_MOST_RELATIVE = 5.0
"""Shares beyond it are rarely meant: of other detectors this is a number of per cent."""
_LABELS_OF_EVERY_ALERT = frozenset({"alertname", "query"})
_LABELS_OF_SOME_ALERTS = frozenset({"storm", "incident", "incident_role", "notify_as"})


@dataclass(frozen=True, slots=True)
class ValidPart:
    """The part of a file that is valid in itself.

    Attributes
    ----------
    queries, alertmanagers : sequence of int
        The indices in the file of those in `config`.
    bad : frozenset of Loc
        The sections, items of lists, and fields of items that were removed. Nothing that depends on them is checked:
        a default in their place would be blamed.
    """

    config: Config
    queries: Sequence[int]
    alertmanagers: Sequence[int]
    bad: frozenset[Loc]

    def has(self, *locs: Loc) -> bool:
        """Whether none of `locs` was removed."""
        return self.bad.isdisjoint(locs)


def check(part: ValidPart) -> Iterator[Diagnostic]:
    """Check sections and queries against each other."""
    config = part.config
    if part.has(("global",)):
        yield from _global(config)
    if part.has(("limits",)):
        yield from _limits(config)
    yield from duplicates(
        [
            (("alertmanagers", at, "url"), _host(alertmanager.url))
            for at, alertmanager in zip(part.alertmanagers, config.alertmanagers, strict=True)
            if alertmanager.url
        ],
        lambda first: f"{first} is the same Alertmanager; it would get every alert twice",
    )
    if part.has(("sources",)):
        yield from _sources(config)
    if part.has(("baseline",)):
        yield from _baseline(("baseline",), config.baseline, None)
    if part.has(("detection",)):
        yield from _detection(("detection",), config.detection, None)
    for index, query in zip(part.queries, config.queries, strict=True):
        yield from _query(("queries", index), part, query)
    if all(loc[0] != "dependencies" for loc in part.bad):
        yield from _dependencies(config)
    rules = [query.rule for query in config.queries] + [group.rule for group in config.groups]
    if not config.alertmanagers and any(rules):
        yield Diagnostic(
            ("alertmanagers",), "no Alertmanager is given, so alerts are shown here but not sent", warning=True
        )


def _sources(config: Config) -> Iterator[Diagnostic]:
    names = [source.name for source in config.sources]
    if names and "prometheus" in config.model_fields_set:
        message = "with sources this section is not used; make it one of them, the first is the default"
        yield Diagnostic(("prometheus",), message, at_key=True)
    if not names and "sources" in config.model_fields_set and "prometheus" not in config.model_fields_set:
        message = f"no server is given, so {config.prometheus.url} is asked; leave this out if that is meant"
        yield Diagnostic(("sources",), message, warning=True)
    located = [(("sources", at, "name"), name) for at, name in enumerate(names)]
    yield from duplicates(located, lambda first: f"{first} has the same name; names must differ")


def _dependencies(config: Config) -> Iterator[Diagnostic]:
    first: dict[object, int] = {}
    for at, edge in enumerate(config.dependencies):
        loc: Loc = ("dependencies", at)
        sides = (frozenset(edge.caller.items()), frozenset(edge.callee.items()))
        content = (*sides, edge.from_query)
        if first.setdefault(content, at) != at:
            yield Diagnostic(loc, f"dependencies[{first[content]}] says the same")
        if sides[0] == sides[1]:
            yield Diagnostic((*loc, "callee"), "this is the caller itself")
        for side, pattern in (("caller", edge.caller), ("callee", edge.callee)):
            for name, value in pattern.items():
                if not value:
                    yield Diagnostic((*loc, side, name), "an empty label is the same as no label, and matches nothing")


def _host(url: str) -> str:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return f"{parts.scheme}://{parts.hostname}:{port}{parts.path}"


def _global(config: Config) -> Iterator[Diagnostic]:
    general = config.global_
    if general.timeout > general.interval and "timeout" in general.model_fields_set:
        yield Diagnostic(
            ("global", "timeout"),
            f"timeout {format_duration(general.timeout)} is longer than "
            f"the interval {format_duration(general.interval)}",
        )
    for name, value in general.external_labels.items():
        loc = ("global", "external_labels", name)
        if name in _LABELS_OF_EVERY_ALERT:
            yield Diagnostic(
                loc, "every alert has this label already, so an external one would never be used", at_key=True
            )
        elif name in _LABELS_OF_SOME_ALERTS:
            yield Diagnostic(loc, "the exporter sets this label itself", at_key=True)
        elif not value:
            yield Diagnostic(loc, "an empty label is the same as no label", warning=True)


def _limits(config: Config) -> Iterator[Diagnostic]:
    limits = config.limits
    if limits.max_series_per_query > limits.max_series:
        name = _written(limits, "max_series_per_query", "max_series")
        yield Diagnostic(
            ("limits", name),
            f"one query may have more series ({limits.max_series_per_query}) than all together ({limits.max_series})",
        )


def _query(loc: Loc, part: ValidPart, query: QuerySettings) -> Iterator[Diagnostic]:
    config = part.config
    yield from _values(loc, query)
    if part.has(("global",), (*loc, "interval")):
        yield from _timing(loc, part, query)
    if query.forecast is not None:
        yield from _forecast(loc, part, query, query.forecast)
    rules = (query.rule, None if query.canary is None else query.canary.rule)
    if rules[0] is not None and rules[1] is not None and rules[0].alertname == rules[1].alertname:
        message = "the alert of the query has the same name, so the two would be one alert"
        yield Diagnostic((*loc, "canary", "alert", "alertname"), message)
    if query.max_series is not None and query.max_series > config.limits.max_series and part.has(("limits",)):
        yield Diagnostic(
            (*loc, "max_series"), f"more than limits.max_series ({config.limits.max_series}), which holds for all"
        )
    if query.baseline is not None and part.has(("baseline",)):
        yield from _baseline((*loc, "baseline"), config.baseline, query.baseline)
    if query.detection is not None and part.has(("detection",)):
        yield from _detection((*loc, "detection"), config.detection, query.detection)
    if query.shadow is not None:
        yield from _shadow((*loc, "shadow"), part, query, query.shadow)


def _values(loc: Loc, query: QuerySettings | ShadowSettings) -> Iterator[Diagnostic]:
    low, high = query.valid_range or (None, None)
    if low is not None and high is not None and low >= high:
        yield Diagnostic((*loc, "valid_range"), f"the lower end {low:g} is not below the upper end {high:g}")
    if query.min_relative_deviation is not None and query.min_relative_deviation > _MOST_RELATIVE:
        share = f"{query.min_relative_deviation:g} is {100 * query.min_relative_deviation:g} % of the expected value"
        message = f"{share}; write {query.min_relative_deviation / 100:g} if per cent were meant"
        yield Diagnostic((*loc, "min_relative_deviation"), message, warning=True)


def _shadow(loc: Loc, part: ValidPart, query: QuerySettings, shadow: ShadowSettings) -> Iterator[Diagnostic]:
    config = part.config
    yield from _values(loc, shadow)
    fixed = () if shadow.baseline is None else shadow.baseline.model_fields_set & {"window", "backfill_step"}
    for name in sorted(fixed):
        message = "a shadow learns from the samples that the query reads, so this can only differ from query to query"
        yield Diagnostic((*loc, "baseline", name), message)
    if shadow.baseline is not None and not fixed and part.has(("baseline",), (*loc[:-1], "baseline")):
        base = overlay(config.baseline, query.baseline)
        yield from _baseline((*loc, "baseline"), base, shadow.baseline)
    if shadow.detection is not None and part.has(("detection",), (*loc[:-1], "detection")):
        base_detection = overlay(config.detection, query.detection)
        yield from _detection((*loc, "detection"), base_detection, shadow.detection)
    sections = [("global",), ("baseline",), ("detection",), ("drift",)]
    if part.has(loc, *sections) and not any(bad[: len(loc) - 1] == loc[:-1] for bad in part.bad):
        same = query.model_copy(update={"shadow": None})
        if config.plan(query.shadowed) == config.plan(same):
            yield Diagnostic(loc, "nothing here differs from the query, so there is nothing to compare", at_key=True)


def _forecast(
    query_loc: Loc, part: ValidPart, query: QuerySettings, forecast: ForecastSettings
) -> Iterator[Diagnostic]:
    loc: Loc = (*query_loc, "forecast")
    yield from duplicates(
        [((*loc, "horizons", at), format_duration(horizon)) for at, horizon in enumerate(forecast.horizons)],
        lambda _: "this horizon is listed twice",
    )
    limit, (low, high) = forecast.limit, query.valid_range
    if limit is not None and ((low is not None and limit.value < low) or (high is not None and limit.value > high)):
        side = "below" if limit.above is None else "above"
        yield Diagnostic((*loc, "limit", side), f"{limit.value:g} is not in valid_range, so it is never reached")
    if part.has(("global",), ("baseline",), (*query_loc, "interval"), (*query_loc, "baseline")):
        cadence = part.config.plan(query).cadence
        if cadence > _BUCKET:
            yield Diagnostic(
                loc, f"forecasts need samples every hour at least; these are {format_duration(cadence)} apart"
            )


def _timing(loc: Loc, part: ValidPart, query: QuerySettings) -> Iterator[Diagnostic]:
    plan = part.config.plan(query)
    if query.timeout is not None and query.timeout > plan.interval:
        yield Diagnostic(
            (*loc, "timeout"),
            f"timeout {format_duration(query.timeout)} is longer than the interval {format_duration(plan.interval)}",
        )
    if plan.baseline.window < 2 * plan.interval and part.has(("baseline",), (*loc, "baseline")):
        yield Diagnostic(
            (*loc, "interval"),
            f"the window {format_duration(plan.baseline.window)} holds less than two samples "
            f"at {format_duration(plan.interval)}",
        )


def _baseline(loc: Loc, base: BaselineSettings, over: BaselineSettings | None) -> Iterator[Diagnostic]:
    combined, own = overlay(base, over), over or base
    if combined.min_history > combined.window:
        yield Diagnostic(
            (*loc, _written(own, "min_history", "window")),
            f"min_history {format_duration(combined.min_history)} is longer than "
            f"the window {format_duration(combined.window)}, so no series could ever alert",
        )
    step = (*loc, _written(own, "backfill_step", "window"))
    points = combined.window / combined.backfill_step
    if points < 2:
        yield Diagnostic(step, f"the window {format_duration(combined.window)} holds less than two steps of history")
    elif combined.backfill_step > _BUCKET:
        yield Diagnostic(
            step, "steps longer than 1h leave hours of the week without any history after a start", warning=True
        )
    elif points > _MANY_POINTS:
        yield Diagnostic(
            step,
            f"reading {points:.0f} points a series back on every start is slow; a longer step will do",
            warning=True,
        )


def _detection(loc: Loc, base: DetectionSettings, over: DetectionSettings | None) -> Iterator[Diagnostic]:
    combined, own = overlay(base, over), over or base
    kinds = [detector.kind for detector in combined.detectors]
    voters = list(dict.fromkeys(kinds))
    votes = sum({detector.kind: detector.votes for detector in combined.detectors}.values())
    if combined.quorum > votes:
        have = f"there {_are(len(voters))}" if votes == len(voters) else f"together they have only {votes}"
        message = f"{combined.quorum} votes are needed, but {have}: {', '.join(voters)}"
        yield Diagnostic((*loc, _written(own, "quorum", "detectors")), message)
    if own.model_fields_set >= {"detectors"}:
        yield from duplicates(
            [((*loc, "detectors", at), kind) for at, kind in enumerate(kinds)],
            lambda _: "this detector is listed twice; it has one vote",
        )


def _are(count: int) -> str:
    return "is only 1 detector" if count == 1 else f"are only {count} detectors"


def _written(section: Section, *names: str) -> str:
    """Return the first of `names` that the file has, so that a problem points at text."""
    return next((name for name in names if name in section.model_fields_set), names[0])
