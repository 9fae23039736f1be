from __future__ import annotations

import gzip
import math
import shutil
import subprocess
import threading
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from prometheus_client import CollectorRegistry, Counter, disable_created_metrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from exporter.exposition import Exposition, SelfMetrics, page_labels, row_prefix
from exporter.exposition.families import FAMILIES
from exporter.exposition.fragment import Fragment, join_checksums, render_rows

PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
TEXT, TEXT_1 = "text/plain;version=0.0.4", "text/plain;version=1.0.0"
NAN, INF = math.nan, math.inf


@pytest.fixture
def registry():
    registry = CollectorRegistry()
    disable_created_metrics()
    Counter("anomaly_exporter_cycles", "Cycles started.", ["query"], registry=registry).labels("cpu").inc(7)
    return registry


@pytest.fixture
def exposition(registry):
    return Exposition(registry, refresh=0.0, plain=0)


def make_rows(query, *values, **labels):
    """Rows whose score is as given and whose other columns differ from it and from each other."""
    prefixes = [
        row_prefix(page_labels([("instance", f"host-{i}:9100"), *sorted(labels.items())], "query", query))
        for i in range(len(values))
    ]
    score = np.array(values, dtype=float)
    columns = (score, score * 10, score * 5, score * 20, score * 11, np.floor(score * 2))
    return prefixes, dict(zip(FAMILIES, columns, strict=False))


def body_of(exposition, accept="", encoding=""):
    scrape = exposition.scrape(accept, encoding)
    body = b"".join(scrape.body)
    assert len(body) == scrape.length
    return body


@pytest.fixture
def filled(exposition):
    exposition.publish("requests", *make_rows("requests", 0.25, path='C:\\ "x"\n'))
    young = np.array([0, 1, 0, 0, 0, 2], np.int8)
    exposition.publish("cpu", *make_rows("cpu", 0.5, NAN, INF, -INF, 1e-7, 123456789012345680.0), young)
    prefix = row_prefix(page_labels([("group", "x"), ("pod", "a")], "group", "payment"))
    exposition.publish_group("payment", [prefix], np.array([0.75]), np.array([1.5]))
    return exposition


@pytest.mark.parametrize(
    ("file", "accept"),
    [("page.txt", TEXT), ("page.openmetrics.txt", PROMETHEUS_2), ("page.txt", TEXT_1)],
    ids=["text 0.0.4", "OpenMetrics", "text 1.0.0"],
)
def test_the_page_is_as_it_was(filled, golden, file, accept):
    golden(file, body_of(filled, accept))


@pytest.mark.parametrize("accept", [TEXT, TEXT_1, PROMETHEUS_2], ids=["text 0.0.4", "text 1.0.0", "OpenMetrics"])
def test_gzip_says_the_same(filled, accept, tmp_path):
    packed = body_of(filled, accept, "gzip")
    assert gzip.decompress(packed) == body_of(filled, accept)
    one = zlib.decompressobj(zlib.MAX_WBITS | 16)
    one.decompress(packed)
    assert one.eof
    assert one.unused_data == b"", "more than one member"
    done = subprocess.run(["gzip", "-dc"], input=packed, capture_output=True, check=True)
    assert done.stdout == body_of(filled, accept)


def test_a_small_page_is_not_compressed(registry):
    exposition = Exposition(registry, plain=10_000)
    exposition.publish("cpu", *make_rows("cpu", 0.5))
    assert exposition.scrape("", "gzip").content_encoding is None
    assert body_of(exposition, "", "gzip") == body_of(exposition)
    exposition.publish("requests", *make_rows("requests", *[0.5] * 40))
    assert exposition.page().size > 10_000
    assert exposition.scrape("", "gzip").content_encoding == "gzip"
    assert gzip.decompress(body_of(exposition, "", "gzip")) == body_of(exposition)


def test_openmetrics_ends_with_eof_once(filled):
    body = body_of(filled, PROMETHEUS_2)
    assert body.endswith(b"\n# EOF\n")
    assert body.count(b"# EOF") == 1
    assert b"# EOF" not in body_of(filled, TEXT)


def test_every_family_has_its_head_once_and_its_rows_together(filled):
    text = body_of(filled).decode()
    shown = [metric for metric in FAMILIES if not metric.startswith(("forecast_", "anomaly_canary_"))]
    for metric in shown:
        assert text.count(f"# TYPE {metric} gauge\n") == text.count(f"# HELP {metric} ") == 1
    names = [line.split("{")[0] for line in text.splitlines() if not line.startswith("#")]
    runs = [name for i, name in enumerate(names) if i == 0 or names[i - 1] != name]
    assert len(runs) == len(set(runs))
    assert runs[: len(shown)] == shown


