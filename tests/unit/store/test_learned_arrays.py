import json
import sqlite3
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from exporter.store import Store
from exporter.store.rows import seal
from tests.store_values import open_store


@pytest.fixture
def store(tmp_path: Path):
    with open_store(tmp_path / "state") as store:
        yield store


def statement(store: Store, text: str, *values: object) -> None:
    store.learned_arrays.database.write(lambda con: con.execute(text, values))


def test_what_is_saved_comes_back_after_a_restart(tmp_path: Path) -> None:
    mean = np.arange(12, dtype=np.float32).reshape(3, 4)
    with open_store(tmp_path / "state") as store:
        store.learned_arrays.save("q", "v1", 60.0, {"mean": mean}, [(0, b'{"a":"b"}'), (7, b"\xff\x00")])
    with open_store(tmp_path / "state") as store:
        learned = store.learned_arrays.load("q", "v1")
    assert learned is not None
    assert (learned.at, learned.series, learned.damaged) == (60.0, [(0, b'{"a":"b"}'), (7, b"\xff\x00")], ())
    np.testing.assert_array_equal(learned.parts["mean"], mean, strict=True)
    learned.parts["mean"][0, 0] = 9.0


def test_a_checkpoint_rewrites_only_the_parts_that_it_is_given(store: Store) -> None:
    store.learned_arrays.save("q", "v1", 60.0, {"a": np.zeros(3), "b": np.zeros(2)}, [(0, b"x"), (1, b"y"), (2, b"z")])
    store.learned_arrays.save("q", "v1", 120.0, {"b": np.ones(5)}, [(1, b"new"), (3, b"w")], removed=[0, 1, 99])
    learned = store.learned_arrays.load("q", "v1")
    assert learned is not None
    assert learned.at == 120.0
    assert {name: part.tolist() for name, part in learned.parts.items()} == {"a": [0.0] * 3, "b": [1.0] * 5}
    assert learned.series == [(1, b"new"), (2, b"z"), (3, b"w")]
    store.learned_arrays.save("q", "v1", 180.0, {})
    assert store.learned_arrays.load("q", "v1").at == 180.0  # type: ignore[union-attr]


