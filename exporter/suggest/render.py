"""Writes proposals: as a commented configuration file, or as a table."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from exporter.alerting.explanation.formatting import format_numbers
from exporter.presets import preset
from exporter.suggest.measure import Measurement
from exporter.suggest.proposal import Proposal, groups_of, totals

__all__ = ["as_table", "as_yaml", "cost_lines"]

_SERIES_BYTES = 8000
"""Learned state of a series; docs/performance.md."""
_WIDTH = 118


def as_yaml(
    proposals: Sequence[Proposal],
    *,
    url: str,
    alertmanagers: Sequence[str] = (),
    head: str = "",
    explain: bool = False,
) -> str:
    """Return a configuration file that says of each query what was seen.

    Parameters
    ----------
    head : str
        Text of a file with the server and the Alertmanagers, which is taken as it is.
    explain : bool
        Also list what was left out, and why.
    """
    lines = ["# Written by anomaly-exporter suggest. Check it with: anomaly-exporter check config FILE"]
    lines += [f"# {line}" for line in cost_lines(proposals)]
    if head:
        lines += ["", *head.rstrip().splitlines()]
    else:
        lines += ["", "prometheus:", f"  url: {_scalar(url)}"]
        lines += _alertmanagers(alertmanagers)
    lines += ["", "queries:"]
    source = ""
    for proposal in proposals:
        if proposal.left_out:
            continue
        if proposal.candidate.source != source:
            source = proposal.candidate.source
            lines += ["", f"  # ---- {_title(source)} ----"]
        lines += ["", *(f"  # {line}" for line in _comments(proposal)), *_item(proposal.fields)]
    groups = list(groups_of(proposals))
    if groups:
        lines += ["", "# Metrics of one thing, judged together: docs/groups.md", "groups:"]
        for group in groups:
            lines += _item(group)
    left = [proposal for proposal in proposals if proposal.left_out]
    if explain and left:
        lines += ["", "# Left out:", *(f"# - {proposal.candidate.name}: {proposal.left_out}" for proposal in left)]
    return "\n".join(lines) + "\n"


def as_table(proposals: Sequence[Proposal]) -> str:
    """Return what would be written as a table."""
    head = ("query", "series", "season", "alerts a week", "server", "every", "")
    rows = [head]
    for proposal in proposals:
        seen = proposal.measurement
        rows.append(
            (
                proposal.candidate.name,
                str(seen.series),
                seen.season,
                _rate(seen),
                f"{seen.seconds * 1000:.0f} ms",
                str(proposal.fields.get("interval", "1m")),
                f"left out: {proposal.left_out}" if proposal.left_out else seen.trouble,
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(head) - 1)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in rows
    ]
    return "\n".join([*lines, "", *cost_lines(proposals)]) + "\n"


def cost_lines(proposals: Sequence[Proposal]) -> list[str]:
    """Return what the written queries cost together, in sentences."""
    total = totals(proposals)
    memory = total["series"] * _SERIES_BYTES / 1e6
    here, there = 100 * total["engine"], 100 * total["server"]
    return [
        f"{total['queries']:.0f} queries, {total['series']:.0f} series: about {memory:.1f} MB of learned state.",
        f"Processors: about {here:.1f} % here, and {there:.1f} % of the server as it answered just now.",
        f"The first start learns their history, which takes a processor {total['learning']:.0f} s at most.",
    ]


def _alertmanagers(urls: Sequence[str]) -> Iterator[str]:
    yield ""
    if urls:
        yield "alertmanagers:"
        yield from (f"  - url: {_scalar(url)}" for url in urls)
    else:
        yield "# alertmanagers: # Without any, alerts are shown and not sent."
        yield "#   - url: http://localhost:9093"


def _comments(proposal: Proposal) -> Iterator[str]:
    seen = proposal.measurement
    yield proposal.candidate.why
    parts = [f"{seen.series} series", f"evaluated in {seen.seconds * 1000:.0f} ms"]
    if seen.days:
        parts.append(f"{seen.days:.0f} days of history" if seen.days >= 1 else f"{seen.days * 24:.0f} h of history")
    if seen.season != "unknown":
        parts.append(f"season: {seen.season}")
    if math.isfinite(seen.noise):
        noise, level = format_numbers([seen.noise, seen.level], proposal.fields.get("unit"))
        parts.append(f"noise {noise} around {level}")
    yield "Seen: " + ", ".join(parts) + "."
    if seen.alerts_a_week() is not None:
        what = "Expected alerts" if "alert" in proposal.fields else "Expected anomalies; it has no alert"
        yield f"{what}: {_rate(seen)} a week at the default threshold."
    elif seen.trouble:
        yield f"{seen.trouble[:1].upper()}{seen.trouble[1:]}."
    if proposal.fields.get("alert", {}).get("budget"):
        yield "That is much for a person, so it has a budget: docs/budget.md"


def _rate(seen: Measurement) -> str:
    rate = seen.alerts_a_week()
    if rate is None:
        return "unknown"
    expected, lower, upper = rate
    return f"{expected:.1f} ({lower:.1f} to {upper:.1f})"


def _title(source: str) -> str:
    if source == "other":
        return "Metrics that no preset covers, by their names and types"
    title = preset(source).title
    return f"{title[:1].upper()}{title[1:]} (preset: {source})"


def _item(fields: Mapping[str, Any]) -> list[str]:
    text = yaml.dump([dict(fields)], Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH)
    return [f"  {line}".rstrip() for line in text.splitlines()]


def _scalar(text: str) -> str:
    return str(yaml.safe_dump(text, default_style=None, width=10_000)).split("\n", 1)[0]


class _Dumper(yaml.SafeDumper):
    """Writes lists and short mappings in one line, and expressions of several lines as they are."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _list(dumper: yaml.SafeDumper, items: list[Any]) -> yaml.SequenceNode:
    flat = all(not isinstance(item, (dict, list)) for item in items)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=flat)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(list, _list)
