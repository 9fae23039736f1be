"""Many label sets at once are matched as one by one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.calendar import LabelColumns, all_match, parse_matcher
from exporter.calendar.matchers import Regexp

NAMES = ("a", "b", "c")
VALUES = ("", "x", "xy", "y", "z.z")
TEXTS = [f'{name}{operator}"{value}"' for name in NAMES for operator in ("=", "!=") for value in VALUES] + [
    f'{name}{operator}"{pattern}"'
    for name in NAMES
    for operator in ("=~", "!~")
    for pattern in ("x|y", "x.*", "xy?", ".*y", "", "|x", "z[.]z", r"z\\.z", "(x|y)", "x+|y", "(?i)X")
]
label_sets = st.lists(
    st.none()
    | st.dictionaries(st.sampled_from(NAMES), st.sampled_from(VALUES[1:])).map(lambda d: tuple(sorted(d.items()))),
    max_size=12,
)


def columns() -> LabelColumns:
    return LabelColumns(lambda part, name: dict(part).get(name, ""), lambda name: frozenset({name}))


@given(st.lists(label_sets, max_size=4), st.lists(st.sampled_from(TEXTS), min_size=1, max_size=3))
def test_rows_are_those_that_match_one_by_one_however_they_came(tables: list[list[object]], texts: list[str]) -> None:
    matchers = tuple(parse_matcher(text) for text in texts)
    found = columns()
    for table in tables:
        found.read(len(table), [(row, labels) for row, labels in enumerate(table) if labels is not None])
        expected = [row for row, labels in enumerate(table) if labels is not None and all_match(matchers, dict(labels))]
        assert sorted(found.rows(matchers).tolist()) == expected
        assert sorted(found.rows(matchers).tolist()) == expected


@pytest.mark.parametrize(
    ("pattern", "literals", "prefix"),
    [
        ("api", ("api",), "api"),
        ("api|web", ("api", "web"), ""),
        (r"a\.b|c", ("a.b", "c"), ""),
        ("", ("",), ""),
        ("a|", ("a", ""), ""),
        ("api.*", None, "api"),
        ("api?", None, "ap"),
        ("ap{0,2}", None, "a"),
        ("api+", None, "api"),
        (r"host\d", None, "host"),
        ("api.*|web", None, ""),
        ("(?i)api", None, ""),
        ("(api|web)-.*", None, ""),
    ],
)
def test_what_is_plain_in_a_pattern(pattern: str, literals: tuple[str, ...] | None, prefix: str) -> None:
    regexp = Regexp(pattern)
    assert (regexp.literals, regexp.prefix) == (literals, prefix)


def test_values_that_come_and_go_leave_nothing_behind() -> None:
    found = columns()
    matchers = (parse_matcher('a=~"v1.*"'),)
    for turn in range(300):
        found.read(20, [(row, (("a", f"v{turn * 20 + row}"),)) for row in range(20)])
        found.rows(matchers)
    assert len(found._columns["a"]._values) < 1200


def test_what_is_told_apart() -> None:
    found = LabelColumns(lambda part, name: dict(part).get(name, "cpu"), lambda name: frozenset({name}))
    found.read(1, [(0, (("a", "x"),))])
    assert not found.distinguish((parse_matcher('query="cpu"'),))
    assert found.distinguish((parse_matcher('query="cpu"'), parse_matcher("a=x")))
