from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.promql.lint import Remark, examine


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
    "expr",
    [
        pytest.param("nosuch(x)", id="unknown function"),
        pytest.param("round(x, 1, 2)", id="number of arguments"),
        pytest.param("rate(x[5m]) default 0", id="MetricsQL operator"),
        pytest.param("rate(x[5m * 2])", id="arithmetic in a duration"),
    ],
)
def test_what_only_some_servers_know_is_left_to_the_server(expr: str) -> None:
    (remark,) = examine(expr)
    assert not remark.fatal
    assert remark.message.endswith("if your server knows it, this is fine")


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


@pytest.mark.parametrize(
    ("expr", "message"),
    [
        pytest.param("x offset inf", "1:10: a duration cannot be inf", id="infinite"),
        pytest.param("x offset -1e400", "1:11: a duration cannot be 1e400", id="too large for a float"),
        pytest.param("x[1e400]", "1:3: a duration cannot be 1e400", id="endless range"),
        pytest.param("x offset 9223372036854775808", "1:10: a duration cannot be 9223372036854775808", id="too large"),
    ],
)
def test_what_the_parser_cannot_stand_is_kept_from_it(expr: str, message: str) -> None:
    assert examine(expr) == (Remark(message, fatal=True),)


WORDS = "sum by x y_total rate 5m 1h: [5m] {a='b'} and offset on bool topk 1e400 inf `b\\d` start() é 0x 1..2 99y -5m"
PIECES = st.sampled_from([*"()[]{},+-*/%^@= ", "#\n", *WORDS.split()])


@given(expr=st.lists(PIECES, max_size=12).map(" ".join) | st.lists(PIECES, max_size=12).map("".join) | st.text())
def test_any_text_can_be_examined(expr: str) -> None:
    for remark in examine(expr):
        line, column, message = remark.message.split(":", 2)
        assert int(line) >= 1
        assert int(column) >= 1
        assert message


def test_positions_count_lines_and_columns_inside_the_expression() -> None:
    assert examine("sum(\n  up down)") == (Remark("2:6: unexpected 'down'; an operator is missing before it", True),)
