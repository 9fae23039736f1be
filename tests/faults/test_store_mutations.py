"""Damaged files: the store always starts, and never says anything that was not written."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from exporter.alerting.alert import AlertState
from exporter.store import Store
from tests.store_values import a_step, a_transition, an_alert, chance, open_store

PAGE = 4096
ARRAY = np.random.default_rng(5).integers(0, 256, 300_000, dtype=np.uint8)
ALERTS = {f"f{number}": an_alert(f"f{number}", labels={"n": str(number) * 50}) for number in range(100)}

Change = Callable[[Path, random.Random], None]


def rewrite(file: Path, change: Callable[[bytearray], bytearray | bytes]) -> None:
    file.write_bytes(change(bytearray(file.read_bytes())))


def truncated(file: Path, luck: random.Random) -> None:
    rewrite(file, lambda data: data[: luck.randrange(1, len(data))])


def page_of_zeros(file: Path, luck: random.Random) -> None:
    at = luck.randrange(file.stat().st_size // PAGE) * PAGE
    rewrite(file, lambda data: data[:at] + bytes(PAGE) + data[at + PAGE :])


def bad_header(file: Path, luck: random.Random) -> None:
    rewrite(file, lambda data: luck.randbytes(100) + data[100:])


def flipped_header_bit(file: Path, luck: random.Random) -> None:
    flip(file, luck.randrange(100), luck)


def flipped_bits(file: Path, luck: random.Random) -> None:
    for _ in range(8):
        flip(file, luck.randrange(file.stat().st_size), luck)


def page_of_noise(file: Path, luck: random.Random) -> None:
    at = luck.randrange(file.stat().st_size // PAGE) * PAGE
    rewrite(file, lambda data: data[:at] + luck.randbytes(PAGE) + data[at + PAGE :])


def text_file(file: Path, luck: random.Random) -> None:
    file.write_text("this is not a database\n" * luck.randrange(1, 1000))


def empty_file(file: Path, luck: random.Random) -> None:
    file.write_bytes(b"")


def no_log(file: Path, luck: random.Random) -> None:
    beside(file, "-wal").unlink()


def only_the_log(file: Path, luck: random.Random) -> None:
    file.unlink()


def damaged_log(file: Path, luck: random.Random) -> None:
    log = beside(file, "-wal")
    luck.choice([truncated, page_of_zeros, page_of_noise, flipped_bits, bad_header, text_file])(log, luck)


def log_of_another_database(file: Path, luck: random.Random) -> None:
    other = file.with_name("learned.db" if file.name == "anomaly.db" else "anomaly.db")
    shutil.copy(beside(other, "-wal"), beside(file, "-wal"))


def schema_that_is_no_text(file: Path, luck: random.Random) -> None:
    name = luck.choice([b"schema_version", b"CREATE TABLE", b"PRIMARY KEY", b"NOT NULL"])
    rewrite(file, lambda data: data.replace(name, b"\xff" + name[1:], 1))


def flip(file: Path, at: int, luck: random.Random) -> None:
    with file.open("r+b") as stream:
        stream.seek(at)
        byte = stream.read(1)[0]
        stream.seek(at)
        stream.write(bytes([byte ^ 1 << luck.randrange(8)]))


def beside(file: Path, suffix: str) -> Path:
    return file.with_name(file.name + suffix)


def fill(store: Store) -> None:
    store.alerts.commit("q", 30.0, a_step(*ALERTS.values(), transitions=tuple(map(a_transition, ALERTS))))
    store.learned_arrays.save(
        "q", "v", 30.0, {"a": ARRAY[:200_000], "b": ARRAY}, [(n, b"key %d" % n) for n in range(50)]
    )
    store.checkpoint()
    # And something that is in the log only.
    store.deliveries.record("one", [(name, f"{name}-1", AlertState.FIRING) for name in ALERTS], 61.0)
    store.alerts.commit("q", 60.0, a_step(*ALERTS.values()))
    store.learned_arrays.save("q", "v", 60.0, {"a": ARRAY})


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state as a kill leaves it: databases with their write-ahead logs."""
    live, copy = tmp_path_factory.mktemp("live") / "state", tmp_path_factory.mktemp("copy") / "state"
    with open_store(live) as store:
        fill(store)
        shutil.copytree(live, copy)
    return copy


