"""Prometheus HTTP API: instant and range queries. Thanos, Mimir and VictoriaMetrics have it too."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from http import HTTPStatus
from time import monotonic

import numpy as np

from exporter.completeness import Marks, notes_of, texts_of
from exporter.errors import PrometheusError, Reason
from exporter.http_client import USER_AGENT, Client, Fault, HttpResponse, http_date
from exporter.prometheus.answer_budget import AnswerBudget, AnswerSize
from exporter.prometheus.decode import ApiResponse, LabelCheck, RangeMatrix, decode_matrix, decode_vector
from exporter.prometheus.exemplars import Exemplar, decode_exemplars
from exporter.prometheus.flood import count_rows, thinned
from exporter.prometheus.frame import AnswerEnds, Frame, HistoryChunk
from exporter.prometheus.history import MAX_CELLS, chunks, grid
from exporter.prometheus.part_sizes import PartSizes
from exporter.prometheus.repeated_answer import answer_ends, repeated_samples
from exporter.prometheus.response import read_response
from exporter.prometheus.settings import PrometheusSettings

__all__ = ["PrometheusApi"]


_ROW_BYTES = 450
"""What a row takes while it is decoded, beside its text; measured."""
_SMALL = 2**20
"""Bytes of an answer whose rows are not counted."""
_WRONG_METHOD = frozenset({403, 405, 501})
"""Statuses with which servers and proxies refuse POST."""


class PrometheusApi:
    """Queries one server; safe to use from many threads at once. Methods raise `PrometheusError`.

    Parameters
    ----------
    budget : AnswerBudget, optional
        The memory for answers, which several clients share.
    """

    def __init__(
        self, settings: PrometheusSettings, *, user_agent: str = USER_AGENT, budget: AnswerBudget | None = None
    ) -> None:
        self._settings = settings
        self._budget = budget or AnswerBudget()
        self._client = Client(settings, user_agent=user_agent, pool=settings.concurrency, error=PrometheusError)
        self._labels = LabelCheck()
        self._get = settings.method == "get"

    def instant(
        self,
        expr: str,
        at: float,
        *,
        timeout: float,
        is_learned: Callable[[bytes], bool] = lambda _: False,
        before: Frame | None = None,
    ) -> Frame:
        """Evaluate `expr` at Unix time `at`, within `timeout` seconds in total.

        A scalar is one series without labels. The caller subtracts `query_offset` from `at`. Of an answer with more
        rows than there is memory for, those are decoded for which `is_learned`, given the label set as a JSON object,
        is true; where there are none, the answer is TOO_LARGE. `before` is an earlier answer to the same query: where
        this one has the same rows, it has the same object as `keys`.
        """
        path = "/api/v1/query"
        form = {"query": expr, "time": _seconds(at), **self._options(timeout)}
        with self._budget.answer() as size:
            answer = self._send(path, form, timeout, size)
            taken = 0
            if before is not None and before.ends is not None and size.fits(_ROW_BYTES * len(before.keys)):
                if (frame := _repeated(before, before.ends, answer, at)) is not None:
                    return frame
                taken = _ROW_BYTES * len(before.keys)
            refused = 0
            rows = count_rows(answer.body) if len(answer.body) > _SMALL else 0
            if not size.fits(max(0, rows * _ROW_BYTES - taken)):
                body, kept = thinned(answer.body, is_learned)
                if not kept:
                    raise self._too_many(path, rows)
                answer, refused = replace(answer, body=body), rows - kept
            response, notes = self._read(path, answer)
            try:
                vector = decode_vector(response.data, self._labels)
            except Fault as fault:
                raise self._error(path, fault) from None
            has_all = not (refused or notes or vector.own or vector.left_out.rows)
            ends = answer_ends(answer.body, vector.keys) if has_all else None
        samples = vector.keys, vector.values, vector.timestamps
        if vector.left_out.rows and not vector.keys:
            # Nothing is known of any series: an answer without series would be another one.
            raise self._error(path, Fault(Reason.BAD_DATA, f"no row of the answer can be read: {vector.left_out}"))
        infos = texts_of(response.infos)
        return Frame(at, *samples, vector.left_out, notes, _clock(answer), infos, vector.own, refused, ends)

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
            form |= {"nocache": "1", **self._options(timeout)}
            with self._budget.answer() as size:
                answer = self._send(path, form, timeout, size)
                rows = count_rows(answer.body) if len(answer.body) > _SMALL else 0
                # The arrays of samples take less than their text.
                if not size.fits(rows * _ROW_BYTES + len(answer.body)):
                    raise self._too_many(path, rows)
                response, notes = self._read(path, answer)
                try:
                    matrix = decode_matrix(response.data, self._labels, with_own=with_own)
                except Fault as fault:
                    raise self._error(path, fault) from None
                # Series that were there for an instant have a place at all of them.
                points = round((last - first) / step) + 1
                if points > 1 and len(matrix.keys) * points > MAX_CELLS:
                    text = f"{len(matrix.keys):,} series at {points:,} instants are too many to be held at once"
                    raise self._error(path, Fault(Reason.TOO_LARGE, text))
                return matrix, notes

        return chunks(fetch, grid(start, end, step), step, series, sizes, answered=answered)

    def ready(self, *, timeout: float) -> bool:
        """Return whether the server answers queries; it does not while it replays its log after a start."""
        try:
            with self._budget.answer() as size:
                self._read("/api/v1/query", self._send("/api/v1/query", {"query": "vector(1)"}, timeout, size))
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
        with self._budget.answer() as size:
            response, _ = self._read(path, self._send(path, form, timeout, size))
            try:
                return decode_exemplars(response.data)
            except Fault as fault:
                raise self._error(path, fault) from None

    def _send(self, path: str, form: Mapping[str, str], timeout: float, size: AnswerSize) -> HttpResponse:
        deadline, get = monotonic() + timeout, self._get
        answer = self._send_once(path, form, timeout, size, get=get)
        if self._settings.method == "auto" and answer.status in _WRONG_METHOD:
            # A long expression does not fit into a URL, so GET is for servers that refuse anything else.
            other = self._send_once(path, form, deadline - monotonic(), size, get=not get)
            if other.status not in _WRONG_METHOD:
                answer, self._get = other, not get
        return answer

    def _send_once(
        self, path: str, form: Mapping[str, str], timeout: float, size: AnswerSize, *, get: bool
    ) -> HttpResponse:
        limit, params = int(self._settings.max_response_bytes), self._settings.params
        if get:
            query = {**params, **form}
            return self._client.get(path, query, timeout=timeout, max_bytes=limit, on_bytes=size.read)
        return self._client.post_form(path, form, params=params, timeout=timeout, max_bytes=limit, on_bytes=size.read)

    def _read(self, path: str, answer: HttpResponse) -> tuple[ApiResponse, tuple[str, ...]]:
        """Return a successful response and its warnings."""
        response = read_response(self._settings.url + path, answer)
        return response, notes_of(answer.status, answer.headers, response)

    def _too_many(self, path: str, rows: int) -> PrometheusError:
        text = (
            f"{rows:,} series in one answer are more than limits.max_memory has room for; aggregate with sum by (...)"
        )
        return PrometheusError(self._settings.url + path, Reason.TOO_LARGE, text, status=200)

    def _options(self, timeout: float) -> dict[str, str]:
        options = {"timeout": _seconds(max(timeout, 0.001))}
        if self._settings.lookback_delta is not None:
            options["lookback_delta"] = _seconds(self._settings.lookback_delta)
        return options

    def _error(self, path: str, fault: Fault) -> PrometheusError:
        return PrometheusError(self._settings.url + path, fault.reason, fault.message, status=200)


def _repeated(before: Frame, ends: AnswerEnds, answer: HttpResponse, at: float) -> Frame | None:
    """Return an answer that differs from the one before in its samples only; None where it differs in more."""
    samples = repeated_samples(answer.body, before.keys, ends) if answer.status == HTTPStatus.OK else None
    if samples is None or notes_of(answer.status, answer.headers, Marks()):
        return None
    times = np.full(len(before.keys), samples[1])
    return replace(before, at=at, values=samples[0], timestamps=times, server_time=_clock(answer))


def _clock(answer: HttpResponse) -> float | None:
    return http_date(answer.headers.get("Date", ""))


def _seconds(value: float) -> str:
    return f"{value:.3f}"
