from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from exporter.engine.series import SeriesTable, key_of
from exporter.exposition.labels import PageRows, page_labels, row_prefix

QUERY = ("query", "cpu")
GROUP = ("group", "payment")

names = st.one_of(
    st.sampled_from(["query", "exported_query", "exported_exported_query", "group", "a.b", "a_b", "a-b", "le", "__x"]),
    st.text(min_size=1, max_size=6),
)
values = st.one_of(
    st.text(max_size=8), st.sampled_from(["", "\r", "\0", '"', "\\", "\n", "\\n", "\ud800", "}", "\x85", "a,b=c"])
)
label_sets = st.dictionaries(names, values, max_size=6).map(lambda d: sorted(d.items()))


def exposed_labels(labels, own, **how):
    """Without the empty labels of a series that has no instance or job."""
    return tuple(pair for pair in page_labels(labels, *own, **how) if pair[1])


@pytest.mark.parametrize(
    ("labels", "own", "expected"),
    [
        pytest.param([("__name__", "up"), ("job", "x")], QUERY, {"job": "x"}, id="the name of the metric is dropped"),
        pytest.param([("query", "x")], QUERY, {"exported_query": "x"}, id="a clash is moved away"),
        pytest.param(
            [("exported_query", "y"), ("query", "x")],
            QUERY,
            {"exported_exported_query": "x", "exported_query": "y"},
            id="as often as it takes",
        ),
        pytest.param(
            [("group", "x"), ("query", "y")], GROUP, {"exported_group": "x", "query": "y"}, id="a group adds group"
        ),
        pytest.param([("group", "x")], QUERY, {"group": "x"}, id="a query does not add group"),
        pytest.param([("a.b", "x")], QUERY, {"a_b": "x"}, id="a UTF-8 name is sanitised"),
        pytest.param(
            [("a.b", "x"), ("a_b", "y")], QUERY, {"a_b": "y", "exported_a_b": "x"}, id="but never over another"
        ),
        pytest.param([("9lives", "x")], QUERY, {"_lives": "x"}, id="a name does not start with a digit"),
        pytest.param(
            [("_.name__", "x"), ("__meta", "y")],
            QUERY,
            {"exported___name__": "x", "exported___meta": "y"},
            id="reserved names are not made",
        ),
        pytest.param([("a", ""), ("b", "x")], QUERY, {"b": "x"}, id="an empty label is absent"),
        pytest.param([("a", "x\r\0\x85y\tz")], QUERY, {"a": "x���y\tz"}, id="control characters are replaced"),
        pytest.param([("a", "\udcff")], QUERY, {"a": "�"}, id="a lone surrogate is replaced"),
        pytest.param(
            [("le", "0.5"), ("quantile", "1")],
            QUERY,
            {"exported_le": "0.5", "exported_quantile": "1"},
            id="le and quantile are for histograms and summaries",
        ),
    ],
)
def test_labels_are_exposed(labels, own, expected):
    assert exposed_labels(labels, own) == (own, *sorted(expected.items()))


@given(label_sets)
def test_no_two_exposed_names_are_equal_and_all_are_valid(labels):
    exposed = page_labels([(n, v) for n, v in labels if n not in ("instance", "job")], *QUERY)
    exposed = [(name, value) for name, value in exposed if value]
    found = [name for name, _ in exposed]
    assert len(set(found)) == len(found) == len([v for n, v in labels if v and n != "__name__"]) + 1
    assert exposed[0] == ("query", "cpu")
    for name in found:
        assert name.isascii()
        assert name.isidentifier()
        assert not name.startswith("__")


@given(label_sets)
def test_a_row_reads_back_as_the_exposed_labels(labels):
    exposed = exposed_labels(labels, QUERY)
    row = f"anomaly_score{{{row_prefix(exposed).decode()}}} 1.0\n"
    for text, parse in ((row, parse_text), ("# TYPE anomaly_score gauge\n" + row + "# EOF\n", parse_openmetrics)):
        [family] = parse(text)
        [sample] = family.samples
        assert (sample.name, sample.value) == ("anomaly_score", 1.0)
        assert sample.labels == dict(exposed)