def test_another_version_is_not_loaded_and_replaces_everything_when_saved(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    store.learned_arrays.save("q", "v1", 60.0, {"a": np.zeros(3), "b": np.zeros(2)}, [(0, b"x")])
    assert store.learned_arrays.load("q", "v2") is None
    assert "learned anew" in caplog.text
    assert store.learned_arrays.load("q", "v1") is not None
    store.learned_arrays.save("q", "v2", 120.0, {"b": np.ones(1)})
    assert store.learned_arrays.load("q", "v1") is None
    learned = store.learned_arrays.load("q", "v2")
    assert learned is not None
    assert (set(learned.parts), learned.series, learned.damaged) == ({"b"}, [], ())


def test_queries_are_apart_and_can_be_forgotten(store: Store) -> None:
    store.learned_arrays.save("q", "v", 60.0, {"a": np.zeros(1)}, [(0, b"x")])
    store.learned_arrays.save("q2", "v", 60.0, {"a": np.ones(1)}, [(0, b"y")])
    assert store.learned_arrays.queries() == ["q", "q2"]
    store.learned_arrays.forget("q")
    assert store.learned_arrays.queries() == ["q2"]
    assert store.learned_arrays.load("q", "v") is None
    assert store.learned_arrays.load("q2", "v").series == [(0, b"y")]  # type: ignore[union-attr]


def test_an_array_that_is_larger_than_a_piece_is_split(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exporter.store.arrays.PIECE", 1000)
    array = np.random.default_rng(1).integers(0, 255, 4321, dtype=np.uint8)
    store.learned_arrays.save("q", "v", 60.0, {"a": array})
    count = store.learned_arrays.database.read(
        lambda con: con.execute("SELECT count(*), max(length(data)) FROM pieces")
    )
    assert count is not None
    rows = store.learned_arrays.database.read(
        lambda con: con.execute("SELECT count(*), max(length(data)) FROM pieces").fetchone()
    )
    assert rows == (5, 1000)
    np.testing.assert_array_equal(store.learned_arrays.load("q", "v").parts["a"], array)  # type: ignore[union-attr]
    store.learned_arrays.save("q", "v", 61.0, {"a": array[:10]})
    np.testing.assert_array_equal(store.learned_arrays.load("q", "v").parts["a"], array[:10])  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "array",
    [
        np.array(["text"]),
        np.array([object()]),
        np.array([1 + 2j]),
        np.array(["2026-01-01"], "M8[s]"),
        np.zeros(2, [("a", "f8")]),
        np.zeros((1,) * 9),
        np.zeros(1, np.longdouble),
    ],
    ids=lambda array: f"{array.dtype}-{array.ndim}",
)
def test_types_that_are_not_plain_numbers_are_refused_and_nothing_changes(store: Store, array: np.ndarray) -> None:
    store.learned_arrays.save("q", "v", 60.0, {"a": np.zeros(1)})
    with pytest.raises(ValueError, match="not stored"):
        store.learned_arrays.save("q", "v", 120.0, {"a": np.ones(1), "b": array})
    learned = store.learned_arrays.load("q", "v")
    assert learned is not None
    assert (learned.at, learned.parts["a"].tolist()) == (60.0, [0.0])


def description(dtype: str, shape: object, size: int) -> tuple[object, ...]:
    head = ("q", "a", dtype, shape if isinstance(shape, str) else json.dumps(shape), size)
    return (*head, seal(*head))


@pytest.mark.parametrize(
    ("dtype", "shape", "size"),
    [
        pytest.param("float64", [3], 23, id="a size that does not fit"),
        pytest.param("float64", [4], 32, id="more than is stored"),
        pytest.param("float64", [2], 16, id="less than is stored"),
        pytest.param("object", [3], 24, id="objects"),
        pytest.param("complex128", [3], 24, id="a type not on the list"),
        pytest.param("float64", [-3], 24, id="a negative length"),
        pytest.param("float64", [-1, -3], 24, id="two negative lengths"),
        pytest.param("float64", [3.0], 24, id="a length that is no whole number"),
        pytest.param("float64", [True, 3], 24, id="a length that is a truth value"),
        pytest.param("float64", {"a": 3}, 24, id="no list"),
        pytest.param("float64", "[3", 24, id="no JSON"),
        pytest.param("float64", "[" * 100_000, 24, id="deep JSON"),
        pytest.param("float64", [1] * 9 + [3], 24, id="too many dimensions"),
        pytest.param("float64", [2**39, 2**39], 2**81 % 2**62, id="an overflow"),
        pytest.param("uint8", [10**12], 10**12, id="a terabyte"),
        pytest.param("uint8", [3 * 2**30], 3 * 2**30, id="three gibibytes that are not there"),
        pytest.param("bool", [24], 24, id="truth values that are none"),
    ],
)
def test_a_description_that_lies_is_damage_and_costs_no_memory(
    store: Store, dtype: str, shape: object, size: int
) -> None:
    store.learned_arrays.save("q", "v", 60.0, {"a": np.array([1.5, 2.5, 3.5]), "b": np.ones(2)})
    statement(store, "INSERT OR REPLACE INTO parts VALUES (?, ?, ?, ?, ?, ?)", *description(dtype, shape, size))
    tracemalloc.start()
    learned = store.learned_arrays.load("q", "v")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert learned is not None
    assert (learned.damaged, set(learned.parts)) == (("a",), {"b"})
    assert peak < 20 * 2**20


@pytest.mark.parametrize(
    ("text", "damaged"),
    [
        ("UPDATE pieces SET data = zeroblob(24) WHERE part = 'a'", ("a",)),
        ("UPDATE pieces SET data = 'text of 24 characters ..' WHERE part = 'a'", ("a",)),
        ("UPDATE pieces SET data = x'00' WHERE part = 'a'", ("a",)),
        ("UPDATE pieces SET piece = 1 WHERE part = 'a'", ("a",)),
        ("UPDATE pieces SET crc = crc + 1 WHERE part = 'a'", ("a",)),
        ("DELETE FROM pieces WHERE part = 'a'", ("a",)),
        ("UPDATE parts SET dtype = 'int64' WHERE part = 'a'", ("a",)),
        ("UPDATE parts SET bytes = 'many' WHERE part = 'a'", ("a",)),
        ("UPDATE parts SET shape = x'ff' WHERE part = 'a'", ("a",)),
        ("UPDATE pieces SET part = CASE part WHEN 'a' THEN 'c' ELSE part END", ("a",)),
        ("UPDATE series SET name = x'00' WHERE number = 0", ("series",)),
        ("UPDATE series SET name = 'text' WHERE number = 0", ("series",)),
        ("UPDATE series SET number = 5 WHERE number = 0", ("series",)),
    ],
)
def test_damage_is_left_out_and_the_rest_is_kept(store: Store, text: str, damaged: tuple[str, ...]) -> None:
    store.learned_arrays.save(
        "q", "v", 60.0, {"a": np.array([1.5, 2.5, 3.5]), "b": np.array([4.5, 5.5, 6.5])}, [(0, b"x"), (1, b"y")]
    )
    statement(store, text)
    learned = store.learned_arrays.load("q", "v")
    assert learned is not None
    assert learned.damaged == damaged
    assert set(learned.parts) == {"a", "b"} - set(damaged)
    assert learned.parts["b"].tolist() == [4.5, 5.5, 6.5]
    assert learned.series == ([(1, b"y")] if "series" in damaged else [(0, b"x"), (1, b"y")])


def test_pieces_that_were_exchanged_are_found(store: Store) -> None:
    store.learned_arrays.save("q", "v", 60.0, {"a": np.array([1.5]), "b": np.array([2.5])})
    data = store.learned_arrays.database.read(
        lambda con: con.execute("SELECT crc, data FROM pieces ORDER BY part").fetchall()
    )
    for part, (crc, blob) in zip("ba", data, strict=True):
        statement(store, "UPDATE pieces SET crc=?, data=? WHERE part=?", crc, blob, part)
    assert store.learned_arrays.load("q", "v").damaged == ("a", "b")  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "change",
    ["SET version = version || '1'", "SET at = at + 1", "SET crc = crc + 1", "SET at = 'x'", "SET crc = x'00'"],
)
def test_a_damaged_head_means_that_nothing_is_loaded_and_a_save_begins_anew(store: Store, change: str) -> None:
    store.learned_arrays.save("q", "v", 60.0, {"a": np.ones(1), "b": np.ones(1)})
    statement(store, f"UPDATE learned {change}")
    assert store.learned_arrays.load("q", "v") is None
    store.learned_arrays.save("q", "v", 120.0, {"b": np.ones(1)})
    assert set(store.learned_arrays.load("q", "v").parts) == {"b"}  # type: ignore[union-attr]


