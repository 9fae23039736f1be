"""How many alerts a query may raise: ``2/week``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import BeforeValidator, InstanceOf, PlainSerializer

__all__ = ["AlertBudget", "Budgeted"]

_PERIODS = {"day": 86400.0, "week": 7 * 86400.0, "month": 30 * 86400.0}
_MOST_A_DAY = 100
_FORM = re.compile(r"([0-9]{1,6})/(day|week|month)")


@dataclass(frozen=True, slots=True)
class AlertBudget:
    """So many alerts in a day, a week, or a month of 30 days.

    >>> str(AlertBudget.parse("2/week")), AlertBudget.parse("1/day").seconds
    ('2/week', 86400.0)
    """

    alerts: int
    period: str

    @classmethod
    def parse(cls, text: object) -> Self:
        """Read a budget as it is written in the file."""
        match = _FORM.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise ValueError(f"not a budget: {text!r}; write a whole number for a day, week or month, such as 2/week")
        budget = cls(int(match[1]), match[2])
        if not budget.alerts:
            raise ValueError("a budget of no alerts at all; leave out alert: for scores only")
        if budget.rate * 86400.0 > _MOST_A_DAY:
            raise ValueError(f"more than {_MOST_A_DAY} alerts a day are no budget")
        return budget

    @property
    def seconds(self) -> float:
        """How long the period is."""
        return _PERIODS[self.period]

    @property
    def rate(self) -> float:
        """Alerts a second."""
        return self.alerts / self.seconds

    def __str__(self) -> str:
        return f"{self.alerts}/{self.period}"


Budgeted = Annotated[
    InstanceOf[AlertBudget],
    BeforeValidator(AlertBudget.parse, json_schema_input_type=str),
    PlainSerializer(str, return_type=str),
]
"""A field of the configuration that holds a budget."""