def test_nothing_published_leaves_only_the_self_metrics(exposition, registry):
    text = body_of(exposition).decode()
    assert not any(metric in text for metric in FAMILIES)
    assert "anomaly_exporter_cycles_total" in text
    assert gzip.decompress(body_of(exposition, "", "gzip")).decode() == text


def test_a_withdrawn_query_vanishes_and_the_others_stay(filled):
    filled.withdraw("cpu")
    filled.withdraw("cpu")
    filled.withdraw_group("payment")
    text = body_of(filled).decode()
    assert 'anomaly_score{query="cpu"' not in text
    assert "anomaly_group_score" not in text
    assert 'anomaly_score{query="requests"' in text


def test_a_query_and_a_group_may_have_the_same_name(exposition):
    exposition.publish("a", *make_rows("a", 0.5))
    exposition.publish_group("a", [b'group="a"'], np.array([0.5]), np.array([NAN]))
    exposition.withdraw("a")
    assert b'anomaly_group_score{group="a"} 0.5\n' in body_of(exposition)


def test_a_later_cycle_replaces_the_rows(exposition):
    exposition.publish("cpu", *make_rows("cpu", 0.1, 0.2))
    exposition.publish("cpu", *make_rows("cpu", 0.3))
    assert [line for line in body_of(exposition).decode().splitlines() if line.startswith("anomaly_score{")] == [
        'anomaly_score{query="cpu",instance="host-0:9100",job=""} 0.3'
    ]


@given(arrays(np.float64, st.integers(0, 40)))
def test_values_read_back_bit_for_bit_and_nan_is_absent(values):
    column = render_rows("anomaly_score", [b'i="%d"' % i for i in range(len(values))], values)
    text = b""
    for fragment in column.fragments:
        piece = b"".join(fragment.text())
        packed = fragment.packed()
        assert b"".join(fragment.text(chunk=7)) == piece
        assert (len(piece), zlib.crc32(piece)) == (fragment.size, packed.crc)
        text += piece
    found = {int(s.labels["i"]): s.value for family in parse_text(text.decode()) for s in family.samples}
    expected = {i: value for i, value in enumerate(values.tolist()) if not math.isnan(value)}
    assert found == expected


def test_many_rows_are_rendered_in_batches_without_a_seam():
    values = np.arange(40_000, dtype=float)
    values[16_384:32_768] = NAN
    lines = written(render_rows("m", [b'i="%d"' % i for i in range(len(values))], values)).decode().splitlines()
    assert lines == [f'm{{i="{i}"}} {float(i)!r}' for i in range(40_000) if not 16_384 <= i < 32_768]


def written(column):
    return b"".join(piece for fragment in column.fragments for piece in fragment.text())


def test_a_row_without_a_place_is_left_out():
    assert (
        written(render_rows("m", [b'a="1"', b"", b'a="2"'], np.array([1.0, 2.0, 3.0])))
        == b'm{a="1"} 1.0\nm{a="2"} 3.0\n'
    )


ROW = st.tuples(st.sampled_from([0.0, -0.0, 1.5, NAN, INF]), st.sampled_from(["", "x", "y"]))


@given(st.lists(st.lists(ROW, max_size=6), max_size=5), st.booleans())
def test_what_is_not_rendered_again_says_the_same(cycles, as_one):
    before = None
    for cycle in cycles:
        values = np.array([value for value, _ in cycle])
        prefixes = [f'i="{i}",a="{label}"'.encode() if label else b"" for i, (_, label) in enumerate(cycle)]
        before = render_rows("m", tuple(prefixes) if as_one else prefixes, values, before)
        assert written(before) == written(render_rows("m", prefixes, values))


def test_only_the_rows_around_a_change_are_rendered_again():
    prefixes = tuple(b'i="%d"' % i for i in range(10_000))
    values = np.arange(10_000.0)
    before = render_rows("m", prefixes, values)
    changed = values.copy()
    changed[5_000] = NAN
    after = render_rows("m", prefixes, changed, before)
    assert [new is old for new, old in zip(after.fragments, before.fragments, strict=True)].count(False) == 1
    assert written(after) == written(render_rows("m", prefixes, changed))


