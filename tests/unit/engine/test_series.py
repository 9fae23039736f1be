from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.engine.series import SeriesTable, key_of, labels_of

labels = st.dictionaries(st.text(max_size=8), st.text(min_size=1, max_size=8), max_size=4)


def test_rows_are_kept_for_a_label_set() -> None:
    table = SeriesTable(10)
    rows, admitted = table.find([b'{"a":"1"}', b'{"a":"2"}'])
    assert rows.tolist() == [0, 1]
    assert admitted == [0, 1]
    rows, admitted = table.find([b'{"a":"2"}', b'{"a":"3"}', b'{"a":"1"}'])
    assert rows.tolist() == [1, 2, 0]
    assert admitted == [2]


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (b'{"a":"1","b":"2"}', b'{"b":"2","a":"1"}'),
        (b'{"a":"1"}', b'{ "a": "1" }'),
        (b'{"a":"\\u00e4"}', '{"a":"ä"}'.encode()),
        (b'{"a":"1","b":""}', b'{"a":"1"}'),
    ],
    ids=["order", "space", "escape", "empty"],
)
def test_two_spellings_of_a_label_set_are_one_series(one: bytes, two: bytes) -> None:
    table = SeriesTable(10)
    assert table.find([one, two])[0].tolist() == [0, 0]
    assert len(table) == 1


def test_new_series_are_refused_when_full_and_known_ones_stay() -> None:
    table = SeriesTable(2)
    table.find([b'{"a":"1"}', b'{"a":"2"}'])
    rows, admitted = table.find([b'{"a":"3"}', b'{"a":"2"}'])
    assert rows.tolist() == [-1, 1]
    assert admitted == []


def test_rows_of_forgotten_series_are_used_again() -> None:
    table = SeriesTable(10)
    table.find([b'{"a":"%d"}' % i for i in range(4)])
    table.release(np.array([2, 0]))
    assert len(table) == 2
    rows, admitted = table.find([b'{"a":"8"}', b'{"a":"9"}', b'{"a":"2"}', b'{"a":"1"}'])
    assert rows.tolist() == [0, 2, 4, 1]
    assert admitted == [0, 2, 4]
    assert table.size == 5


def test_spellings_do_not_fill_the_memory() -> None:
    table = SeriesTable(10)
    for i in range(5000):
        table.find([b'{"a":"1"' + b" " * i + b"}"])
    assert len(table._row_of_key) <= 2 * 1024


@given(st.lists(labels, max_size=20))
def test_a_restored_table_finds_the_same_rows(sets: list[dict[str, str]]) -> None:
    keys = [key_of(tuple(sorted(one.items()))) for one in sets]
    table = SeriesTable(1000)
    rows, _ = table.find(keys)
    table.release(np.unique(rows[::3]))
    again = SeriesTable(1000)
    again.restore([(row, key_of(labels)) for row, labels in table.items()], table.size)
    assert again.items() == table.items()
    assert again.find(keys)[0].tolist() == table.find(keys)[0].tolist()


@given(labels)
def test_keys_and_labels_are_inverse(one: dict[str, str]) -> None:
    assert dict(labels_of(key_of(tuple(sorted(one.items()))))) == one


def test_a_list_of_label_sets_that_is_looked_up_again_has_the_rows_of_now() -> None:
    table, keys = SeriesTable(3), [b'{"a":"1"}', b'{"a":"2"}', b'{"a":"3"}']
    assert table.rows(keys).tolist() == [-1, -1, -1]
    table.find(keys[:2])
    assert table.rows(keys).tolist() == [0, 1, -1]
    assert table.find(keys)[0].tolist() == [0, 1, 2]
    table.rows(keys)[0] = 7
    assert table.rows(keys).tolist() == [0, 1, 2]
    table.release(np.array([0]))
    assert table.rows(keys).tolist() == [-1, 1, 2]
    table.find([b'{"a":"4"}'])
    assert table.find(keys)[0].tolist() == [-1, 1, 2]
