"""Public holidays of a country or one of its regions, by the package `holidays`."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from exporter.config.environment import Finding
from exporter.config.yaml_source import Loc
from exporter.engine.baseline import Holidays

__all__ = ["check_holidays", "holidays_of"]


@functools.lru_cache(maxsize=64)
def holidays_of(region: str) -> Holidays:
    """Return the holidays of `region`, such as ``DE`` or ``US-CA``.

    Raises
    ------
    NotImplementedError
        The package does not have that country or that part of it.
    """
    import holidays  # Takes a tenth of a second, and most configurations have none.

    country, _, part = region.partition("-")
    calendar = holidays.country_holidays(country, subdiv=part or None)
    return Holidays(
        region, rest_day=max(calendar.weekend, default=6), falls_on=functools.lru_cache(4096)(calendar.__contains__)
    )


def check_holidays(data: Any) -> Iterator[Finding]:
    """Check that every `baseline.holidays` is a region that has holidays, for all queries and for each."""
    if not isinstance(data, dict):
        return
    queries = data.get("queries")
    owners: list[tuple[Loc, Any]] = [((), data)]
    owners += [(("queries", at), query) for at, query in enumerate(queries if isinstance(queries, list) else ())]
    for loc, owner in owners:
        baseline = owner.get("baseline") if isinstance(owner, dict) else None
        region = baseline.get("holidays") if isinstance(baseline, dict) else None
        if not isinstance(region, str):
            continue
        try:
            holidays_of(region)
        except NotImplementedError as error:
            advice = "write a country such as DE, or a part as in US-CA"
            message = f"no holidays are known of {region[:20]!r} ({error}); {advice}"
            yield Finding((*loc, "baseline", "holidays"), message)
