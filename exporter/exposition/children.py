"""The children of metrics for some label values, looked up once: every lookup costs as much as what is done with it."""

from __future__ import annotations

from typing import TypeVar

from prometheus_client.metrics import MetricWrapperBase

__all__ = ["Children", "UnreadChildren"]

M = TypeVar("M", bound=MetricWrapperBase)


class Children:
    """Children of metrics that have label values in common.

    Parameters
    ----------
    labels : str
        What they have in common, by name.
    """

    def __init__(self, **labels: str) -> None:
        self._labels = labels
        self._children: dict[tuple[object, ...], MetricWrapperBase] = {}
        self._gone: set[MetricWrapperBase] = set()

    def of(self, metric: M, **more: str) -> M:
        """Return the child of a metric, with more labels if it has more."""
        key = (metric, *more.values())
        child = self._children.get(key)
        if child is None:
            self._gone.discard(metric)
            child = self._children[key] = metric.labels(**self._labels, **more)
        return child  # type: ignore[return-value]

    def remove(self, metric: MetricWrapperBase) -> None:
        """Show no child of a metric until it is asked for again."""
        if metric in self._gone:
            return
        metric.remove_by_labels(self._labels)
        self._gone.add(metric)
        self._children = {key: child for key, child in self._children.items() if key[0] is not metric}


class UnreadChildren(Children):
    """Children of metrics that are not read: they keep nothing."""

    def of(self, metric: M, **more: str) -> M:  # noqa: ARG002
        """Return what takes values and keeps none."""
        return _UNREAD  # type: ignore[return-value]

    def remove(self, metric: MetricWrapperBase) -> None:
        """Do nothing."""


class _Unread:
    def inc(self, *_: float) -> None:
        """Do nothing, as the others."""

    set = observe = inc


_UNREAD = _Unread()
