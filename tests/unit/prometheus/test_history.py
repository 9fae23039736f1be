"""How a long range becomes bounded questions, and answers one grid."""

from __future__ import annotations

import numpy as np
import pytest

from exporter.errors import PrometheusError, Reason
from exporter.prometheus.decode import RangeMatrix
from exporter.prometheus.history import MAX_POINTS, chunks, grid, on_grid
from exporter.prometheus.part_sizes import PartSizes

TOO_MUCH = "query processing would load too many samples into memory in query execution"


class Server:
    """Answers every instant with its own time; refuses more than `most` points."""

    def __init__(self, step: float, series: int = 1, most: int = 11_000, error: PrometheusError | None = None) -> None:
        self.step, self.series, self.most = step, series, most
        self.error = error or PrometheusError("u", Reason.EXECUTION, TOO_MUCH)
        self.asked: list[int] = []

    def __call__(self, first: float, last: float) -> tuple[RangeMatrix, tuple[str, ...]]:
        points = round((last - first) / self.step) + 1
        self.asked.append(points)
        if points > self.most:
            raise self.error
        times = first + self.step * np.arange(points)
        keys = [b'{"i":"%d"}' % i for i in range(self.series)]
        return RangeMatrix(keys, [times] * self.series, [times] * self.series), ()


@pytest.mark.parametrize(
    ("start", "end", "step", "count"),
    [(0, 3600, 60, 61), (0, 3599, 60, 60), (5, 5, 60, 1), (5, 4, 60, 0), (0.1, 0.7, 0.1, 7), (1e9, 1e9 + 0.3, 0.1, 4)],
)  # fmt: skip
def test_a_grid_has_both_ends(start: float, end: float, step: float, count: int) -> None:
    assert len(grid(start, end, step)) == count


@pytest.mark.parametrize(
    ("start", "end", "step"), [(0, 1, 0), (0, 1, -1), (np.nan, 1, 1), (0, np.inf, 1), (0, 1, np.nan)]
)
def test_a_grid_needs_numbers_and_a_step(start: float, end: float, step: float) -> None:
    with pytest.raises(ValueError, match="not a time range"):
        grid(start, end, step)


@pytest.mark.parametrize(
    ("series", "longest"), [(1, 10_000), (100, 10_000), (1000, 1000), (100_000, 10), (10**7, 1), (0, 10_000)]
)
def test_chunks_are_bounded_in_points_and_in_samples(series: int, longest: int) -> None:
    server = Server(60.0)
    found = list(chunks(server, grid(0, 60 * 24_999, 60), 60.0, series)) if longest > 10 else None
    if found is None:
        found = list(chunks(server, grid(0, 60 * 24, 60), 60.0, series))
    assert max(server.asked) <= longest
    times = np.concatenate([block.times for block in found])
    assert (np.diff(times) == 60).all()
    np.testing.assert_array_equal(np.concatenate([block.values[:, 0] for block in found]), times)


LIMITS = [
    PrometheusError("u", Reason.TOO_LARGE, "the answer is larger than 5 bytes"),
    PrometheusError("u", Reason.TOO_LARGE, "HTTP 413", status=413),
    PrometheusError("u", Reason.EXECUTION, "words of any kind", status=422),
    PrometheusError("u", Reason.BAD_DATA, "exceeded maximum resolution of 11,000 points per timeseries.", status=400),
    PrometheusError("u", Reason.UNAVAILABLE, "expanding series: limit", status=500),
    PrometheusError("u", Reason.HTTP, "HTTP 400: the range is too long", status=400),
    PrometheusError("u", Reason.HTTP, "HTTP 422: a gateway says no", status=422),
    PrometheusError("u", Reason.TIMEOUT, "HTTP 504", status=504),
    PrometheusError("u", Reason.TIMEOUT, "no complete answer in time"),
]


@pytest.mark.parametrize("error", LIMITS, ids=lambda error: error.message[:30])
def test_a_refused_part_is_asked_for_in_halves_whatever_the_words(error: PrometheusError) -> None:
    server, lengths = Server(1.0, most=700, error=error), []
    sizes = PartSizes(lambda seconds, _: lengths.append(seconds))
    found = list(chunks(server, grid(0, 2999, 1.0), 1.0, 1, sizes))
    assert sum(len(block.times) for block in found) == 3000
    # Halved until it fits, and not tried larger again: not by a later call either.
    assert server.asked == [3000, 1500, 750, 375, *[375] * 7]
    assert lengths == [1500.0, 750.0, 375.0]
    list(chunks(server, grid(3000, 3999, 1.0), 1.0, 1, sizes))
    assert server.asked[11:] == [375, 375, 250]


@pytest.mark.parametrize(
    "error",
    [
        PrometheusError("u", Reason.UNAUTHORIZED, "no", status=401),
        PrometheusError("u", Reason.HTTP, "not here", status=404),
        PrometheusError("u", Reason.REFUSED, "connection refused"),
        PrometheusError("u", Reason.UNAVAILABLE, "HTTP 503", status=503),
    ],
    ids=lambda error: error.message,
)
def test_what_has_nothing_to_do_with_the_length_is_raised(error: PrometheusError) -> None:
    server = Server(1.0, most=0, error=error)
    with pytest.raises(PrometheusError, match=error.message):
        list(chunks(server, grid(0, 9, 1.0), 1.0, 1))
    assert server.asked == [10]


