"""Public holidays of a country or one of its regions, by the package of that name (extra ``holidays``)."""

from __future__ import annotations

import functools
from importlib.util import find_spec

from exporter.engine.baseline import Holidays

__all__ = ["holidays_of", "region_problem"]


@functools.lru_cache(maxsize=64)
def holidays_of(region: str) -> Holidays:
    """Return the holidays of `region`, such as ``DE`` or ``US-CA``.

    Raises
    ------
    NotImplementedError
        Nobody knows that country or that part of it.
    """
    import holidays

    country, _, part = region.partition("-")
    known = holidays.country_holidays(country, subdiv=part or None)
    return Holidays(
        region, rest_day=max(known.weekend, default=6), falls_on=functools.lru_cache(4096)(known.__contains__)
    )


def region_problem(region: object) -> str | None:
    """Return what is wrong with a region, or None; also where nobody can say, because the package is missing."""
    if not isinstance(region, str) or find_spec("holidays") is None:
        return None
    try:
        holidays_of(region)
    except NotImplementedError as unknown:
        return (
            f"no holidays are known of {region[:20]!r} ({unknown}); write a country such as DE, or a part as in US-CA"
        )
    return None
