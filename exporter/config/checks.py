"""What no field can check alone: names that must differ, and numbers that must fit each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from exporter.config.environment import Finding
from exporter.config.model import Config, QuerySettings
from exporter.config.yaml_source import Loc
from exporter.engine.settings import BaselineSettings, DetectionSettings
from exporter.promql.lint import examine
from exporter.settings import Section, format_duration, overlay

__all__ = ["Sound", "check", "check_expressions"]

_MANY_POINTS = 100_000
_BUCKET = 3600.0
_OWN_LABELS = frozenset({"alertname", "query"})
_SET_LABELS = frozenset({"storm", "incident", "incident_role"})
"""Labels that some alerts have."""


@dataclass(frozen=True, slots=True)
class Sound:
    """The part of a file that is valid by itself.

    Attributes
    ----------
    queries, alertmanagers : sequence of int
        The indices in the file of those in `config`.
    bad : frozenset of Loc
        The sections, items of lists, and fields of items that were taken out. Nothing that depends on them
        is checked: a default in their place would be blamed for what nobody wrote.
    """

    config: Config
    queries: Sequence[int]
    alertmanagers: Sequence[int]
    bad: frozenset[Loc]

    def has(self, *locs: Loc) -> bool:
        """Whether none of `locs` was taken out."""
        return self.bad.isdisjoint(locs)


def check(sound: Sound) -> Iterator[Finding]:
    """Hold the sections and queries against each other."""
    config = sound.config
    if sound.has(("global",)):
        yield from _global(config)
    if sound.has(("limits",)):
        yield from _limits(config)
    yield from _unique(
        [
            (("alertmanagers", at, "url"), _host(alertmanager.url))
            for at, alertmanager in zip(sound.alertmanagers, config.alertmanagers, strict=True)
        ],
        lambda first: f"{first} is the same Alertmanager; it would get every alert twice",
    )
    if sound.has(("baseline",)):
        yield from _learning(("baseline",), config.baseline, None)
    if sound.has(("detection",)):
        yield from _voting(("detection",), config.detection, None)
    for index, query in zip(sound.queries, config.queries, strict=True):
        yield from _query(("queries", index), sound, query)
    if all(loc[0] != "dependencies" for loc in sound.bad):
        yield from _dependencies(config)
    rules = [query.alert for query in config.queries] + [group.alert for group in config.groups]
    if not config.alertmanagers and any(rules):
        yield Finding(
            ("alertmanagers",), "no Alertmanager is given, so alerts are shown here but not sent", warning=True
        )


def check_expressions(data: Any) -> Iterator[Finding]:
    """Check names and expressions of all queries in plain data, whatever else is wrong with them."""
    queries = data.get("queries") if isinstance(data, dict) else None
    if queries is None or queries == []:
        yield Finding(("queries",), "there are no queries; at least one is needed", at_key=True)
    if not isinstance(queries, list):
        return
    named = [(at, query) for at, query in enumerate(queries) if isinstance(query, dict)]
    yield from _unique(
        [(("queries", at, "name"), query["name"]) for at, query in named if isinstance(query.get("name"), str)],
        lambda first: f"{first} has the same name; names must differ",
    )
    for at, query in named:
        if isinstance(query.get("expr"), str):
            for remark in examine(query["expr"]):
                yield Finding(("queries", at, "expr"), remark.message, warning=not remark.fatal)


def _unique(named: Sequence[tuple[Loc, str]], message: Callable[[str], str]) -> Iterator[Finding]:
    first: dict[str, Loc] = {}
    for loc, name in named:
        if name in first:
            where = first[name]
            yield Finding(loc, message(f"{where[0]}[{where[1]}]"))
        else:
            first[name] = loc


def _dependencies(config: Config) -> Iterator[Finding]:
    first: dict[tuple[frozenset[tuple[str, str]], ...], int] = {}
    for at, edge in enumerate(config.dependencies):
        loc: Loc = ("dependencies", at)
        sides = (frozenset(edge.caller.items()), frozenset(edge.callee.items()))
        if first.setdefault(sides, at) != at:
            yield Finding(loc, f"dependencies[{first[sides]}] says the same")
        if sides[0] == sides[1]:
            yield Finding((*loc, "callee"), "this is the caller itself")
        for side, pattern in (("caller", edge.caller), ("callee", edge.callee)):
            for name, value in pattern.items():
                if not value:
                    yield Finding((*loc, side, name), "an empty label is the same as no label, and matches nothing")


def _host(url: str) -> str:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return f"{parts.scheme}://{parts.hostname}:{port}{parts.path}"


def _global(config: Config) -> Iterator[Finding]:
    general = config.global_
    if general.timeout > general.interval and "timeout" in general.model_fields_set:
        yield Finding(
            ("global", "timeout"),
            f"timeout {_text(general.timeout)} is longer than the interval {_text(general.interval)}",
        )
    for name, value in general.external_labels.items():
        loc = ("global", "external_labels", name)
        if name in _OWN_LABELS:
            yield Finding(
                loc, "every alert has this label already, so an external one would never be used", at_key=True
            )
        elif name in _SET_LABELS:
            yield Finding(loc, "the exporter sets this label itself", at_key=True)
        elif not value:
            yield Finding(loc, "an empty label is the same as no label", warning=True)


def _limits(config: Config) -> Iterator[Finding]:
    limits = config.limits
    if limits.max_series_per_query > limits.max_series:
        name = _written(limits, "max_series_per_query", "max_series")
        yield Finding(
            ("limits", name),
            f"one query may have more series ({limits.max_series_per_query}) than all together ({limits.max_series})",
        )


def _query(loc: Loc, sound: Sound, query: QuerySettings) -> Iterator[Finding]:
    config = sound.config
    low, high = query.valid_range
    if low is not None and high is not None and low >= high:
        yield Finding((*loc, "valid_range"), f"the lower end {low:g} is not below the upper end {high:g}")
    if sound.has(("global",), (*loc, "interval")):
        yield from _timing(loc, sound, query)
    if query.max_series is not None and query.max_series > config.limits.max_series and sound.has(("limits",)):
        yield Finding(
            (*loc, "max_series"), f"more than limits.max_series ({config.limits.max_series}), which holds for all"
        )
    if query.baseline is not None and sound.has(("baseline",)):
        yield from _learning((*loc, "baseline"), config.baseline, query.baseline)
    if query.detection is not None and sound.has(("detection",)):
        yield from _voting((*loc, "detection"), config.detection, query.detection)


def _timing(loc: Loc, sound: Sound, query: QuerySettings) -> Iterator[Finding]:
    plan = sound.config.plan(query)
    if query.timeout is not None and query.timeout > plan.interval:
        yield Finding(
            (*loc, "timeout"), f"timeout {_text(query.timeout)} is longer than the interval {_text(plan.interval)}"
        )
    if plan.baseline.window < 2 * plan.interval and sound.has(("baseline",), (*loc, "baseline")):
        yield Finding(
            (*loc, "interval"),
            f"the window {_text(plan.baseline.window)} holds less than two samples at {_text(plan.interval)}",
        )


def _learning(loc: Loc, base: BaselineSettings, over: BaselineSettings | None) -> Iterator[Finding]:
    learned, own = overlay(base, over), over or base
    if learned.min_history > learned.window:
        yield Finding(
            (*loc, _written(own, "min_history", "window")),
            f"min_history {_text(learned.min_history)} is longer than the window {_text(learned.window)}, "
            "so no series could ever alert",
        )
    step = (*loc, _written(own, "backfill_step", "window"))
    points = learned.window / learned.backfill_step
    if points < 2:
        yield Finding(step, f"the window {_text(learned.window)} holds less than two steps of history")
    elif learned.backfill_step > _BUCKET:
        yield Finding(
            step, "steps longer than 1h leave hours of the week without any history after a start", warning=True
        )
    elif points > _MANY_POINTS:
        yield Finding(
            step,
            f"reading {points:.0f} points a series back on every start is slow; a longer step will do",
            warning=True,
        )


def _voting(loc: Loc, base: DetectionSettings, over: DetectionSettings | None) -> Iterator[Finding]:
    voted, own = overlay(base, over), over or base
    kinds = [detector.kind for detector in voted.detectors]
    voters = list(dict.fromkeys(kinds))
    votes = sum({detector.kind: detector.votes for detector in voted.detectors}.values())
    if voted.quorum > votes:
        have = f"there {_are(len(voters))}" if votes == len(voters) else f"together they have only {votes}"
        message = f"{voted.quorum} votes are needed, but {have}: {', '.join(voters)}"
        yield Finding((*loc, _written(own, "quorum", "detectors")), message)
    if own.model_fields_set >= {"detectors"}:
        yield from _unique(
            [((*loc, "detectors", at), kind) for at, kind in enumerate(kinds)],
            lambda _: "this detector is listed twice; it has one vote",
        )


def _are(count: int) -> str:
    return "is only 1 detector" if count == 1 else f"are only {count} detectors"


def _written(section: Section, *names: str) -> str:
    """Return the first of `names` that the file has, so that a problem points at something that is there."""
    return next((name for name in names if name in section.model_fields_set), names[0])


def _text(seconds: float) -> str:
    return format_duration(seconds)