def check_nothing_is_invented(store: Store) -> None:
    for name, alert in store.alerts.load().get("q", {}).items():
        assert alert == ALERTS[name]
    assert store.alerts.watermarks().get("q") in {None, 30.0, 60.0}
    for delivery in store.deliveries.load("one").values():
        assert delivery.at == 61.0
    for entry in store.audit.page(limit=1000).entries:
        assert not entry.intact or entry.why == "too high"
    learned = store.learned_arrays.load("q", "v")
    if learned is not None:
        assert learned.at in {30.0, 60.0}
        for name, part in learned.parts.items():
            assert part.tobytes() in {ARRAY.tobytes(), ARRAY[:200_000].tobytes()}, name
        assert set(learned.series) <= {(n, b"key %d" % n) for n in range(50)}


MUTATIONS: list[Change] = [
    truncated, page_of_zeros, page_of_noise, bad_header, flipped_header_bit, flipped_bits, text_file, empty_file,
    no_log, only_the_log, damaged_log, log_of_another_database,
    schema_that_is_no_text,
]  # fmt: skip
ALWAYS_NOTICED = {bad_header, text_file, empty_file, only_the_log}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("change", MUTATIONS, ids=lambda change: change.__name__)
def test_a_damaged_store_starts_and_says_nothing_that_was_not_written(
    sound: Path, tmp_path: Path, change: Change, seed: int
) -> None:
    path = tmp_path / "state"
    shutil.copytree(sound, path)
    luck = chance(f"{change.__name__} {seed}")
    file = path / ("anomaly.db" if seed % 2 else "learned.db")
    change(file, luck)
    with open_store(path) as store:
        assert change not in ALWAYS_NOTICED or [found.file for found in store.recovered] == [file]
        check_nothing_is_invented(store)
        # And it is of use again.
        assert store.alerts.commit("q", 120.0, a_step(an_alert("new"), transitions=(a_transition("new"),)))
        store.deliveries.record("one", [("new", "new-1", AlertState.FIRING)], 121.0)
        store.learned_arrays.save("q", "v", 120.0, {"a": ARRAY, "b": ARRAY}, [(0, b"key 0")])
    with open_store(path) as store:
        assert store.recovered == ()
        assert store.damaged == ()
        assert store.alerts.load() == {"q": {"new": an_alert("new")}}
        assert set(store.deliveries.load("one")) == {"new"}
        assert store.alerts.watermarks().get("q") == 120.0
        learned = store.learned_arrays.load("q", "v")
        assert learned is not None
        assert set(learned.parts) == {"a", "b"}


def test_a_state_as_a_kill_leaves_it_is_complete(sound: Path, tmp_path: Path) -> None:
    shutil.copytree(sound, tmp_path / "state")
    with open_store(tmp_path / "state") as store:
        assert store.recovered == ()
        assert store.alerts.load() == {"q": ALERTS}
        assert len(store.deliveries.load("one")) == 100
        assert store.learned_arrays.load("q", "v").parts["a"].size == 300_000  # type: ignore[union-attr]


def test_nothing_of_a_damaged_file_is_deleted(sound: Path, tmp_path: Path) -> None:
    path = tmp_path / "state"
    shutil.copytree(sound, path)
    file = path / "anomaly.db"
    bad_header(file, chance(1))
    before = {suffix: beside(file, suffix).read_bytes() for suffix in ("", "-wal")}
    with open_store(path) as store:
        (recovery,) = store.recovered
    assert {suffix: beside(recovery.moved_to, suffix).read_bytes() for suffix in before} == before


@pytest.mark.parametrize("seed", range(60))
def test_a_flipped_bit_in_a_live_blob_is_always_found(sound: Path, tmp_path: Path, seed: int) -> None:
    path = tmp_path / "state"
    shutil.copytree(sound, path)
    with open_store(path):
        # The close moves the logs into the files, so that the bytes below are those that are read.
        pass
    luck = chance(seed)
    file = path / "learned.db"
    data, at = file.read_bytes(), -1
    while at < 0:
        # Sixteen bytes that lie in one page stand in the file once for each part; the first one is hit.
        start = luck.randrange(ARRAY.size - 16)
        at = data.find(ARRAY[start : start + 16].tobytes())
    flip(file, at + luck.randrange(16), luck)
    with open_store(path) as store:
        assert store.recovered == ()
        learned = store.learned_arrays.load("q", "v")
    assert learned is not None
    assert len(learned.damaged) == 1
    (other,) = {"a", "b"} - set(learned.damaged)
    assert learned.parts[other].tobytes() == ARRAY.tobytes()
    assert len(learned.series) == 50