def test_an_expression_that_is_refused_at_every_instant_is_raised() -> None:
    server = Server(1.0, most=0)
    with pytest.raises(PrometheusError, match="too many samples"):
        list(chunks(server, grid(0, 2999, 1.0), 1.0, 1))
    assert len(server.asked) < 50


@pytest.mark.parametrize("status", [429, None])
def test_too_many_requests_are_raised_and_the_next_attempt_asks_for_less(status: int | None) -> None:
    error = PrometheusError("u", Reason.RATE_LIMITED, "slow down", status=status)
    server, sizes, found = Server(1.0, most=700, error=error), PartSizes(), []
    for _ in range(3):
        with pytest.raises(PrometheusError):
            found += chunks(server, grid(0, 2999, 1.0), 1.0, 1, sizes)
    found += chunks(server, grid(0, 2999, 1.0), 1.0, 1, sizes)
    assert server.asked == [3000, 1500, 750, *[375] * 8]
    # A server that is merely busy is not asked for each instant.
    server.most = 0
    for _ in range(20):
        with pytest.raises(PrometheusError):
            list(chunks(server, grid(0, 2999, 1.0), 1.0, 1, sizes))
    assert server.asked[-1] == 3000 >> 6


def test_a_long_answer_that_is_cut_each_time_is_asked_for_in_shorter_parts() -> None:
    error = PrometheusError("u", Reason.CONNECTION, "the answer ended early")
    server, sizes = Server(1.0, most=700, error=error), PartSizes()
    for _ in range(4):
        with pytest.raises(PrometheusError):
            list(chunks(server, grid(0, 2999, 1.0), 1.0, 1, sizes))
    # Once is an accident; after that each failure is one more sign.
    assert server.asked == [3000, 3000, 1500, 750]
    assert len(list(chunks(server, grid(0, 2999, 1.0), 1.0, 1, sizes))) == 8


def test_a_proxy_that_forbids_long_ranges_is_asked_for_shorter_ones() -> None:
    error = PrometheusError("u", Reason.UNAUTHORIZED, "HTTP 403: not so much", status=403)
    server, sizes = Server(1.0, most=1600, error=error), PartSizes()
    for _ in range(2):
        with pytest.raises(PrometheusError):
            list(chunks(server, grid(0, 2999, 1.0), 1.0, 1, sizes))
    assert len(list(chunks(server, grid(0, 2999, 1.0), 1.0, 1, sizes))) == 2


class Rejecting(Server):
    """Refuses every range that contains one of the `bad` instants."""

    def __init__(self, bad: set[int], error: PrometheusError | None = None) -> None:
        super().__init__(1.0, error=error or PrometheusError("u", Reason.EXECUTION, "many-to-many", status=422))
        self.bad = bad

    def __call__(self, first: float, last: float) -> tuple[RangeMatrix, tuple[str, ...]]:
        if self.bad.intersection(range(int(first), int(last) + 1)):
            self.most = 0
        return super().__call__(first, last)

    def read(self, points: int, **options: bool) -> tuple[list[float], list[float]]:
        """Return the instants that were read, and those that were left out."""
        read, left_out = [], []
        for block in chunks(self._asked, grid(0, points - 1, 1.0), 1.0, 1, **options):
            (read if block.keys else left_out).extend(block.times.tolist())
            assert block.partial == (not block.keys)
        return read, left_out

    def _asked(self, first: float, last: float) -> tuple[RangeMatrix, tuple[str, ...]]:
        self.most = 11_000
        return self(first, last)


@pytest.mark.parametrize(
    "bad", [{0}, {1234}, {2999}, set(range(1000, 1100)), {5, 1500, 2998}], ids=lambda bad: str(len(bad))
)
def test_an_instant_that_is_refused_by_itself_is_left_out(bad: set[int]) -> None:
    server = Rejecting(bad)
    read, left_out = server.read(3000)
    assert sorted(read + left_out) == list(range(3000))
    assert bad <= set(left_out)
    # What is unknown stays small, and so does the number of requests.
    assert len(left_out) <= 2 * len(bad) + 2
    assert len(server.asked) < 150


def test_where_the_expression_is_known_to_be_right_all_of_history_may_be_left_out() -> None:
    read, left_out = Rejecting(set(range(50))).read(50, answered=True)
    assert (read, left_out) == ([], list(range(50)))
    with pytest.raises(PrometheusError, match="many-to-many"):
        Rejecting(set(range(50))).read(50)


def test_more_series_than_expected_make_the_next_chunks_shorter() -> None:
    server = Server(60.0, series=1000)
    list(chunks(server, grid(0, 60 * 11_999, 60), 60.0, 1))
    assert server.asked == [MAX_POINTS, 1000, 1000]


def test_gaps_are_nan_and_times_are_rounded_to_the_grid() -> None:
    times = grid(100, 130, 10)
    matrix = RangeMatrix(
        [b"a", b"b", b"c"],
        [np.array([100.001, 129.999]), np.array([110.0, 140.0, 80.0]), np.array([])],
        [np.array([1.0, 4.0]), np.array([2.0, 9.0, 9.0]), np.array([])],
    )
    expected = np.array([[1, np.nan, np.nan, 4], [np.nan, 2, np.nan, np.nan], [np.nan] * 4]).T
    np.testing.assert_array_equal(on_grid(matrix, times, 10.0), expected)
    assert on_grid(RangeMatrix([], [], []), times, 10.0).shape == (4, 0)
