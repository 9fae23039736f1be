"""The interface through which the program supplies the pages."""

from __future__ import annotations

from typing import Protocol

from exporter.web.api.what_if import OtherSettings
from exporter.web.pages.explore_models import ExploreForm, ExplorePage
from exporter.web.pages.incident_models import AnomaliesPage, AnomalyFilter, IncidentPage, WhatIfPage
from exporter.web.pages.models import (
    ChartPart,
    ChartStyle,
    GraphPage,
    Labels,
    OverviewPage,
    SeriesFilter,
    TimeRange,
)

__all__ = ["PageData"]


class PageData(Protocol):
    """Supplies the data of the pages. Every method is run in a worker thread."""

    def now(self) -> float:
        """Return the time, whole Unix seconds."""

    def overview(self, filters: SeriesFilter) -> OverviewPage:
        """Return the front page; asks no server."""

    def series(self, query: str, labels: Labels) -> GraphPage:
        """Return one series whose labels include `labels`; asks no server. Raises `DisplayError`."""

    def anomalies(self, filters: AnomalyFilter) -> AnomaliesPage:
        """Return a page of episodes; asks no server. Raises `DisplayError`."""

    def incident(self, episode: str) -> IncidentPage:
        """Return one episode by its id; asks no server. Raises `DisplayError`."""

    def what_if(self, query: str, settings: OtherSettings | None) -> WhatIfPage:
        """Return what settings would have made of the alerts of a query; None tries some. Raises `DisplayError`."""

    def explore(self, form: ExploreForm) -> ExplorePage:
        """Return the page on which an expression is tried; asks Prometheus. Raises `DisplayError`."""

    def explore_chart(self, form: ExploreForm, style: ChartStyle) -> bytes:
        """Return the chart of a trial as a file; asks Prometheus. Raises `DisplayError`."""

    def preload(self) -> None:
        """Start the worker processes, which the first chart would have to wait for."""

    def chart(self, query: str, labels: Labels, within: TimeRange | None, part: ChartPart, style: ChartStyle) -> bytes:
        """Return a chart as a file; asks Prometheus. Raises `DisplayError`."""