def test_a_pickle_in_place_of_an_array_is_only_bytes(store: Store, tmp_path: Path) -> None:
    # What pickle.loads would run: a call of os.mkdir.
    trap = tmp_path / "trap"
    blob = b"cos\nmkdir\n(V" + str(trap).encode() + b"\ntR."
    store.learned_arrays.save("q", "v", 60.0, {"a": np.frombuffer(blob, np.uint8)})
    assert store.learned_arrays.load("q", "v").parts["a"].tobytes() == blob  # type: ignore[union-attr]
    assert not trap.exists()


def test_the_space_of_what_is_forgotten_goes_back_to_the_disk(store: Store) -> None:
    store.learned_arrays.save("q", "v", 60.0, {"a": np.ones(10**6)})
    store.checkpoint()
    before = store.size_bytes()
    store.learned_arrays.forget("q")
    store.checkpoint()
    assert store.size_bytes() < before / 10


def test_the_database_is_ordinary_sqlite(tmp_path: Path) -> None:
    with open_store(tmp_path / "state") as store:
        store.learned_arrays.save("q", "v", 60.0, {"a": np.array([1, 2], dtype=">i4")})
    con = sqlite3.connect(tmp_path / "state" / "learned.db")
    assert con.execute("SELECT dtype, shape, bytes FROM parts").fetchall() == [("int32", "[2]", 8)]
    assert con.execute("SELECT data FROM pieces").fetchone()[0] == b"\x01\x00\x00\x00\x02\x00\x00\x00"
    con.close()


def test_only_pieces_that_changed_are_written(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exporter.store.arrays.PIECE", 1000)
    a, b = np.arange(2000, dtype=np.uint8), np.zeros(10)
    store.learned_arrays.save("q", "v", 1.0, {"a": a, "b": b})
    store.learned_arrays.save("other", "v", 1.0, {"a": a, "b": b})
    database = store.learned_arrays.database
    written = "INSERT INTO noted VALUES (new.query, new.part, new.piece)"

    def note(con: sqlite3.Connection) -> None:
        con.execute("CREATE TABLE noted (query, part, piece)")
        for event in ("INSERT", "UPDATE"):
            con.execute(f"CREATE TRIGGER on_{event} AFTER {event} ON pieces BEGIN {written}; END")

    database.write(note)
    a[1500] = 7
    store.learned_arrays.save("q", "v", 2.0, {"a": a, "b": b})
    assert database.read(lambda con: con.execute("SELECT * FROM noted").fetchall()) == [("q", "a", 1)]
    loaded = store.learned_arrays.load("q", "v")
    assert loaded.at == 2.0
    np.testing.assert_array_equal(loaded.parts["a"], a)
    np.testing.assert_array_equal(loaded.parts["b"], b)


@pytest.mark.parametrize("change", ["forgotten", "another version", "another shape", "after a failure"])
def test_all_is_written_where_what_is_stored_may_be_other(store: Store, change: str) -> None:
    a = np.arange(20.0)
    store.learned_arrays.save("q", "v", 1.0, {"a": a})
    version = "v"
    if change == "forgotten":
        store.learned_arrays.forget("q")
    elif change == "another version":
        version = "w"
    elif change == "another shape":
        a = a.reshape(2, 10)
    else:
        with pytest.raises(ValueError, match="not stored"):
            store.learned_arrays.save("q", "v", 2.0, {"a": a + 1.0, "b": np.array(["text"])})
    store.learned_arrays.save("q", version, 3.0, {"a": a})
    np.testing.assert_array_equal(store.learned_arrays.load("q", version).parts["a"], a)
