"""Prometheus HTTP API: instant and range queries. Thanos, Mimir and VictoriaMetrics have it too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from time import monotonic

from exporter.errors import PrometheusError, Reason
from exporter.http_client import USER_AGENT, Client, Fault, HttpResponse, http_date
from exporter.prometheus.completeness import notes_of
from exporter.prometheus.decode import ApiResponse, LabelCheck, RangeMatrix, decode_matrix, decode_vector
from exporter.prometheus.exemplars import Exemplar, decode_exemplars
from exporter.prometheus.frame import Frame, HistoryChunk
from exporter.prometheus.history import chunks, grid
from exporter.prometheus.part_sizes import PartSizes
from exporter.prometheus.response import read_response
from exporter.prometheus.settings import PrometheusSettings

__all__ = ["PrometheusApi"]


_WRONG_METHOD = frozenset({403, 405, 501})
"""Statuses with which servers and proxies refuse POST."""


class PrometheusApi:
    """Queries one server; safe to use from many threads at once. Methods raise `PrometheusError`."""

    def __init__(self, settings: PrometheusSettings, *, user_agent: str = USER_AGENT) -> None:
        self._settings = settings
        self._client = Client(settings, user_agent=user_agent, pool=settings.concurrency, error=PrometheusError)
        self._labels = LabelCheck()
        self._get = settings.method == "get"

    def instant(self, expr: str, at: float, *, timeout: float) -> Frame:
        """Evaluate `expr` at Unix time `at`, within `timeout` seconds in total.

        A scalar is one series without labels. The caller subtracts `query_offset` from `at`.
        """
        path = "/api/v1/query"
        form = {"query": expr, "time": _seconds(at), **self._options(timeout)}
        response, notes, headers = self._ask(path, form, timeout)
        try:
            vector = decode_vector(response.data, self._labels)
        except Fault as fault:
            raise self._error(path, fault) from None
        samples = vector.keys, vector.values, vector.timestamps
        if vector.left_out.rows and not vector.keys:
            # Nothing is known of any series: an answer without series would be another one.
            raise self._error(path, Fault(Reason.BAD_DATA, f"no row of the answer can be read: {vector.left_out}"))
        clock = http_date(headers.get("Date", ""))
        return Frame(at, *samples, vector.left_out, notes, clock, tuple(response.infos or ()), vector.own)

    def history(
        self,
        expr: str,
        start: float,
        end: float,
        step: float,
        *,
        timeout: float,
        series: int,
        sizes: PartSizes | None = None,
        answered: bool = False,
        with_own: bool = False,
    ) -> Iterator[HistoryChunk]:
        """Evaluate `expr` at `start`, `start + step`, ... up to `end`, in bounded chunks, oldest first.

        Parameters
        ----------
        expr : str
        start, end : float
            Unix seconds.
        step : float
            Seconds.
        timeout : float
            Seconds for each chunk.
        series : int
            Expected number of series, from an instant query; it sets the length of the first chunk.
        sizes, answered
            As in `chunks`.
        with_own : bool
            Whether series that this exporter wrote are read, too.
        """
        path = "/api/v1/query_range"

        def fetch(first: float, last: float) -> tuple[RangeMatrix, tuple[str, ...]]:
            form = {"query": expr, "start": _seconds(first), "end": _seconds(last), "step": _seconds(step)}
            # Without it VictoriaMetrics moves the instants to multiples of the step, for its cache.
            response, notes, _ = self._ask(path, {**form, "nocache": "1", **self._options(timeout)}, timeout)
            try:
                return decode_matrix(response.data, self._labels, with_own=with_own), notes
            except Fault as fault:
                raise self._error(path, fault) from None

        return chunks(fetch, grid(start, end, step), step, series, sizes, answered=answered)

    def ready(self, *, timeout: float) -> bool:
        """Return whether the server answers queries; it does not while it replays its log after a start."""
        try:
            self._ask("/api/v1/query", {"query": "vector(1)"}, timeout)
        except PrometheusError as error:
            if error.reason.retryable:
                return False
            raise
        return True

    def cancel(self) -> None:
        """Break off every query under way."""
        self._client.cancel()

    def close(self) -> None:
        """Break off every query and close the connections."""
        self._client.close()

    def exemplars(self, expr: str, start: float, end: float, *, timeout: float) -> list[Exemplar]:
        """Return the exemplars of the series of `expr` between two instants, Unix seconds, within `timeout` seconds."""
        path = "/api/v1/query_exemplars"
        form = {"query": expr, "start": _seconds(start), "end": _seconds(end)}
        response, _, _ = self._ask(path, form, timeout)
        try:
            return decode_exemplars(response.data)
        except Fault as fault:
            raise self._error(path, fault) from None

    def _ask(
        self, path: str, form: Mapping[str, str], timeout: float
    ) -> tuple[ApiResponse, tuple[str, ...], Mapping[str, str]]:
        """Return the response, its warnings and its headers."""
        deadline, get = monotonic() + timeout, self._get
        answer = self._send(path, form, timeout, get=get)
        if self._settings.method == "auto" and answer.status in _WRONG_METHOD:
            # A long expression does not fit into a URL, so GET is for servers that refuse anything else.
            other = self._send(path, form, deadline - monotonic(), get=not get)
            if other.status not in _WRONG_METHOD:
                answer, self._get = other, not get
        response = read_response(self._settings.url + path, answer)
        notes = notes_of(answer.status, answer.headers, response)
        return response, notes, answer.headers

    def _send(self, path: str, form: Mapping[str, str], timeout: float, *, get: bool) -> HttpResponse:
        limit, params = int(self._settings.max_response_bytes), self._settings.params
        if get:
            return self._client.get(path, {**params, **form}, timeout=timeout, max_bytes=limit)
        return self._client.post_form(path, form, params=params, timeout=timeout, max_bytes=limit)

    def _options(self, timeout: float) -> dict[str, str]:
        options = {"timeout": _seconds(max(timeout, 0.001))}
        if self._settings.lookback_delta is not None:
            options["lookback_delta"] = _seconds(self._settings.lookback_delta)
        return options

    def _error(self, path: str, fault: Fault) -> PrometheusError:
        return PrometheusError(self._settings.url + path, fault.reason, fault.message, status=200)


def _seconds(value: float) -> str:
    return f"{value:.3f}"