@given(st.text(alphabet=st.characters(exclude_categories=["Cc", "Cs"]), min_size=1))
def test_an_ordinary_value_reads_back_unchanged(value):
    row = f"m{{{row_prefix(exposed_labels([('a', value)], QUERY)).decode()}}} 1.0\n"
    [family] = parse_text(row)
    assert family.samples[0].labels["a"] == value


def table_of(*series):
    table = SeriesTable(100)
    table.find([key_of(tuple(labels)) for labels in series])
    return table


def rows_of(table):
    rows = PageRows(*QUERY)
    return rows, rows.claim(range(table.size), table)


def test_a_series_without_instance_or_job_gets_none_from_prometheus():
    assert page_labels([("pod", "a")], *QUERY) == (QUERY, ("instance", ""), ("job", ""), ("pod", "a"))
    assert page_labels([("instance", "x"), ("job", "y")], *GROUP) == (GROUP, ("instance", "x"), ("job", "y"))


def test_reason_is_the_label_of_suppressed_series_and_of_no_other():
    assert exposed_labels([("reason", "OOM")], QUERY) == (QUERY, ("exported_reason", "OOM"))


def test_a_value_that_is_cut_ends_with_a_hash_of_all_of_it():
    one, other = (dict(exposed_labels([("path", "é" * 2000 + end)], QUERY))["path"] for end in "ab")
    assert one != other
    assert len(one.encode()) <= 2048
    assert one[:1000] == "é" * 1000


@given(st.lists(label_sets, max_size=12))
def test_no_label_set_is_on_the_page_twice(sets):
    table = table_of(
        *({name: value for name, value in labels if "\ud800" not in name + value}.items() for labels in sets)
    )
    rows, shared = rows_of(table)
    shown = [prefix for prefix in rows.prefixes(np.zeros(table.size)) if prefix]
    assert len(set(shown)) == len(shown) == table.size - shared


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param([("x", "\0")], [("x", "\1")], id="characters that were replaced"),
        pytest.param([("x.y", "1")], [("x_y", "1")], id="names that were sanitised"),
    ],
)
def test_of_equal_rows_that_with_the_higher_score_is_shown(first, second):
    table = table_of(first, second, [("x", "other")])
    rows, shared = rows_of(table)
    assert (shared, rows.shared) == (1, 1)
    one, none, other = rows.prefixes(np.array([0.4, 0.1, 0.9]))
    assert none == b""
    assert rows.prefixes(np.array([np.nan, 0.1, np.nan])) == (b"", one, other)
    assert rows.prefixes(np.array([np.nan, 0.2, np.nan])) is rows.prefixes(np.array([0.1, 0.3, 0.0]))
    rows.release([])
    assert rows.prefixes(np.array([np.nan, 0.2, np.nan])) is rows.prefixes(np.array([0.1, 0.3, 0.0]))
    rows.release([0])
    assert rows.shared == 0
    assert rows.prefixes(np.array([np.nan, 0.1, 0.1])) == (b"", one, other)
    rows.release([1])
    assert rows.claim([0], table) == 0


def test_metrics_that_differ_in_their_name_only_have_it_as_a_label():
    metrics = [[("__name__", name), ("instance", "a"), ("job", "n")] for name in ("read", "write")]
    rows, shared = rows_of(table_of(*metrics, [("__name__", "read"), ("instance", "b"), ("job", "n")]))
    assert (shared, rows.with_metric) == (0, True)
    texts = [prefix.decode() for prefix in rows.prefixes(np.zeros(3))]
    assert texts[1] == 'query="cpu",instance="a",job="n",metric="write"'
    assert texts[2] == 'query="cpu",instance="b",job="n",metric="read"'


def test_one_metric_has_no_label_for_its_name():
    rows, _ = rows_of(table_of([("__name__", "read"), ("instance", "a")], [("__name__", "read"), ("instance", "b")]))
    assert not rows.with_metric


def test_the_name_of_the_query_is_made_harmless_too():
    assert row_prefix(exposed_labels([], ("query", 'a"\r'))) == 'query="a\\"\ufffd"'.encode()
