"""What is explained of a storm: the storm itself, and its worst members."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from exporter.alerting.alert import Alert, AlertCandidate
from exporter.alerting.explanation.explanation import Explanation
from exporter.alerting.explanation.input import StormInput
from exporter.alerting.explanation.registry import STORM
from exporter.alerting.identity import Kind
from exporter.alerting.label_index import Hashes, LabelIndex, Rows
from exporter.alerting.storm import OpenStorm, StormAssignment
from exporter.evaluation.containment import Containment
from exporter.evaluation.slot_result import ExplanationRequest, SlotResult

__all__ = ["since_of_members", "storm_candidate", "worst_of_storm"]

_WORST = 5
"""Members of a storm that are explained one by one."""


def since_of_members(assignment: StormAssignment, rows: Rows) -> float | None:
    """Return since when the members of a dissolved storm among `rows` are anomalous, Unix seconds."""
    return min((assignment.since[row] for row in rows.tolist() if row in assignment.since), default=None)


def worst_of_storm(slot: SlotResult, rows: Rows, storm: OpenStorm, hashes: Hashes) -> list[ExplanationRequest]:
    """Return which members of a storm are explained, the worst first.

    Parameters
    ----------
    rows : ndarray of intp
        Its members.
    hashes : ndarray of uint64, shape (size,)
        Of the labels of all rows: the order of members with equal scores, because rows differ after a restart.
    """
    of_members = hashes[rows]
    order = np.lexsort((of_members, -slot.score[rows]))[:_WORST].tolist()
    joined = [float(storm.joined[storm.members == of_members[place]][0]) for place in order]
    return [
        ExplanationRequest(int(rows[place]), since, in_storm=True) for place, since in zip(order, joined, strict=True)
    ]


def storm_candidate(
    slot: SlotResult,
    assignment: StormAssignment,
    storm: OpenStorm,
    worst: Sequence[AlertCandidate],
    alerts: Mapping[str, Alert],
    index: LabelIndex,
    owner: tuple[Kind, str],
    containment: Containment,
) -> AlertCandidate:
    """Return the candidate of a storm.

    Parameters
    ----------
    worst : sequence of AlertCandidate
        Those of its worst members, the worst first.
    alerts : mapping
        All alerts by identity.
    owner : tuple
        Whether it is of a query or a group, and the name.
    """
    kind, name = owner
    rows, alert = assignment.rows[storm.identity], alerts.get(storm.identity)
    labels, since = ({}, slot.states.at) if alert is None else (alert.labels, alert.active_at)
    labels, since = assignment.begun.get(storm.identity, (labels, since))

    def explain() -> Explanation:
        source = StormInput(
            name,
            [candidate.explanation.annotations.get("summary", "") for candidate in worst],
            now=len(rows),
            total=storm.total,
            series=len(slot.table),
            frequent=index.frequent_labels(rows, besides=[label for label, _ in storm.key]),
            since=since,
            at=slot.states.at,
            members="series" if kind == "query" else "things",
        )
        return worst[0].explanation.add(STORM, source)

    explanation = containment.run("explanation of a storm", name, explain, worst[0].explanation)
    return replace(worst[0], labels=labels, explanation=explanation, since=since)
