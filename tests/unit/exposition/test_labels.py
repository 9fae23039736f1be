from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from exporter.exposition.labels import RowLabels, exposed_labels, row_prefix

QUERY = [("query", "cpu")]
GROUP = [("group", "payment")]

names = st.one_of(
    st.sampled_from(["query", "exported_query", "exported_exported_query", "group", "a.b", "a_b", "a-b", "le", "__x"]),
    st.text(min_size=1, max_size=6),
)
values = st.one_of(
    st.text(max_size=8), st.sampled_from(["", "\r", "\0", '"', "\\", "\n", "\\n", "\ud800", "}", "\x85", "a,b=c"])
)
label_sets = st.dictionaries(names, values, max_size=6).map(lambda d: sorted(d.items()))


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
        pytest.param([("9lives", "x")], QUERY, {"_9lives": "x"}, id="a name does not start with a digit"),
        pytest.param(
            [("_.name__", "x"), ("__meta", "y")],
            QUERY,
            {"exported___name__": "x", "exported___meta": "y"},
            id="reserved names are not made",
        ),
        pytest.param([("a", ""), ("b", "x")], QUERY, {"b": "x"}, id="an empty label is absent"),
        pytest.param([("instance", "h1"), ("job", "")], QUERY, {"instance": "h1"}, id="no target takes its place"),
        pytest.param([("a.b", "x"), ("job", "j")], GROUP, {"a_b": "x", "job": "j"}, id="for entities of groups too"),
        pytest.param([("a", "x\r\0\x85y\tz")], QUERY, {"a": "x���y\tz"}, id="control characters are replaced"),
        pytest.param([("a", "\udcff")], QUERY, {"a": "�"}, id="a lone surrogate is replaced"),
        pytest.param(
            [("le", "0.5"), ("quantile", "1")], QUERY, {"le": "0.5", "quantile": "1"}, id="le and quantile are ordinary"
        ),
    ],
)
def test_labels_are_exposed(labels, own, expected):
    assert exposed_labels(labels, own) == (*own, *sorted({"instance": "", "job": "", **expected}.items()))


@given(label_sets)
def test_no_two_exposed_names_are_equal_and_all_are_valid(labels):
    exposed = exposed_labels(labels, QUERY)
    found = [name for name, _ in exposed]
    added = sum((name, "") in exposed for name in ("instance", "job"))
    assert {"instance", "job"} <= set(found)
    assert len(set(found)) == len(found) == len([v for n, v in labels if v and n != "__name__"]) + 1 + added
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


@given(label_sets)
def test_a_claimed_prefix_is_the_written_exposed_labels(labels):
    assert RowLabels(QUERY).claim(labels) == row_prefix(exposed_labels(labels, QUERY))


@given(st.lists(label_sets, max_size=12))
def test_no_prefix_is_given_out_twice(sets):
    rows = RowLabels(QUERY)
    given_out = [prefix for labels in sets if (prefix := rows.claim(labels)) is not None]
    assert len(set(given_out)) == len(given_out)
    assert set(given_out) == {row_prefix(exposed_labels(labels, QUERY)) for labels in sets}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param([("__name__", "a"), ("x", "1")], [("__name__", "b"), ("x", "1")], id="the names of the metrics"),
        pytest.param([("x", "\0")], [("x", "\1")], id="characters that were replaced"),
        pytest.param([("x.y", "1")], [("x_y", "1")], id="names that were sanitised"),
        pytest.param([("x", "1"), ("y", "")], [("x", "1")], id="an empty label"),
    ],
)
def test_the_second_series_of_equal_rows_is_told_so_until_the_first_is_gone(first, second):
    rows = RowLabels(QUERY)
    prefix = rows.claim(first)
    assert prefix is not None
    assert rows.claim(second) is None
    rows.release([prefix])
    assert rows.claim(second) == prefix


def test_the_name_of_the_query_is_made_harmless_too():
    assert RowLabels([("query", 'a"\r')]).claim([]) == 'query="a\\"�",instance="",job=""'.encode()