def test_reasons_are_rendered_again_where_one_of_them_or_a_series_is_another(exposition):
    prefixes, columns = make_rows("cpu", 0.1, 0.2, 0.3)
    once = tuple(prefixes)
    codes = np.array([0, 1, 0], np.int8)

    def shown(rows, codes):
        exposition.publish("cpu", rows, columns, codes)
        fragments = exposition.page().fragments
        lines = [line for line in body_of(exposition).splitlines() if line.startswith(b"anomaly_suppressed{")]
        return fragments, [line.split(b"host-")[1][:1] for line in lines]

    first, lines = shown(once, codes)
    again, _ = shown(once, codes.copy())
    assert lines == [b"1"]
    assert [new is old for new, old in zip(again, first, strict=True)] == [True] * len(first)
    assert shown(once, np.array([2, 0, 1], np.int8))[1] == [b"0", b"2"]
    assert shown((once[0], b"", once[2]), np.array([2, 1, 0], np.int8))[1] == [b"0"]


def test_labels_and_values_must_be_as_many():
    with pytest.raises(ValueError, match="2 rows of labels for 1 values"):
        render_rows("m", [b'a="1"', b'a="2"'], np.zeros(1))


@given(st.lists(st.binary(max_size=300), max_size=6))
def test_a_checksum_is_joined_without_the_text(texts):
    crc = 0
    for text in texts:
        crc = join_checksums(crc, Fragment(text).packed())
    assert crc == zlib.crc32(b"".join(texts))


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.lists(st.floats(width=32), max_size=4), st.booleans()), max_size=6),
)
def test_any_sequence_of_publications_gives_a_page_both_parsers_accept(steps):
    exposition = Exposition(CollectorRegistry(), plain=0)
    expected: dict[str, int] = {}
    for query, values, stays in steps:
        if stays:
            exposition.publish(query, *make_rows(query, *values))
            expected[query] = sum(not math.isnan(value) for value in values)
        else:
            exposition.withdraw(query)
            expected.pop(query, None)
    for accept, parse in ((TEXT, parse_text), (PROMETHEUS_2, parse_openmetrics)):
        text = gzip.decompress(body_of(exposition, accept, "gzip")).decode()
        assert text == body_of(exposition, accept).decode()
        samples = [sample for family in parse(text) for sample in family.samples]
        found = [sample.labels["query"] for sample in samples if sample.name == "anomaly_score"]
        assert {query: found.count(query) for query in expected} == expected
        assert len({(s.name, *sorted(s.labels.items())) for s in samples}) == len(samples)


def test_a_scrape_during_publications_is_never_a_mixture():
    exposition = Exposition(CollectorRegistry(), plain=0)
    exposition.publish("cpu", *make_rows("cpu", *[0.0] * 200))
    stop = threading.Event()

    def publish():
        cycle = 0
        while not stop.is_set():
            cycle += 1
            exposition.publish("cpu", *make_rows("cpu", *[float(cycle)] * 200))

    publisher = threading.Thread(target=publish)
    publisher.start()
    try:
        for _ in range(100):
            text = gzip.decompress(body_of(exposition, "", "gzip")).decode()
            scores = {line.split()[-1] for line in text.splitlines() if line.startswith("anomaly_score{")}
            assert len(scores) == 1
            [score] = scores
            assert f"{float(score) * 10!r}\n# HELP expected_value_lower" in text
    finally:
        stop.set()
        publisher.join()


def test_self_metrics_are_rendered_once_within_the_refresh_and_then_anew(registry):
    now = [100.0]
    exposition = Exposition(registry, refresh=1.0, monotonic=lambda: now[0])
    counter = Counter("anomaly_exporter_asked", "Asked.", registry=registry)
    assert b"anomaly_exporter_asked_total 0.0" in body_of(exposition)
    counter.inc()
    now[0] += 0.9
    assert b"anomaly_exporter_asked_total 0.0" in body_of(exposition)
    assert b"anomaly_exporter_asked_total 1.0" in body_of(exposition, PROMETHEUS_2), (
        "another format is rendered for itself"
    )
    now[0] += 0.2
    assert b"anomaly_exporter_asked_total 1.0" in body_of(exposition)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not on PATH")
def test_promtool_finds_nothing_to_say_about_the_whole_page():
    registry = CollectorRegistry()
    metrics = SelfMetrics(registry)
    metrics.watch("cpu")
    metrics.cycle_duration_seconds.labels("cpu", "fetch").observe(0.2)
    metrics.query_errors_total.labels("cpu", "timeout").inc()
    metrics.series.labels("cpu", "scored").set(3)
    exposition = Exposition(registry)
    exposition.publish("cpu", *make_rows("cpu", 0.5, NAN, 1.0, pod='a\r\n\0\ud800"\\}'))
    exposition.publish_group("g", [b'group="g"'], np.array([0.5]), np.array([2.0]))
    done = subprocess.run(["promtool", "check", "metrics"], input=body_of(exposition), capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
