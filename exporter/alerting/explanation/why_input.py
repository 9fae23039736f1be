"""What the texts about why an alert begins now are built from: likely causes, label values, changes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from exporter.alerting.explanation.formatting import Unit

__all__ = [
    "CarriedChange",
    "ChangeInput",
    "DrillDownInput",
    "LikelyCause",
    "LikelyCausesInput",
    "PrecedingChange",
    "VerdictsInput",
]


@dataclass(frozen=True, slots=True)
class LikelyCause:
    """A component that may be the cause of an alert.

    Attributes
    ----------
    component : str
    own : float
        The damage that is its own.
    since : float, Unix seconds
        When it became unusual; NaN where that is unknown.
    affected : bool
        Whether the alert is about this component.
    """

    component: str
    own: float
    since: float
    affected: bool = False


@dataclass(frozen=True, slots=True)
class LikelyCausesInput:
    """The components that may be the cause of an alert.

    Attributes
    ----------
    causes : tuple of LikelyCause
        The likeliest first; empty where none is likely.
    total : float
        The damage of all components.
    components : int
        How many were compared.
    measure : str
        Query that measures the damage, in `unit`.
    began : float, Unix seconds
        The beginning of the alert.
    earlier : str
        The text of an earlier slot: it stands where the causes can no longer be compared.
    """

    causes: tuple[LikelyCause, ...] = ()
    total: float = 0.0
    components: int = 0
    measure: str = ""
    unit: Unit | None = None
    began: float = math.nan
    earlier: str = ""


@dataclass(frozen=True, slots=True)
class CarriedChange:
    """A set of label values that carries a part of a change.

    Attributes
    ----------
    values : mapping
        All of them hold.
    change : float
        Its part of the change, in the same units as that of the whole.
    before, now : float
        Its value as it was expected and as it is, source units.
    """

    values: Mapping[str, str]
    change: float
    before: float
    now: float


@dataclass(frozen=True, slots=True)
class DrillDownInput:
    """Which label values carry the change of an aggregate.

    Attributes
    ----------
    labels : tuple of str
        By which it was split.
    leaves : int
        How many combinations of their values there are.
    carriers : tuple of CarriedChange
        The largest change first.
    change : float
        Of the whole.
    rest_before, rest_now : float
        Everything else as it was expected and as it is, source units.
    ratio : bool
        Whether the values are ratios.
    failed : str
        Why nothing can be said; empty where something can.
    """

    labels: tuple[str, ...]
    leaves: int = 0
    carriers: tuple[CarriedChange, ...] = ()
    change: float = 0.0
    rest_before: float = 0.0
    rest_now: float = 0.0
    unit: Unit | None = None
    ratio: bool = False
    failed: str = ""


@dataclass(frozen=True, slots=True)
class PrecedingChange:
    """A change before an alert, in words, and when it was, Unix seconds."""

    text: str
    at: float


@dataclass(frozen=True, slots=True)
class ChangeInput:
    """The changes before an alert.

    Attributes
    ----------
    changes : tuple of PrecedingChange
        The newest first.
    began : float, Unix seconds
        The beginning of the alert.
    earlier : str
        The text of an earlier slot: it stands where the changes are forgotten.
    """

    changes: tuple[PrecedingChange, ...]
    began: float
    earlier: str = ""


@dataclass(frozen=True, slots=True)
class VerdictsInput:
    """Feedback on alerts like this; the newest on each counts.

    Attributes
    ----------
    like : str
        Which alerts were counted, such as ``of this query``.
    confirmed, false_alarms, expected, accepted : int
        How many were real, false alarms, known beforehand, and the new normal.
    """

    like: str
    confirmed: int = 0
    false_alarms: int = 0
    expected: int = 0
    accepted: int = 0

    @property
    def total(self) -> int:
        """How many have feedback."""
        return self.confirmed + self.false_alarms + self.expected + self.accepted

    @property
    def share(self) -> float:
        """Part of them that were real; NaN where there are none."""
        return self.confirmed / self.total if self.total else math.nan
