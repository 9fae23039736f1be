"""How a query and its shadow judge, for pages and the API."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ShadowStatus"]


@dataclass(frozen=True, slots=True)
class ShadowStatus:
    """A query and its shadow in the newest slot that both judged. Never changed.

    Attributes
    ----------
    at, began : float or None, Unix seconds
        That slot, and the first one; None: there was none so far.
    series : int
        How many have a score of both; the next two count those of them that are anomalous to one only.
    anomalous, shadow_anomalous : int
        How many of them are anomalous to the query, and to the shadow.
    firing, shadow_firing : int
        Alerts that fire, and that would fire.
    alerts, shadow_alerts : int
        How many began to fire since `began`.
    trouble : str
        Why nothing is compared now; empty where it is.
    """

    query: str
    at: float | None = None
    began: float | None = None
    series: int = 0
    only_query: int = 0
    only_shadow: int = 0
    anomalous: int = 0
    shadow_anomalous: int = 0
    firing: int = 0
    shadow_firing: int = 0
    alerts: int = 0
    shadow_alerts: int = 0
    trouble: str = "nothing was judged so far"

    @property
    def disagreement(self) -> float | None:
        """Part of the series that are anomalous to one only; None where there is none."""
        return (self.only_query + self.only_shadow) / self.series if self.series else None
