"""What waits on disk for a store."""

from __future__ import annotations

from pathlib import Path

from exporter.remote_write.queue import Queue


def taken(queue: Queue) -> list[tuple[bytes, int]]:
    """Take everything out."""
    requests = []
    while (file := queue.wait(0.0)) is not None:
        requests += list(queue.requests(file))
        queue.done(file)
    return requests


def test_requests_come_out_in_order_also_after_a_start(tmp_path: Path) -> None:
    queue = Queue(tmp_path, 10**6)
    queue.put([(b"one", 1), (b"two", 2)], "cpu", 100.0)
    (tmp_path / "000000000009.part").write_bytes(b"of a process that was killed")
    again = Queue(tmp_path, 10**6)
    again.put([(b"three", 3)], "cpu", 200.0)
    assert again.newest("cpu") == 200.0
    assert taken(again) == [(b"one", 1), (b"two", 2), (b"three", 3)]
    assert again.size == 0
    last = Queue(tmp_path, 10**6)
    assert (last.newest("cpu"), last.newest("memory")) == (200.0, float("-inf"))


def test_the_oldest_are_dropped_but_not_what_is_being_sent(tmp_path: Path) -> None:
    queue = Queue(tmp_path, 30)
    queue.put([(b"first", 1)], "cpu", 1.0)
    file = queue.wait(0.0)
    assert file is not None
    for at in (2.0, 3.0, 4.0):
        queue.put([(b"other", 1)], "cpu", at)
    assert queue.dropped == 2
    queue.done(file)
    assert taken(queue) == [(b"other", 1)]


def test_a_queue_that_is_damaged_loses_that_part_alone(tmp_path: Path) -> None:
    queue = Queue(tmp_path, 10**6)
    queue.put([(b"one", 1)], "cpu", 1.0)
    (tmp_path / "newest.json").write_text("[")
    assert taken(Queue(tmp_path, 10**6)) == [(b"one", 1)]
