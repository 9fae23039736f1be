"""A profile as recording and alert rules of Prometheus.

An edge of the band is a function of time with a step at every hour at which it changes: a sum of comparisons of
``time() % 86400``, for each kind of day. It needs no sample, and its cost is that of its steps.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import numpy.typing as npt
import yaml

from exporter.alerting.settings import AlertSettings
from exporter.engine.seconds import DAY, HOUR
from exporter.rule_export.profile import Profile

__all__ = ["as_rules", "steps"]

FloatArray = npt.NDArray[np.float64]

OBSERVED, LOWER, UPPER = (f"anomaly_rule:{name}" for name in ("observed_value", "expected_lower", "expected_upper"))
_MERGED = 0.1
"""Hours whose edges are less than this share of half the band apart are one step."""
_ALIKE = 0.3
"""Days whose edges are nowhere further apart than this share of half the band are alike."""
_DIGITS = 0.01
"""Edges are rounded to the power of ten below this share of half the band."""
_OLD = 30 * 86400
"""Seconds after which a profile should be made anew."""


class _Text(str):
    """Written as a block, line by line."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    pass


_Dumper.add_representer(_Text, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|"))


def as_rules(profiles: Sequence[Profile], *, always: bool = False) -> str:
    """Return a rule file.

    Parameters
    ----------
    profiles : sequence of Profile
    always : bool
        Whether the alerts fire while the exporter judges the query, too.
    """
    groups = [_group(profile, always=always) for profile in profiles]
    head = [
        "# Written by `anomaly-exporter rules export`: the bands of every hour of the week, as they were learned, for",
        "# the time in which no exporter runs. Write it anew now and then: growth and changes of clocks are not in it.",
        *(f"# {line}" for profile in profiles for line in _about(profile)),
    ]
    # An alias is shorter and less plain; there are none, because every text is written once.
    body = yaml.dump({"groups": groups}, Dumper=_Dumper, sort_keys=False, width=1_000_000, allow_unicode=True)
    return "\n".join(head) + "\n" + body


def _about(profile: Profile) -> Iterator[str]:
    """Yield what is to be known of a profile."""
    until = f"learned until {_date(profile.at)}"
    yield f"{profile.plan.name}: {len(profile.labels)} series, {until}, {profile.width:g} standard deviations"
    if (seen := profile.comparison) is not None:
        yield (
            f"  in the last {seen.days:.1f} days, by what was learned before: the exporter {_count(seen.exporter)}, "
            f"these rules {_count(seen.rules)}; they find {seen.both} of the exporter's"
        )


def _count(alerts: int) -> str:
    return f"{alerts} alert{'' if alerts == 1 else 's'}"


def _date(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _group(profile: Profile, *, always: bool) -> dict[str, object]:
    plan = profile.plan
    name = {"query": plan.name}
    rules: list[dict[str, object]] = [{"record": OBSERVED, "expr": _Text(plan.expr.strip() + "\n"), "labels": name}]
    half = (profile.upper - profile.lower) / 2.0
    if plan.direction != "both":
        # The other edge is infinite: the steps are measured by the size of the values.
        half = np.abs(np.where(np.isfinite(profile.upper), profile.upper, profile.lower)) * 0.1
    for index, labels in enumerate(profile.labels):
        for record, edge in ((LOWER, profile.lower[index]), (UPPER, profile.upper[index])):
            if np.isfinite(edge).all():
                expr = f"vector({steps(edge, float(np.median(half[index])))})"
                rules.append({"record": record, "expr": expr, "labels": {**labels, **name}})
    if plan.alert is not None and plan.alert.enabled:
        rules += [_alert(profile, plan.alert, always=always), _old(profile)]
    return {"name": f"anomaly_rule_{plan.name}", "interval": f"{max(1, round(plan.interval))}s", "rules": rules}


def steps(edge: FloatArray, half: float) -> str:
    """Return PromQL for an edge of the band, shape (168,), source units.

    Days that are alike share their steps: most series have one or two kinds of days.

    >>> steps(np.repeat([10.0, 20.0, 10.0], [12, 24, 132]), half=2.0)[:60]
    '(10 + 10 * (time() % 86400 >= bool 43200)) * (time() % 60480'
    """
    digits = 0 if half <= 0.0 else -math.floor(math.log10(half * _DIGITS))
    days = edge.reshape(7, 24)
    kinds: list[list[int]] = []
    for day in range(7):
        alike = (kind for kind in kinds if (np.abs(days[day] - days[kind[0]]) <= _ALIKE * half).all())
        kind = next(alike, None)
        if kind is None:
            kinds.append([day])
        else:
            kind.append(day)
    of_days = [_of_a_day(days[kind].mean(axis=0), half, Decimal(1).scaleb(-digits)) for kind in kinds]
    if len(kinds) == 1:
        return of_days[0]
    return " + ".join(f"({text}) * {_within(kind)}" for text, kind in zip(of_days, kinds, strict=True))


def _of_a_day(hours: FloatArray, half: float, unit: Decimal) -> str:
    """Return PromQL for an edge that is the same on every day, shape (24,)."""
    now = Decimal(repr(float(hours[0]))).quantize(unit)
    terms = [_plain(now)]
    for hour, value in enumerate(hours):
        # A step in exact decimals, so that the sum of all is exact.
        after = Decimal(repr(float(value))).quantize(unit)
        if after != now and abs(value - float(now)) > _MERGED * half:
            sign = "+" if after > now else "-"
            terms.append(f"{sign} {_plain(abs(after - now))} * (time() % 86400 >= bool {round(hour * HOUR)})")
            now = after
    return " ".join(terms)


def _within(days: Sequence[int]) -> str:
    """Return PromQL that is 1 on some days of the week, counted from Thursday, and 0 on the others."""
    runs: list[list[int]] = []
    for day in days:
        if runs and runs[-1][1] == day:
            runs[-1][1] = day + 1
        else:
            runs.append([day, day + 1])
    parts = [
        f"(time() % 604800 >= bool {round(first * DAY)}) * (time() % 604800 < bool {round(end * DAY)})"
        for first, end in runs
    ]
    return parts[0] if len(parts) == 1 else f"({' + '.join(parts)})"


def _plain(number: Decimal) -> str:
    """Return a number without an exponent, and without zeros at its end."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _alert(profile: Profile, rule: AlertSettings, *, always: bool) -> dict[str, object]:
    plan = profile.plan
    chosen = f"{{query={json.dumps(plan.name)}}}"
    sides = [(">", UPPER)] * (plan.direction != "below") + [("<", LOWER)] * (plan.direction != "above")
    expr = "\n  or\n".join(f"{OBSERVED}{chosen} {sign} {edge}{chosen}" for sign, edge in sides)
    if not always:
        expr = f"({expr})\n  unless on ()\n(anomaly_exporter_judged_ratio{chosen} > 0)"
    alert: dict[str, object] = {"alert": rule.alertname, "expr": _Text(expr + "\n")}
    if rule.for_:
        alert["for"] = f"{round(rule.for_)}s"
    if rule.keep_firing_for:
        alert["keep_firing_for"] = f"{round(rule.keep_firing_for)}s"
    # Without the query, alerts of one name are doubles to promtool.
    alert["labels"] = {"query": plan.name, **_fixed(rule.labels)}
    alert["annotations"] = {
        "summary": f"{plan.name} is {{{{ $value | humanize }}}}, beyond its band at this hour of the week",
        "description": f"By the profile that was learned until {_date(profile.at)}; no exporter judges this query.",
    }
    return alert


def _fixed(labels: Mapping[str, str]) -> dict[str, str]:
    """Return the labels of alerts that are no templates of the exporter."""
    return {name: text for name, text in labels.items() if "{" not in text and text}


def _old(profile: Profile) -> dict[str, object]:
    return {
        "alert": "AnomalyRulesOld",
        "expr": f"vector(time() - {round(profile.at)}) > {_OLD}",
        "labels": {"severity": "ticket", "query": profile.plan.name},
        "annotations": {
            "summary": f"The rules of {profile.plan.name} were learned {{{{ $value | humanizeDuration }}}} ago",
            "description": "Run `anomaly-exporter rules export` again.",
        },
    }
