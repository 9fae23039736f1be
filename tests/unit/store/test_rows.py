from __future__ import annotations

import json
import sqlite3
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.store.rows import seal


@pytest.mark.parametrize("value", [0.0, -0.0, 1.0, 1e300, -5e-324, 1760000000.25, None, "", "\x00ä", 7])
def test_a_seal_holds_for_what_sqlite_gives_back(value: object) -> None:
    with sqlite3.connect(":memory:") as con:
        con.execute("CREATE TABLE t (real REAL, any)")
        con.execute("INSERT INTO t VALUES (?, ?)", (value if isinstance(value, float) else None, value))
        (real, back) = con.execute("SELECT * FROM t").fetchone()
    assert seal(value) == seal(back)
    if isinstance(value, float):
        assert seal(value) == seal(real)


def test_seals_of_different_values_differ() -> None:
    assert len({seal(value) for value in (0.0, 1.0, None, "", "0.0")}) == 5


@given(
    st.lists(st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["\ud800", "\x7f"]))
)
def test_seals_are_those_of_every_version(values: list[object]) -> None:
    plain = [value + 0.0 if isinstance(value, float) else value for value in values]
    assert seal(*values) == zlib.crc32(json.dumps(plain).encode())
