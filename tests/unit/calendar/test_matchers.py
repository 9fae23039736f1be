"""Matchers mean what they mean in Alertmanager, and no pattern takes long."""

from __future__ import annotations

import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.calendar.matchers import MatcherError, Regexp, RegexpError, all_match, parse_matcher


@pytest.mark.parametrize(
    ("text", "name", "operator", "value"),
    [
        ('query="cpu"', "query", "=", "cpu"),
        (' query = "cpu" ', "query", "=", "cpu"),
        ("query=cpu", "query", "=", "cpu"),
        ("query!=cpu usage", "query", "!=", "cpu usage"),
        ('job=~"api|web"', "job", "=~", "api|web"),
        ('job!~"api.*"', "job", "!~", "api.*"),
        (r'path="C:\\temp \"x\"\n"', "path", "=", 'C:\\temp "x"\n'),
        (r'path=~"a\.b\d"', "path", "=~", r"a\.b\d"),
        ('zone=""', "zone", "=", ""),
        ("zone=", "zone", "=", ""),
        ('"service.name"="shop"', "service.name", "=", "shop"),
    ],
)
def test_a_matcher_is_read(text: str, name: str, operator: str, value: str) -> None:
    found = parse_matcher(text)
    assert (found.name, found.operator, found.value) == (name, operator, value)
    assert parse_matcher(str(found)) == found


@pytest.mark.parametrize(
    "text",
    [
        *("", "cpu", "=cpu", '""="x"', 'job=="api"', "job==api", 'job="api', 'job="a"b"', "1job=a", "{job=api}"),
        *("a=b,c=d", 'job=~"("', 'job=~"a{1000}{1000}"', "a" * 5000, 'job=~"(?=x)"', r'job=~"(a)\\1"'),
    ],
)
def test_what_is_not_a_matcher_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(MatcherError) as refused:
        parse_matcher(text)
    assert 10 < len(str(refused.value)) < 200


@pytest.mark.parametrize(
    ("pattern", "matches", "differs"),
    [
        ("api", ["api"], ["apis", "xapi", ""]),
        ("api|web", ["api", "web"], ["apiweb", "apix", "xweb"]),
        ("", [""], ["x"]),
        (".*", ["", "abc"], ["a\nb"]),
        ("(?s).*", ["a\nb"], []),
        ("(?i)api", ["API"], ["APIS"]),
        (r"node-\d+", ["node-1"], ["node-\u0663", "node-"]),
        (r"\w+", ["a_1"], ["gr\u00f6\u00dfe"]),
        (r"[\w.]+", ["a.b"], ["\u00f6"]),
        (r"[^\W]+", ["abc"], ["a-b", "\u00f6"]),
        ("[[]x]", ["[x]"], []),
        ("[]a]+", ["]a]"], ["b"]),
        ("[^]a]+", ["bcd"], ["]"]),
        ("[a&&b]+", ["a&b"], ["c"]),
        ("[a~~b]+", ["~ab"], ["c"]),
        ("[[:alpha:]]+", ["abc"], ["1"]),
        ("a{2}", ["aa"], ["a{2}"]),
        ("a{", ["a{"], ["a"]),
        ("{x}", ["{x}"], []),
        (r"\Qa.b\E.", ["a.bc"], ["axbc"]),
        (r"\Qa.b", ["a.b"], ["axb"]),
        (r"x\z", ["x"], ["xx"]),
        ("^api$", ["api"], ["api\n"]),
        ("api", [], ["api\n"]),
        (r"a\bb|a\b-b", ["a-b"], ["ab"]),
        (r"\pL+", ["\u00f6"], ["1"]),
        ("(?P<name>a)b", ["ab"], []),
        (r"a\x{2d}b", ["a-b"], ["ab"]),
        ("a|ab", ["ab"], ["abb"]),
    ],
)
def test_a_pattern_means_what_re2_means(pattern: str, matches: list[str], differs: list[str]) -> None:
    regexp = Regexp(pattern)
    assert [text for text in matches if not regexp.matches(text)] == []
    assert [text for text in differs if regexp.matches(text)] == []


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("a**", "bad repetition operator: **"),
        ("(?R)", "invalid perl operator: (?R"),
        ("[a--b]", "invalid character class range: a--"),
        ("a)|(b", "unexpected ): a)|(b"),
        ("gr\u00f6\u00dfe(", "missing ): gr\u00f6\u00dfe("),
        ("\ud800", "it is not valid Unicode"),
    ],
)
def test_what_re2_refuses_is_refused_in_its_words(pattern: str, reason: str) -> None:
    with pytest.raises(RegexpError, match=re.escape(f"not a regular expression: {reason}")):
        Regexp(pattern)


@given(st.from_regex(r"\A([abc.]|[abc][*+?]|\[[abc]+\]|\(([abc]|b\|c)\)[*+?]?){0,8}\Z"), st.text("abc", max_size=8))
def test_simple_patterns_mean_what_they_mean_in_python(pattern: str, text: str) -> None:
    assert Regexp(pattern).matches(text) is (re.fullmatch(pattern, text) is not None)


@given(st.text(max_size=30))
def test_any_text_is_a_pattern_or_refused(pattern: str) -> None:
    with suppress(RegexpError):
        Regexp(pattern).matches("x")


def test_a_pattern_that_takes_python_for_ever_is_quick() -> None:
    # Python's engine would need longer than the universe has; the test's own time limit is the assertion.
    assert not Regexp("((a+)+)+b").matches("a" * 2000)


def test_a_broken_text_matches_nothing() -> None:
    assert not Regexp(".*").matches("\ud800")


@pytest.mark.parametrize(
    ("matchers", "expected"),
    [
        (['a="1"', 'b="2"'], True),
        (['a="1"', 'b!="2"'], False),
        (['c=""'], True),
        (['c!=""'], False),
        (['c!~".+"'], True),
        (['a=~"[0-9]"', 'c!="x"'], True),
    ],
)
def test_a_label_that_is_not_there_is_empty(matchers: list[str], expected: bool) -> None:
    parsed = [parse_matcher(text) for text in matchers]
    assert all_match(parsed, {"a": "1", "b": "2"}) is expected
