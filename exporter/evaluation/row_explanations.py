"""Candidates of the rows that are anomalous, with their explanations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from exporter.alerting.alert import AlertCandidate, fingerprint
from exporter.alerting.explanation.explanation import Explanation
from exporter.alerting.explanation.input import SharedAlertInput
from exporter.alerting.explanation.registry import SHARED
from exporter.alerting.label_index import Hashes
from exporter.alerting.storm import StormAssignment
from exporter.evaluation.row_identities import RowIdentities
from exporter.evaluation.slot_result import ExplanationRequest, SlotResult
from exporter.evaluation.storm_candidates import since_of_members, worst_of_storm

__all__ = ["explain_rows"]


def explain_rows(
    slot: SlotResult,
    assignment: StormAssignment,
    identities: RowIdentities,
    hashes: Hashes,
    contain: Callable[[Callable[[], Explanation], Explanation], Explanation],
) -> tuple[dict[str, AlertCandidate], dict[str, list[AlertCandidate]]]:
    """Return the candidates of single rows by identity, and by identity of a storm those of its worst members.

    Parameters
    ----------
    hashes : ndarray of shape (rows,)
        Of the labels of each row.
    contain : callable
        Makes a call, and returns what it is given beside it where the call fails.
    """
    worst, parts = identities.worst(assignment.alone, slot.score)
    requests = [
        ExplanationRequest(row, since_of_members(assignment, part))
        for row, part in zip(worst.tolist(), parts, strict=True)
    ]
    count, ends = len(requests), {}
    for storm in assignment.storms:
        requests += worst_of_storm(slot, assignment.rows[storm.identity], storm, hashes)
        ends[storm.identity] = len(requests)
    candidates = slot.explain(requests) if requests else []
    single = {}
    for request, part, candidate in zip(requests[:count], parts, candidates[:count], strict=True):
        if len(part) > 1:
            source = SharedAlertInput([dict(slot.table.labels(row)) for row in part.tolist()])
            add = partial(candidate.explanation.add, SHARED, source)
            explanation = contain(add, candidate.explanation)
            candidate = replace(candidate, explanation=explanation)
        single[fingerprint(candidate.labels)] = replace(candidate, since=request.since)
    begins = dict(zip(ends, [count, *ends.values()], strict=False))
    return single, {identity: candidates[begins[identity] : end] for identity, end in ends.items()}
