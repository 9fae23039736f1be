from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.promql.lint import examine


@pytest.mark.parametrize(
    "expr",
    [
        "up",
        "1 - avg by (instance) (rate(node_cpu_seconds_total{mode='idle'}[5m]))",
        "histogram_quantile(0.99, sum by (le) (rate(request_duration_seconds_bucket[5m])))",
        "sum(rate(a[5m])) by (b) / on (b) group_left (c) sum(d) by (b, c)",
        "a or on (x) b unless ignoring (y) c",
        "max_over_time(sum(rate(requests_total[5m]))[1h:1m] offset 1d)",
        "count(requests_total)",
        "absent(requests_total)",
        "up and requests_total",
        "-x ^ 2 % 3 == bool 1e-3",
        'up{job=~"a|b", path=~`\\d+`} # a comment with (',
        "up @ start()",
        "time() - process_start_time_seconds",
        "1",
        "x + inf > -1e400",
        '{"a.metric"}',
        "mad_over_time(x[5m])",
    ],
)
def test_nothing_is_said_about_a_good_expression(expr: str) -> None:
    assert examine(expr) == ()


@pytest.mark.parametrize(
    ("expr", "place"),
    [
        pytest.param("nosuch(x)", "1:1: unknown function", id="unknown function"),
        pytest.param("rate(x[5m]) + nosuch(x)", "1:15: unknown function", id="unknown function, later"),
        pytest.param("round(x, 1, 2)", "1:1: expected at most 2", id="number of arguments"),
        pytest.param("rate(x[5m]) default 0", "1:13: unexpected 'default'", id="MetricsQL operator"),
        pytest.param("sum(\n  rate(x[5m])\n    limit 5)", "3:5: unexpected 'limit'", id="in the third line"),
        pytest.param("sum(x) limit 5", "1:8: unexpected 'limit'", id="limit"),
        pytest.param("rate(x[5m]) keep_metric_names", "1:13: unexpected 'keep_metric_names'", id="modifier"),
        pytest.param("with (a = x) a", "1:9: unexpected '='", id="WITH"),
        pytest.param("rate(x)", "1:1: expected a range vector", id="no window"),
        pytest.param("rate(x[5m]) + rate(y)", "1:15: expected a range vector", id="the second has no window"),
        pytest.param("sum(x[5m])", "1:1: expected an instant vector", id="a window where none is wanted"),
        pytest.param("rate(x[5m * 2])", "1:11: unexpected '*'", id="arithmetic in a duration"),
        pytest.param("x offset (1h / 2)", "1:10: unexpected '('", id="an expression as offset"),
        pytest.param("x offset step()", "1:10: unexpected 'step'", id="a function as offset"),
        pytest.param("rate(x[1i])", "1:8: 1i is not a number or duration", id="steps as duration"),
        pytest.param("rate(x[5x])", "1:8: 5x is not a number or duration", id="unit"),
        pytest.param("x > 10Ki", "1:5: 10Ki is not a number", id="suffix"),
        pytest.param("1_000 * x", "1:1: 1_000 is not a number", id="underscore"),
        pytest.param("0b11 * x", "1:1: 0b11 is not a number", id="binary"),
        pytest.param("x >/ 5", "1:4: unexpected '/'", id="operator of two signs"),
        pytest.param("x ~ 5", "1:3: unexpected '~'", id="operator of another sign"),
        pytest.param("(x, y)", "1:3: unexpected ','", id="union"),
        pytest.param("größe", "1:3: unexpected 'ö'", id="letters"),
        pytest.param("x{a=`\\d`} default 0", "1:11: unexpected 'default'", id="after a raw string"),
        pytest.param("rate(x[$__interval])", "1:8: unexpected '$'; variables", id="variable"),
        pytest.param("x{a=b}", "1:5: a label matcher wants a string", id="matcher without quotes"),
        pytest.param("up down", "1:4: unexpected 'down'; an operator is missing", id="no operator"),
        pytest.param("up + * 2", "1:6: unexpected '*'; a value is missing", id="two operators"),
        pytest.param('x{a=~"("}', "1:6: illegal regex", id="regular expression"),
        pytest.param('x{a="b\nc"}', "1:5: ", id="a string of two lines"),
        pytest.param("{}", "1:1: vector selector", id="every series"),
        pytest.param("x offset inf", "1:10: a duration cannot be inf", id="infinite"),
        pytest.param("x offset -1e400", "1:11: a duration cannot be 1e400", id="too large for a float"),
        pytest.param("x[1e400]", "1:3: a duration cannot be 1e400", id="endless range"),
        pytest.param("x offset 9223372036854775808", "1:10: a duration cannot be", id="too large"),
    ],
)
def test_what_only_some_servers_know_is_left_to_the_server(expr: str, place: str) -> None:
    (remark,) = examine(expr)
    assert not remark.fatal
    assert remark.message.startswith(place)
    assert remark.message.endswith("if your server knows it, this is fine")


@pytest.mark.parametrize(
    ("expr", "message"),
    [
        pytest.param("", "1:1: the expression is empty", id="empty"),
        pytest.param("# a comment", "1:1: the expression is empty", id="a comment"),
        pytest.param("rate(x[5m]", "1:5: '(' is not closed", id="open"),
        pytest.param("x[5m)", "1:5: unexpected ')'; '[' is still open", id="another bracket"),
        pytest.param('x{a="b}', "1:5: the string that starts here does not end", id="string"),
        pytest.param("x /", "1:3: the expression ends after '/'", id="no end"),
        pytest.param("x and", "1:3: the expression ends after 'and'", id="no end after a word"),
        pytest.param("* x", "1:1: unexpected '*'; a value is missing before it", id="no beginning"),
        pytest.param("x{a=“b”}", "1:5: unexpected '“'; PromQL wants straight quotes", id="quotes of a text"),
        pytest.param("x[5m]", "1:1: a range vector has many values a series", id="range vector"),
        pytest.param("'x'", "1:1: the expression is a string", id="text"),
    ],
)
def test_what_no_server_can_read_is_an_error(expr: str, message: str) -> None:
    (remark,) = examine(expr)
    assert remark.fatal
    assert remark.message.startswith(message)


@pytest.mark.parametrize(
    "expr",
    [
        pytest.param("(" * 50_000 + "x" + ")" * 50_000, id="more parentheses"),
        pytest.param("(" * 5000 + "x" + ")" * 5000, id="parentheses"),
        pytest.param("-" * 5000 + "x", id="signs"),
        pytest.param("+".join(["x"] * 5000), id="sum"),
        pytest.param("abs(" * 3000 + "x" + ")" * 3000, id="calls"),
    ],
)
def test_an_endless_expression_does_not_end_the_process(expr: str) -> None:
    assert examine(expr) == ()
    (remark,) = examine(expr + ")")
    assert remark.message.endswith("unexpected ')'; nothing is open")


WORDS = "sum by x y_total rate 5m 1h: [5m] {a='b'} and offset on bool topk 1e400 inf `b\\d` start() é 0x 1..2 99y -5m"
PIECES = st.sampled_from([*"()[]{},+-*/%^@= ", "#\n", *WORDS.split()])


@given(expr=st.lists(PIECES, max_size=12).map(" ".join) | st.lists(PIECES, max_size=12).map("".join) | st.text())
def test_any_text_can_be_examined(expr: str) -> None:
    for remark in examine(expr):
        line, column, message = remark.message.split(":", 2)
        assert int(line) >= 1
        assert int(column) >= 1
        assert message
