"""Verdicts that are kept: what is read is what was decided, whatever happened in between."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from exporter.engine.verdict import Verdict
from exporter.store.verdict_files import ChunkHeader
from exporter.store.verdict_log import VerdictLog

HEADER = ChunkHeader("cpu", "settings", 2, 60.0, ("zscore", "stl"))
DAY = 86400.0


def series(*names: str) -> list:
    return [(("instance", name),) for name in names]


def verdict(at: float, score: list[float], observed: list[float] | None = None) -> Verdict:
    """Scores of some series; the other numbers follow from them."""
    numbers = np.array(score)
    size, no = len(numbers), np.zeros(len(numbers), np.bool_)
    value = numbers * 10 if observed is None else np.array(observed)
    severity = -np.log2(1.0 - np.minimum(numbers, 0.999))
    each = np.stack([severity, np.full(size, np.nan)])
    votes = (each >= 1.0).sum(axis=0).astype(float)
    nan = np.full(size, np.nan)
    return Verdict(at, value, numbers, value - 1, value - 2, nan, votes, nan, each, ~no, no, nan, no, no)


@pytest.fixture
def verdict_log(tmp_path: Path):
    one = VerdictLog(tmp_path / "verdicts")
    one.configure(retention=14 * DAY, most_bytes=1e9)
    yield one
    one.close()


def add(one: VerdictLog, names: list, at: float, score: list[float], header: ChunkHeader = HEADER, **more) -> None:
    one.add(header, names, verdict(at, score, **more), np.zeros(len(score), np.int8))


def test_every_slot_is_read_back_also_those_of_sealed_files(verdict_log: VerdictLog) -> None:
    names = series(*(f"host{number}" for number in range(130)))
    rng = np.random.default_rng(1)
    scores = rng.uniform(size=(500, 130))
    for slot, score in enumerate(scores):
        add(verdict_log, names, slot * 60.0, score.tolist())
    verdict_log.flush()
    for row in (0, 63, 64, 129):
        kept = verdict_log.read("cpu", names[row], 0.0, 1e9)
        assert kept.times.tolist() == [slot * 60.0 for slot in range(500)]
        np.testing.assert_allclose(kept.lines["score"], scores[:, row], atol=2e-5)
        np.testing.assert_allclose(kept.lines["observed"], scores[:, row] * 10, rtol=1e-6)
        np.testing.assert_allclose(kept.lines["lower"], scores[:, row] * 10 - 2, rtol=1e-6, atol=1e-6)
        assert np.isnan(kept.lines["upper"]).all()
        assert np.isnan(kept.severities["stl"]).all()
        # No rounding moves anything over a threshold.
        assert ((kept.lines["score"] >= 0.5) == (scores[:, row] >= 0.5)).all()
        assert ((kept.severities["zscore"] >= 1.0) == (scores[:, row] >= 0.5)).all()


def test_the_newest_slots_of_all_series_are_read_at_once(verdict_log: VerdictLog) -> None:
    names = series(*(f"host{number}" for number in range(70)))
    scores = np.random.default_rng(1).uniform(size=(300, 70)) * 0.9
    for slot, score in enumerate(scores):
        add(verdict_log, names, slot * 5.0, score.tolist())
    verdict_log.flush()
    rows = [names[69], None, series("new")[0], names[3]]
    times, observed, _, score = verdict_log.read_rows("cpu", rows, 1490.0, spacing=10.0, most=100)
    assert times.tolist() == [10.0 * slot for slot in range(49, 149)]  # Of the sealed file and the journal.
    chosen = scores[np.intp(times / 5.0)]
    np.testing.assert_allclose(score[:, [0, 3]], chosen[:, [69, 3]], atol=2e-5)
    np.testing.assert_allclose(observed[:, [0, 3]], chosen[:, [69, 3]] * 10, rtol=1e-6)
    assert np.isnan(score[:, [1, 2]]).all()
    assert verdict_log.read_rows("other", rows, 1490.0, spacing=10.0, most=100) is None


@pytest.mark.parametrize("score", [0.5, np.nextafter(0.5, 0.0), 0.49999])
def test_a_score_stays_on_its_side_of_the_threshold(verdict_log: VerdictLog, score: float) -> None:
    add(verdict_log, series("a"), 60.0, [score])
    verdict_log.flush()
    kept = verdict_log.read("cpu", series("a")[0], 0.0, 100.0)
    assert (kept.lines["score"][0] >= 0.5) == (score >= 0.5)


def test_a_value_beyond_single_precision_is_infinite(verdict_log: VerdictLog) -> None:
    # Warnings are errors in tests.
    add(verdict_log, series("a"), 1.0, [0.5], observed=[1e308])
    verdict_log.flush()
    assert np.isinf(verdict_log.read("cpu", series("a")[0], 0.0, 9.0).lines["observed"]).all()


def test_a_row_that_another_series_took_over_is_not_mixed_with_it(verdict_log: VerdictLog) -> None:
    add(verdict_log, series("a", "b"), 60.0, [0.1, 0.2])
    add(verdict_log, [series("c")[0], series("b")[0]], 120.0, [0.9, 0.3])
    add(verdict_log, [None, series("b")[0], series("a")[0]], 180.0, [np.nan, 0.4, 0.5])
    verdict_log.flush()
    a, b, c = (verdict_log.read("cpu", labels, 0.0, 1e9) for labels in series("a", "b", "c"))
    assert a.lines["score"][[0, 2]] == pytest.approx([0.1, 0.5], abs=1e-4)
    assert np.isnan(a.lines["score"][1])
    assert b.lines["score"] == pytest.approx([0.2, 0.3, 0.4], abs=1e-4)
    assert c.times.tolist() == [120.0, 180.0]
    assert c.lines["score"][0] == pytest.approx(0.9, abs=1e-4)


def test_a_restart_and_a_torn_record_lose_at_most_the_newest_slot(tmp_path: Path) -> None:
    before = VerdictLog(tmp_path / "verdicts")
    before.configure(retention=14 * DAY, most_bytes=1e9)
    for slot in range(5):
        add(before, series("a"), slot * 60.0, [0.1 * slot])
    before.close()
    (journal,) = (tmp_path / "verdicts").glob("*/*.journal")
    content = journal.read_bytes()
    journal.write_bytes(content[:-3])
    after = VerdictLog(tmp_path / "verdicts")
    assert after.read("cpu", series("a")[0], 0.0, 1e9).times.tolist() == [0.0, 60.0, 120.0, 180.0]
    after.configure(retention=14 * DAY, most_bytes=1e9)
    add(after, series("a"), 300.0, [0.7])
    after.flush()
    assert after.read("cpu", series("a")[0], 0.0, 1e9).times.tolist() == [0.0, 60.0, 120.0, 180.0, 300.0]
    after.close()


def test_other_settings_begin_another_file_and_both_are_read(verdict_log: VerdictLog) -> None:
    add(verdict_log, series("a"), 60.0, [0.1])
    other = ChunkHeader("cpu", "other", 1, 60.0, ("iqr",))
    one = verdict(120.0, [0.6])
    verdict_log.add(other, series("a"), Verdict(*(getattr(one, name) if name != "each" else one.each[:1] for name in one.__slots__)), np.zeros(1, np.int8))  # fmt: skip # noqa: E501
    verdict_log.flush()
    kept = verdict_log.read("cpu", series("a")[0], 0.0, 1e9)
    assert kept.quorum.tolist() == [2.0, 1.0]
    assert kept.severities.keys() == {"zscore", "stl", "iqr"}
    assert np.isnan(kept.severities["iqr"]).tolist() == [True, False]


def test_the_oldest_give_way_where_the_disk_would_be_too_full(tmp_path: Path) -> None:
    one = VerdictLog(tmp_path / "verdicts")
    one.configure(retention=14 * DAY, most_bytes=60_000)
    names = series(*(f"host{number}" for number in range(20)))
    rng = np.random.default_rng(1)
    for slot in range(2000):
        add(one, names, slot * 60.0, rng.uniform(size=20).tolist(), observed=rng.normal(size=20).tolist())
    one.flush()
    kept = one.read("cpu", names[0], 0.0, 1e9)
    assert one.size_bytes() <= 60_000 * 1.5
    assert kept.times[-1] == 1999 * 60.0
    assert kept.times[0] > 0.0
    one.close()


def test_what_is_older_than_the_retention_is_removed(tmp_path: Path) -> None:
    one = VerdictLog(tmp_path / "verdicts")
    one.configure(retention=DAY, most_bytes=1e9)
    for slot in range(4 * 240 * 3):
        add(one, series("a"), slot * 60.0, [0.1])
    one.flush()
    kept = one.read("cpu", series("a")[0], 0.0, 1e9)
    assert len(kept) >= DAY / 60.0
    assert kept.times[-1] - kept.times[0] <= DAY + 2 * 240 * 60.0
    one.close()


def test_a_size_of_zero_keeps_none(tmp_path: Path) -> None:
    one = VerdictLog(tmp_path / "verdicts")
    one.configure(retention=DAY, most_bytes=0)
    add(one, series("a"), 60.0, [0.1])
    one.flush()
    assert one.read("cpu", series("a")[0], 0.0, 1e9) is None
    one.close()


def test_slots_on_a_disk_that_refuses_are_counted(tmp_path: Path) -> None:
    dropped: list[str] = []
    one = VerdictLog(tmp_path / "verdicts", dropped.append)
    one.configure(retention=DAY, most_bytes=1e9)
    one.flush()
    one._home("cpu").write_text("a file where the directory should be")
    add(one, series("a"), 60.0, [0.1])
    one.flush()
    assert dropped == ["cpu"]
    one._home("cpu").unlink()
    add(one, series("a"), 120.0, [0.1])
    one.flush()
    assert one.read("cpu", series("a")[0], 0.0, 1e9).times.tolist() == [120.0]
    one.close()
