from __future__ import annotations

import pytest

from exporter.promql.narrow import narrow

LABELS = {"__name__": "up", "job": "web", "instance": 'a:1"\\', "le": "0.5", "odd-name": "x"}
ALL = r'instance="a:1\"\\",job="web",le="0.5"'


@pytest.mark.parametrize(
    ("expr", "narrowed"),
    [
        ("up", f"up{{{ALL}}}"),
        ("up{}", f"up{{{ALL}}}"),
        ('up{a="}{", b!=""}', f'up{{{ALL},a="}}{{", b!=""}}'),
        ('{__name__=~"a|b"}', f'{{{ALL},__name__=~"a|b"}}'),
        ("rate(a:b_total[5m] offset 1m)", r'rate(a:b_total{instance="a:1\"\\",job="web"}[5m] offset 1m)'),
        ("sum by (job) (a) / sum by (job) (b)", 'sum by (job) (a{job="web"}) / sum by (job) (b{job="web"})'),
        ("sum(a) by (job)", 'sum(a{job="web"}) by (job)'),
        ("1 - avg without (le) (a)", r'1 - avg without (le) (a{instance="a:1\"\\",job="web"})'),
        ("histogram_quantile(0.9, sum by (le, job) (rate(h_bucket[5m])))",
         'histogram_quantile(0.9, sum by (le, job) (rate(h_bucket{job="web"}[5m])))'),
        ("a * on (job) group_left (instance) b", 'a{job="web"} * on (job) group_left (instance) b{job="web"}'),
        ("a unless on (job) b", f'a{{{ALL}}} unless on (job) b{{job="web"}}'),
        ("max_over_time(rate(a[5m])[1h:1m])", r'max_over_time(rate(a{instance="a:1\"\\",job="web"}[5m])[1h:1m])'),
        ("topk by (job) (3, a)", 'topk by (job) (3, a{job="web"})'),
        ("a # up\n+ b", f"a{{{ALL}}} # up\n+ b{{{ALL}}}"),
        ("a @ end() > bool 2", f"a{{{ALL}}} @ end() > bool 2"),
        ("scalar(b) * a", f"scalar(b) * a{{{ALL}}}"),
    ],
)  # fmt: skip
def test_labels_go_as_far_down_as_they_may(expr, narrowed):
    assert narrow(expr, LABELS) == narrowed


@pytest.mark.parametrize(
    "expr",
    [
        "sum(a)",
        "topk(3, a)",
        "absent(a)",
        'label_replace(a, "job", "$1", "x", "(.*)")',
        'count_values by (job) ("job", a)',
        "a_function_of_another_server(a)",
        "up{",
        "`raw`",
        "((((" * 60 + "a" + "))))" * 60,
        '{job="a" or job="b"}',
        "",
    ],
)
def test_what_is_not_certain_stays_as_it_is(expr):
    assert narrow(expr, LABELS) == expr


def test_without_labels_nothing_changes():
    assert narrow("up", {"__name__": "up"}) == "up"
