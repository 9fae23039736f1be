from __future__ import annotations

import numpy as np
import numpy.typing as npt

from exporter.engine.awakening import Awakening

ROWS = slice(0, 1)
DAY, BLOCK = 86400.0, 12
AFTER = DAY
FloatArray = npt.NDArray[np.float64]


class Feed:
    """One series in blocks of twelve five-minute samples."""

    def __init__(self) -> None:
        self.awakening = Awakening()
        self.awakening.grow(1)

    def blocks(self, values: FloatArray, count: int, held: int = 0) -> int | None:
        """Feed a block so many times; return after how many the series has awoken, or None."""
        samples = np.resize(values, BLOCK)[:, None]
        for number in range(count):
            if len(rows := self.awakening.end_block(ROWS, samples, np.array([held]), 300.0, AFTER)):
                self.awakening.forget(rows)
                return number + 1
        return None


STILL, MOVING = np.zeros(1), np.array([3.0, 4.0, 5.0])


def test_what_stood_still_for_a_week_has_awoken_after_half_a_day() -> None:
    feed = Feed()
    assert feed.blocks(STILL, 7 * 24, held=BLOCK) is None
    assert feed.blocks(MOVING, 48) == 12
    assert feed.blocks(MOVING, 48) is None  # Like any series from now on.


def test_what_stood_still_for_half_a_year_has_awoken_after_a_day() -> None:
    feed = Feed()
    feed.blocks(STILL, 183 * 24, held=BLOCK)
    assert feed.blocks(MOVING, 48) == 24


def test_another_constant_is_a_level_shift() -> None:
    feed = Feed()
    feed.blocks(STILL, 7 * 24, held=BLOCK)
    assert feed.blocks(np.array([7.0]), 48, held=BLOCK) is None


def test_what_moves_from_its_first_day_is_an_ordinary_series() -> None:
    feed = Feed()
    feed.blocks(STILL, 20, held=BLOCK)
    assert feed.blocks(MOVING, 200) is None


def test_errors_that_come_now_and_then_are_no_awakening() -> None:
    feed = Feed()
    feed.blocks(STILL, 7 * 24, held=BLOCK)
    for _ in range(10):
        assert feed.blocks(MOVING, 1) is None
        feed.blocks(STILL, 24, held=BLOCK)
    assert feed.blocks(MOVING, 48) is None


def test_a_block_without_samples_changes_nothing() -> None:
    feed = Feed()
    feed.blocks(STILL, 7 * 24, held=BLOCK)
    assert feed.blocks(MOVING, 1) is None
    feed.blocks(np.array([np.nan]), 5)
    assert feed.blocks(MOVING, 20) == 11
