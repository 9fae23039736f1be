"""Which labels decide to which shard a series belongs: members of a group must meet in one process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from exporter.config.model import Config, QueryPlan
from exporter.errors import ExporterError
from exporter.prometheus.shard import Shard

__all__ = ["sharded"]


def sharded(config: Config, index: int, count: int) -> tuple[QueryPlan, ...]:
    """Return the plans of all queries, for one of `count` processes that split the series between them.

    Raises
    ------
    ExporterError
        Two groups share a query and have no label in common, so their members cannot be kept together.
    """
    plans = config.plans()
    if count == 1:
        return plans
    by = _labels(
        {plan.name: None for plan in plans}, [(group.name, group.by, group.queries) for group in config.groups]
    )
    found = []
    for plan in plans:
        shard = Shard(index, count, by[plan.name] or ())
        # Another share is another set of series: those that are new here have to be learned from history.
        identity = f"{plan.identity}/{index}/{count}/{','.join(sorted(shard.by))}"
        found.append(replace(plan, shard=shard, identity=identity))
    return tuple(found)


Chosen = tuple[str, ...] | None


def _labels(
    chosen: Mapping[str, Chosen], groups: Sequence[tuple[str, Sequence[str], Sequence[str]]]
) -> Mapping[str, Chosen]:
    """Return the labels that choose the shard of each query: those that all groups over it have in common."""
    found = dict(chosen)
    for _ in groups:  # So many rounds carry a label over any chain of groups.
        for name, by, queries in groups:
            common = set(by).intersection(*({*labels} for query in queries if (labels := found[query]) is not None))
            if not common:
                raise ExporterError(
                    f"group {name!r} cannot be split into shards: it shares no label with another group"
                )
            found |= dict.fromkeys(queries, tuple(sorted(common)))
    return found
