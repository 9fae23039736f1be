"""What the views read of the running program."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from exporter.canary.canary_status import CanaryStatus
from exporter.config.model import Config
from exporter.correlation.changes import Change
from exporter.delivery import AlertSnapshots, DiscoveryState
from exporter.evaluation.evaluator import QueryEvaluator
from exporter.multivariate.group_status import GroupStatus
from exporter.silences import AlertStatus
from exporter.store import EpisodeLog, VerdictLog
from exporter.views.latest_verdicts import LatestVerdicts
from exporter.views.series_charts import EventWindow
from exporter.web.pages.models import (
    EventRow,
)

__all__ = ["Program"]


@dataclass(frozen=True, slots=True)
class Program:
    """What the views read of the running program; callables return at once.

    Attributes
    ----------
    evaluators : callable
        Of the configuration in force, by query.
    config : callable
        The configuration in force.
    group_status : callable
        The newest status of every group.
    canary_status : callable
        The newest comparisons of every canary.
    events : callable
        From an instant to the known events that are in effect or come soon.
    alert_status : callable
        From the labels of an alert and since when it fires to its status in every Alertmanager.
    alertmanagers : callable
        By URL: why an Alertmanager could not list its silences; None where it could.
    changes : callable
        From labels and a range of time to the deploys and other changes that may concern them, the newest first.
    verdicts : VerdictLog
        What was decided of every sample, for charts.
    events_between : callable
        From labels and a range of time to the known events that concern them: from, to, and name with action.
    discovery : callable
        What entries with `dns_sd` and `file_sd` stand for.
    """

    clock: Callable[[], float]
    evaluators: Callable[[], Mapping[str, QueryEvaluator]]
    config: Callable[[], Config]
    latest: LatestVerdicts
    alert_snapshots: AlertSnapshots
    registry: CollectorRegistry
    episodes: EpisodeLog
    store_bytes: Callable[[], int]
    group_status: Callable[[], Sequence[GroupStatus]]
    canary_status: Callable[[], Sequence[CanaryStatus]]
    events: Callable[[float], Sequence[EventRow]]
    alert_status: Callable[[Mapping[str, str], float], tuple[AlertStatus, ...]]
    alertmanagers: Callable[[], Mapping[str, str | None]]
    discovery: Callable[[], Sequence[DiscoveryState]]
    verdicts: VerdictLog
    changes: Callable[[Mapping[str, str], float, float], Sequence[Change]] = lambda *_: ()
    events_between: Callable[[Mapping[str, str], float, float], Sequence[EventWindow]] = lambda *_: ()
