"""The configuration as pydantic models: sections that live beside their users, queries, and how they combine.

`Config` is the file as written, with defaults. `Config.plan` combines it into the `QueryPlan` of one query, which is
what the rest of the program reads.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ByteSize, Field

from exporter.alerting.explanation.formatting import Unit
from exporter.alerting.settings import AlertingSettings, AlertSettings, DependencySettings
from exporter.calendar.entries import CalendarEntry
from exporter.calendar.github import WebhookSettings
from exporter.config.plan import QueryPlan, ShardBy, offsets, state_identity
from exporter.correlation.canary_settings import CanarySettings
from exporter.correlation.settings import (
    AfterChangeSettings,
    CauseSettings,
    ChangeSettings,
    DrillDownSettings,
    IncidentSettings,
)
from exporter.delivery.settings import AlertmanagerEntry
from exporter.engine.cadence import cadence_of
from exporter.engine.forecast.settings import ForecastSettings
from exporter.engine.multivariate.settings import GroupSettings
from exporter.engine.peers.settings import PeerSettings
from exporter.engine.settings import BaselineSettings, DetectionSettings, Deviation, Direction, DriftSettings
from exporter.errors import UsageError
from exporter.prometheus.settings import DEFAULT_SOURCE, PrometheusSettings, SourceSettings
from exporter.remote_write.settings import RemoteWriteSettings
from exporter.settings import Duration, Items, LabelName, Section, Timezone, overlay
from exporter.silences.settings import SilenceSettings
from exporter.store.settings import StorageSettings

__all__ = ["AlertingGroup", "Config", "GlobalSettings", "LimitsSettings", "QuerySettings", "ShadowSettings"]

_QUERY_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_:.-]{0,127}")
_TIMEOUT_SHARE = 0.8
"""Share of the interval that a query may take unless its own `timeout` says otherwise: the rest is for scoring."""


def _query_name(name: str) -> str:
    if not _QUERY_NAME.fullmatch(name):
        raise ValueError(
            f"not a query name: {name[:60]!r}; letters, digits and _ : . - only, "
            "starting with a letter or _, at most 128 characters"
        )
    return name


def _enabled(alert: AlertSettings | None) -> AlertSettings | None:
    return alert if alert is None or alert.enabled else None


def _alert_not_empty(alert: Any) -> Any:
    if alert is None:
        raise ValueError("empty; write alert: {} to alert with the defaults, or leave it out for scores only")
    return alert


def _listed_labels(labels: Any) -> Any:
    if isinstance(labels, str):
        raise ValueError(f"write a list of labels, such as [{labels[:40]}]")  # noqa: TRY004 - pydantic's contract.
    return {"labels": labels} if isinstance(labels, (list, tuple)) else labels


def _range(ends: Any) -> Any:
    if not isinstance(ends, (list, tuple)) or len(ends) != 2:
        raise ValueError("write two ends, such as [0, 1]; null leaves an end open: [0, null]")
    return ends


End = Annotated[float, Field(allow_inf_nan=False)] | None
Range = Annotated[tuple[End, End], Field(strict=False), BeforeValidator(_range)]


class GlobalSettings(Section):
    """What holds for every query that does not say otherwise."""

    interval: Duration = Field(60.0, ge=1.0, description="How often a query is scored.")
    timeout: Duration = Field(
        30.0,
        gt=0,
        description="Total deadline of one query. A query with a shorter interval gets at most 0.8 of its interval.",
    )
    timezone: Timezone = Field("UTC", description="IANA time zone of the hour-of-week buckets.")
    shard_by: ShardBy = Field(
        "series", description="What is split between shards where a query does not say otherwise: `series` or `query`."
    )
    external_labels: dict[LabelName, str] = Field(
        {}, description="Labels added to every alert that has no label of that name, as in Prometheus."
    )


class LimitsSettings(Section):
    """How much is taken on. What is over a limit is counted and shown, and known series stay."""

    max_series: int = Field(200_000, ge=1, description="Series of all queries together.")
    max_series_per_query: int = Field(
        100_000, ge=1, description="Series of one query that has no `max_series` of its own."
    )
    max_memory: ByteSize | None = Field(
        None,
        ge=256_000_000,
        description="Memory of the process, by what its series will take once they have learned everything; beyond it "
        "no new ones are taken on. Default: four fifths of what the process may have by its control group, that is the "
        "container or the systemd unit, which leaves room for large answers; without such a limit there is none.",
    )


class ShadowSettings(Section):
    """What differs from the query in a second configuration of it, which judges the same samples and never alerts."""

    direction: Direction | None = Field(None, description="Which deviations count. Default: as in the query.")
    min_deviation: Deviation | None = Field(None, description="Default: as in the query.")
    min_relative_deviation: Deviation | None = Field(None, description="Default: as in the query.")
    valid_range: Range | None = Field(None, description="Default: as in the query.")
    baseline: BaselineSettings | None = Field(
        None, description="Fields that differ; `window` and `backfill_step` cannot, because the samples are the same."
    )
    detection: DetectionSettings | None = Field(None, description="Fields that differ; the others stay.")
    drift: DriftSettings | None = Field(None, description="Fields that differ; the others stay.")
    peers: PeerSettings | None = Field(None, description="Adds the detector `peers`, or fields of it that differ.")
    alert: Annotated[AlertSettings | None, BeforeValidator(_alert_not_empty)] = Field(
        None, description="Fields that differ in when it would alert. Without a rule here and there nothing would."
    )


class QuerySettings(Section):
    """One PromQL expression whose series are learned and scored."""

    name: Annotated[str, AfterValidator(_query_name)] = Field(
        description="Label `query` of everything about it. Unique; learned state is kept under this name."
    )
    expr: str = Field(description="PromQL expression that gives an instant vector or a scalar.")
    source: str | None = Field(None, description="Which of `sources` is asked. Default: the first.")
    interval: Duration | None = Field(None, ge=1.0, description="How often it is scored. Default: `global.interval`.")
    timeout: Duration | None = Field(
        None, gt=0, description="Total deadline. Default: `global.timeout`, at most 0.8 of the interval."
    )
    timezone: Timezone | None = Field(
        None, description="IANA time zone of the hour-of-week buckets. Default: `global.timezone`."
    )
    direction: Direction = Field("both", description="Which deviations count.")
    min_deviation: Deviation = Field(
        0.0, description="Deviations from the expected value that are smaller never count, in units of the value."
    )
    min_relative_deviation: Deviation = Field(
        0.0, description="Deviations that are smaller than this share of the expected value never count."
    )
    valid_range: Range = Field(
        (None, None),
        description="Lowest and highest value that can be true, such as `[0, 1]`; null leaves an end open.",
    )
    unit: Unit | None = Field(
        None, description="What the values are, for the texts of its alerts: `0.93 s`, `1.2 GiB`."
    )
    baseline: BaselineSettings | None = Field(
        None, description="Fields of `baseline` that differ for this query; the others stay."
    )
    detection: DetectionSettings | None = Field(
        None, description="Fields of `detection` that differ for this query; the others stay."
    )
    drift: DriftSettings | None = Field(None, description="Fields of `drift` that differ for this query.")
    alert: Annotated[AlertSettings | None, BeforeValidator(_alert_not_empty)] = Field(
        None, description="When it alerts. Leave it out and the query only has scores."
    )
    after_change: AfterChangeSettings | None = Field(
        None, description="Another band for a while after one of `changes`."
    )
    drill_down: Annotated[DrillDownSettings | None, BeforeValidator(_listed_labels)] = Field(
        None,
        description="Labels such as `[version, region]` by which the aggregate is split, once, when its alert fires: "
        "docs/annotations.md.",
    )
    peers: PeerSettings | None = Field(
        None,
        description="Adds the detector `peers`: what is unlike its siblings, the other series of the query or those "
        "with the same labels `by`: docs/peers.md. `peers: {}` takes the defaults.",
    )
    forecast: ForecastSettings | None = Field(
        None,
        description="What is forecast of its series, and the limit that they should not reach: docs/forecast.md. Takes "
        "14 kB of memory a series.",
    )
    shard_by: ShardBy | None = Field(
        None,
        description="What is split between shards: `series`, so that each of them asks and keeps its part of the "
        "answer, or `query`, so that one of them asks and has all of it. Default: `global.shard_by`.",
    )
    canary: CanarySettings | None = Field(
        None, description="Two selections of its series, such as two versions, that are compared: docs/canary.md."
    )
    shadow: ShadowSettings | None = Field(
        None, description="A second configuration, which judges the same samples and never alerts: docs/shadow.md."
    )
    max_series: int | None = Field(
        None, ge=1, description="Series scored at most. Default: `limits.max_series_per_query`."
    )

    @property
    def rule(self) -> AlertSettings | None:
        """The `alert` section, if it is not switched off."""
        return _enabled(self.alert)

    @property
    def shadowed(self) -> QuerySettings:
        """The query with the fields of its shadow in place of its own: what it is once the shadow is promoted."""
        changes: dict[str, Any] = {"shadow": None}
        for name in () if self.shadow is None else self.shadow.model_fields_set:
            own, other = getattr(self, name), getattr(self.shadow, name)
            if other is not None:
                changes[name] = overlay(own, other) if isinstance(own, Section) else other
        return self.model_copy(update=changes)


class AlertingGroup(GroupSettings):
    """Several metrics of one thing, judged together."""

    alert: Annotated[AlertSettings | None, BeforeValidator(_alert_not_empty)] = Field(
        None, description="When it alerts, as for a query. Leave it out and the group only has scores."
    )

    @property
    def rule(self) -> AlertSettings | None:
        """The `alert` section, if it is not switched off."""
        return _enabled(self.alert)


class Config(Section):
    """The configuration file."""

    global_: GlobalSettings = Field(
        GlobalSettings(), alias="global", description="What holds for every query that does not say otherwise."
    )
    prometheus: PrometheusSettings = Field(PrometheusSettings(), description="Where the samples come from.")
    sources: Items[SourceSettings] = Field(
        (),
        description="Several servers, in place of `prometheus`. A query names its `source`; the first is the default. "
        "None: `prometheus` is asked.",
    )
    alertmanagers: Items[AlertmanagerEntry] = Field(
        (), description="Where alerts go: every one gets every alert. None: alerts are only shown."
    )
    remote_write: Items[RemoteWriteSettings] = Field(
        (), description="Stores that get scores and bands by remote write: docs/remote-write.md."
    )
    storage: StorageSettings = Field(StorageSettings(), description="What is kept.")
    alerting: AlertingSettings = Field(AlertingSettings(), description="Constants of the alert protocol.")
    limits: LimitsSettings = Field(LimitsSettings(), description="How much is taken on.")
    baseline: BaselineSettings = Field(BaselineSettings(), description="What is learned from; a query may differ.")
    detection: DetectionSettings = Field(DetectionSettings(), description="Who votes; a query may differ.")
    drift: DriftSettings = Field(DriftSettings(), description="What is watched of drift; a query may differ.")
    queries: Items[QuerySettings] = Field(
        (), description="What is scored. At least one; `- preset: NAME` gives those of an exporter: docs/presets.md."
    )
    query_files: Items[str] = Field(
        (),
        description="Files with more `queries` and `groups`, as patterns such as `queries/*.yaml`; relative ones start "
        "at the folder of the configuration file.",
    )
    groups: Items[AlertingGroup] = Field((), description="Several metrics of one thing, judged together.")
    dependencies: Items[DependencySettings] = Field((), description="Who depends on whom, for cause and effect.")
    causes: Items[CauseSettings] = Field(
        (),
        description="What measures the damage behind alerts, to rank their likely causes: docs/alerts.md.",
    )
    changes: Items[ChangeSettings] = Field(
        (), description="Queries whose increase marks a deploy or another change: docs/calendar.md."
    )
    incidents: Items[IncidentSettings] = Field(
        (), description="Queries that say when something was wrong: nothing is learned of it. docs/calendar.md."
    )
    calendar: Items[CalendarEntry] = Field((), description="Known events: see docs/calendar.md.")
    silences: SilenceSettings = Field(SilenceSettings(), description="How silences of Alertmanagers are followed.")
    webhooks: WebhookSettings = Field(WebhookSettings(), description="Who may announce events without a login.")

    @property
    def servers(self) -> dict[str, PrometheusSettings]:
        """The servers that samples come from by name, the default first."""
        return {source.name: source for source in self.sources} or {DEFAULT_SOURCE: self.prometheus}

    @property
    def default_source(self) -> str:
        """The name of the server of queries that name none."""
        return next(iter(self.servers))

    def server(self, name: str | None) -> PrometheusSettings:
        """Return a server by its name; None: the default one.

        Raises
        ------
        UsageError
            There is none of that name.
        """
        if name is not None and name not in self.servers:
            raise UsageError(f"there is no source {name!r}; there are: {', '.join(self.servers)}")
        return self.servers[name or self.default_source]

    def plan(self, query: QuerySettings, *, offset: float = 0.0) -> QueryPlan:
        """Combine `query` with the sections it inherits from."""
        interval = self._interval(query)
        inherited = min(self.global_.timeout, _TIMEOUT_SHARE * interval)
        zone = query.timezone or self.global_.timezone
        baseline = overlay(self.baseline, query.baseline)
        detection = overlay(self.detection, query.detection)
        source = query.source or self.default_source
        return QueryPlan(
            name=query.name,
            expr=query.expr.strip(),
            interval=interval,
            offset=offset,
            timeout=inherited if query.timeout is None else query.timeout,
            zone=zone,
            direction=query.direction,
            min_deviation=query.min_deviation,
            min_relative_deviation=query.min_relative_deviation,
            valid_range=query.valid_range,
            baseline=baseline,
            detection=detection if query.peers is None else detection.with_peers(),
            drift=overlay(self.drift, query.drift),
            alert=query.rule,
            max_series=self.limits.max_series_per_query if query.max_series is None else query.max_series,
            shard_by=query.shard_by or self.global_.shard_by,
            identity=state_identity(
                query.expr.strip(),
                zone,
                baseline,
                cadence_of(interval, baseline.backfill_step),
                detection,
                _budget_basis(query.alert, interval),
                # The state of an only server stays when it gets a name, and others beside it.
                source if source != self.default_source else None,
                forecasts=query.forecast is not None,
                peers=None if query.peers is None else query.peers.by,
            ),
            source=source,
            unit=query.unit,
            drill_down=query.drill_down,
            forecast=query.forecast,
            peers=query.peers,
            canary=query.canary,
            shadow=None if query.shadow is None else self.plan(query.shadowed, offset=offset),
        )

    def plans(self) -> tuple[QueryPlan, ...]:
        """Return the plan of every query, in the order of the file."""
        intervals = {query.name: self._interval(query) for query in self.queries}
        shifts = offsets(intervals, [group.queries for group in self.groups])
        return tuple(self.plan(query, offset=shifts[query.name]) for query in self.queries)

    def _interval(self, query: QuerySettings) -> float:
        return self.global_.interval if query.interval is None else query.interval


def _budget_basis(alert: AlertSettings | None, interval: float) -> tuple[float, ...] | None:
    """Return what the alerts that are counted for a budget depend on; its rate does not change them."""
    if alert is None or alert.budget is None:
        return None
    return interval, alert.for_, alert.keep_firing_for
