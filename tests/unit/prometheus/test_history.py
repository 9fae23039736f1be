"""How a long range becomes bounded questions, and answers one grid."""

from __future__ import annotations

import numpy as np
import pytest

from exporter.errors import PrometheusError, Reason
from exporter.prometheus.decode import RangeMatrix
from exporter.prometheus.history import MAX_POINTS, chunks, grid, on_grid

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
        return RangeMatrix(keys, [times] * self.series, [times] * self.series, 0), ()


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


@pytest.mark.parametrize(
    "error",
    [
        PrometheusError("u", Reason.TOO_LARGE, "the answer is larger than 5 bytes"),
        PrometheusError("u", Reason.EXECUTION, TOO_MUCH),
        PrometheusError("u", Reason.BAD_DATA, "exceeded maximum resolution of 11,000 points per timeseries. Try ..."),
        PrometheusError("u", Reason.EXECUTION, "... cannot exceed -search.maxPointsPerTimeseries=30000"),
    ],
    ids=lambda error: error.message[:30],
)
def test_too_much_at_once_is_asked_for_in_halves(error: PrometheusError) -> None:
    server = Server(1.0, most=700, error=error)
    found = list(chunks(server, grid(0, 2999, 1.0), 1.0, 1))
    assert sum(len(block.times) for block in found) == 3000
    # Halved until it fits, and not tried larger again.
    assert server.asked == [3000, 1500, 750, 375, *[375] * 7]


def test_other_errors_and_a_single_point_that_is_too_much_are_raised() -> None:
    with pytest.raises(PrometheusError, match="parse error"):
        list(
            chunks(Server(1.0, most=0, error=PrometheusError("u", Reason.BAD_DATA, "parse error")), grid(0, 9, 1), 1, 1)
        )
    server = Server(1.0, most=0)
    with pytest.raises(PrometheusError, match="too many samples"):
        list(chunks(server, grid(0, 9, 1.0), 1.0, 1))
    assert server.asked == [10, 5, 2, 1]


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
        0,
    )
    expected = np.array([[1, np.nan, np.nan, 4], [np.nan, 2, np.nan, np.nan], [np.nan] * 4]).T
    np.testing.assert_array_equal(on_grid(matrix, times, 10.0), expected)
    assert on_grid(RangeMatrix([], [], [], 0), times, 10.0).shape == (4, 0)
