"""Asks the queries of an alert's `context`, when it fires: error budget, traffic, the trace of a slow request."""

from __future__ import annotations

from collections.abc import Mapping

from exporter.alerting.explanation.formatting import format_numbers
from exporter.alerting.explanation.template import fill
from exporter.alerting.settings import ContextSettings
from exporter.engine.series import labels_of
from exporter.errors import PrometheusError
from exporter.evaluation.inquiries import FiringAlert
from exporter.prometheus import PrometheusApi

__all__ = ["AlertContext", "filled_in"]

_SHOWN = 5
"""Series of an answer that are named."""
_QUOTED = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "'": "\\'", "`": ""})


class AlertContext:
    """One named query of `context`.

    Parameters
    ----------
    query_offset : float, seconds
        How long ago an instant must be before it is asked for.
    """

    def __init__(self, settings: ContextSettings, *, query_offset: float) -> None:
        self._settings, self._query_offset = settings, query_offset
        self.names = (settings.name,)

    def ask(self, api: PrometheusApi, alert: FiringAlert, timeout: float) -> dict[str, str]:
        """Return the annotation; see `Inquiry`."""
        settings, end = self._settings, alert.at - self._query_offset
        labels = {**alert.series, **alert.labels}
        try:
            if settings.exemplars is not None:
                begin = min(alert.since - self._query_offset, end) - settings.window
                text = self._trace(api, filled_in(settings.exemplars, labels), begin, end, timeout, labels)
            else:
                frame = api.instant(filled_in(settings.expr or "", labels), end, timeout=timeout)
                series = dict(zip(frame.keys, frame.values.tolist(), strict=True))
                text = self._values(series, labels)
        except PrometheusError as error:
            text = f"not known: {error.message}"
        return {settings.name: text}

    def _values(self, series: Mapping[bytes, float], labels: Mapping[str, str]) -> str:
        if not series:
            return "no data"
        ordered = sorted(series.items(), key=lambda item: (-item[1] if item[1] == item[1] else 0.0, item[0]))
        texts = format_numbers([value for _, value in ordered], self._settings.unit)
        lines = [self._line(text, dict(labels_of(key)), labels) for (key, _), text in zip(ordered, texts, strict=True)]
        more = len(lines) - _SHOWN
        return "\n".join([*lines[:_SHOWN], *([f"and {more} more"] if more > 0 else [])])

    def _trace(
        self, api: PrometheusApi, expr: str, begin: float, end: float, timeout: float, labels: Mapping[str, str]
    ) -> str:
        exemplars = api.exemplars(expr, begin, end, timeout=timeout)
        if not exemplars:
            return "no exemplar"
        worst = max(exemplars, key=lambda exemplar: (exemplar.value, exemplar.at))
        (text,) = format_numbers([worst.value], self._settings.unit)
        return self._line(text, worst.labels, labels)

    def _line(self, value: str, own: Mapping[str, str], labels: Mapping[str, str]) -> str:
        """Return the text of a value; its own labels win over those of the alert."""
        if self._settings.text is not None:
            return fill(self._settings.text, {"value": value}, {**labels, **own})
        names = " ".join(f"{name}={text}" for name, text in sorted(own.items()) if name != "__name__")
        return f"{names}: {value}" if names else value


def filled_in(expr: str, labels: Mapping[str, str]) -> str:
    r"""Return an expression with the labels of an alert in it; a value cannot end the string that it is put into.

    >>> filled_in('errors{job="{{ labels.job }}"}', {"job": 'a"} or up{b="'})
    'errors{job="a\\"} or up{b=\\""}'
    """
    return fill(expr, {}, {name: value.translate(_QUOTED) for name, value in labels.items()})
