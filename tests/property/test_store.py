"""Whatever is saved comes back bit by bit, and whatever lies in the file never crashes a load."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from exporter.alerting.alert import Alert, AlertState, AlertTransition, AuditEvent, Step
from exporter.store import Store
from exporter.store.rows import seal
from tests.store_values import open_store

DTYPES = ["bool", *(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)), "f2", "f4", "f8"]
ANY_ARRAY = st.sampled_from(DTYPES).flatmap(
    lambda name: arrays.arrays(
        np.dtype(name),
        arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=6),
    )
)
BYTE_ORDERS = st.sampled_from("<>=")
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
ANY_TEXT = st.text(max_size=20)
TIMES = st.floats(allow_nan=False, allow_infinity=False)


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with tempfile.TemporaryDirectory() as path, open_store(Path(path) / "state") as store:
        yield store


def twisted(array: NDArray[Any], order: str, steps: bool) -> NDArray[Any]:
    """The same values in another memory: byte order, and strides where there is a dimension to walk backwards."""
    turned = array.astype(array.dtype.newbyteorder(order))
    return turned[::-1].T if steps and array.ndim else turned


@settings(max_examples=150, deadline=None)
@given(array=ANY_ARRAY, order=BYTE_ORDERS, steps=st.booleans(), piece=st.integers(1, 64))
def test_an_array_comes_back_bit_by_bit(store: Store, array, order: str, steps: bool, piece: int) -> None:
    given_array = twisted(array, order, steps)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("exporter.store.arrays.PIECE", piece)
        store.learned_arrays.save("q", "v", 1.0, {"a": given_array})
    learned = store.learned_arrays.load("q", "v")
    assert learned is not None
    assert learned.damaged == ()
    found = learned.parts["a"]
    assert (found.dtype, found.shape) == (array.dtype, given_array.shape)
    assert found.tobytes() == given_array.astype(array.dtype).tobytes()
    assert found.flags.writeable
    assert found.dtype.isnative


SQL_VALUE = st.none() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.binary(max_size=40) | TEXT
SHAPE = TEXT | st.lists(st.integers(-2, 2**62) | st.floats() | st.none(), max_size=9).map(lambda shape: str(shape))


@settings(max_examples=150, deadline=None)
@given(
    dtype=st.sampled_from([*DTYPES, "float64", "object", "O", "datetime64", ""]) | SQL_VALUE,
    shape=SHAPE | SQL_VALUE,
    size=SQL_VALUE | st.integers(0, 100),
    pieces=st.lists(st.tuples(SQL_VALUE, SQL_VALUE, SQL_VALUE), max_size=3, unique_by=lambda row: repr(row[0])),
    sealed=st.booleans(),
    row=st.tuples(SQL_VALUE, SQL_VALUE, SQL_VALUE),
)
def test_whatever_lies_in_the_file_does_not_crash_a_load(
    store: Store, dtype, shape, size, pieces, sealed: bool, row
) -> None:
    store.learned_arrays.forget("q")
    store.learned_arrays.save("q", "v", 1.0, {"good": np.arange(3)}, [(1, b"key")])
    head = ("q", "bad", dtype, shape, size)

    def plant(con) -> None:
        # As SQLite will give them back: columns turn values into the type they were declared with.
        con.execute("INSERT OR IGNORE INTO parts VALUES (?, ?, ?, ?, ?, ?)", (*head, 0))
        con.execute("DELETE FROM parts WHERE typeof(crc) != 'integer'")
        for stored in con.execute("SELECT * FROM parts WHERE part='bad'").fetchall():
            con.execute("UPDATE parts SET crc=? WHERE part='bad'", (seal(*stored[:-1]) if sealed else 7,))
        for piece in pieces:
            con.execute("INSERT OR IGNORE INTO pieces VALUES ('q', 'bad', ?, ?, ?)", piece)
        con.execute("INSERT OR IGNORE INTO series VALUES ('q', ?, ?, ?)", row)

    store.learned_arrays.database.write(plant)
    learned = store.learned_arrays.load("q", "v")
    assert learned is not None
    assert learned.parts["good"].tolist() == [0, 1, 2]
    assert learned.series == [(1, b"key")]
    assert set(learned.damaged) <= {"bad", "series"}


ALERT = st.builds(
    Alert,
    fingerprint=st.sampled_from(["f1", "f2", "f3"]),
    query=st.just("q"),
    labels=st.dictionaries(ANY_TEXT, ANY_TEXT, max_size=3),
    annotations=st.dictionaries(ANY_TEXT, ANY_TEXT, max_size=3),
    generator_url=TEXT,
    state=st.sampled_from(AlertState),
    episode=TEXT,
    active_at=TIMES,
    evaluated_at=TIMES,
    fired_at=st.none() | TIMES,
    resolved_at=st.none() | TIMES,
    keep_since=st.none() | TIMES,
    missing=st.integers(0, 10),
)
TRANSITION = st.builds(
    AlertTransition,
    fingerprint=st.sampled_from(["f1", "f2"]),
    query=st.just("q"),
    episode=st.sampled_from(["1", "2"]),
    event=st.sampled_from(AuditEvent),
    at=TIMES,
    why=TEXT,
    who=TEXT,
    details=st.dictionaries(ANY_TEXT, ANY_TEXT, max_size=2),
)


@settings(max_examples=40, deadline=None)
@given(
    steps=st.lists(
        st.tuples(
            st.integers(0, 9),
            st.lists(ALERT, max_size=3, unique_by=lambda alert: alert.fingerprint),
            st.lists(TRANSITION, max_size=4),
        ),
        max_size=8,
    )
)
def test_commits_behave_as_a_dictionary_a_set_and_a_maximum_would(steps) -> None:
    alerts: dict[str, Alert] = {}
    events: dict[tuple[str, str, str], AlertTransition] = {}
    reached = -1.0
    with tempfile.TemporaryDirectory() as path:
        with open_store(Path(path) / "state") as store:
            for slot, found, transitions in steps:
                step = Step({alert.fingerprint: alert for alert in found}, tuple(transitions))
                assert store.alerts.commit("q", slot, step) == (slot > reached)
                if slot > reached:
                    reached, alerts = slot, dict(step.alerts)
                    for each in transitions:
                        events.setdefault((each.fingerprint, each.episode, each.event.value), each)
        with open_store(Path(path) / "state") as store:
            assert store.alerts.load().get("q", {}) == alerts
            assert store.alerts.watermarks().get("q") == (reached if reached >= 0 else None)
            entries = store.audit.page(limit=1000).entries
            assert {(entry.fingerprint, entry.episode, entry.event) for entry in entries} == set(events)
            for entry in entries:
                first = events[entry.fingerprint, entry.episode, entry.event]
                assert (entry.at, entry.why, entry.who, entry.details) == (
                    first.at,
                    first.why,
                    first.who,
                    first.details,
                )
                assert entry.intact
