from __future__ import annotations

import pytest

from exporter.exposition.formats import Format, gzip_accepted, negotiate

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
TEXT = "text/plain; version=0.0.4; charset=utf-8"
TEXT_1 = "text/plain; version=1.0.0; charset=utf-8"


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        pytest.param("", TEXT, id="no header"),
        pytest.param("*/*", TEXT, id="curl"),
        pytest.param("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", TEXT, id="a browser"),
        pytest.param(
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
            "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            OPENMETRICS + "; escaping=underscores",
            id="Prometheus 2.42",
        ),
        pytest.param(
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
            "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
            "text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            OPENMETRICS + "; escaping=allow-utf-8",
            id="Prometheus 3",
        ),
        pytest.param(
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,"
            "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3",
            TEXT_1 + "; escaping=allow-utf-8",
            id="Prometheus 3 that would rather have protobuf",
        ),
        pytest.param("text/plain;version=0.0.4", TEXT, id="text 0.0.4"),
        pytest.param("text/plain", TEXT, id="text of any version"),
        pytest.param("text/plain; version=1.0.0", TEXT_1 + "; escaping=underscores", id="text 1.0.0"),
        pytest.param("application/openmetrics-text", OPENMETRICS, id="OpenMetrics of any version"),
        pytest.param("application/openmetrics-text; version=0.0.1", TEXT, id="OpenMetrics too old"),
        pytest.param("application/openmetrics-text; version=9.9.9", TEXT, id="OpenMetrics that does not exist"),
        pytest.param(
            "application/openmetrics-text;q=0.1, text/plain;version=0.0.4", TEXT, id="the higher quality wins"
        ),
        pytest.param("application/openmetrics-text;q=0, */*;q=0.5", TEXT, id="refused"),
        pytest.param("application/openmetrics-text;q=zero;version=a.b;;=,,;", TEXT, id="nonsense"),
        pytest.param('text/plain;version="1.0.0";escaping=<x>', TEXT_1 + "; escaping=underscores", id="no echo"),
    ],
)
def test_the_format_is_negotiated(accept, content_type):
    assert negotiate(accept)[1] == content_type


@pytest.mark.parametrize("format_", list(Format), ids=lambda f: f.name)
def test_the_content_type_of_a_format_asks_for_it(format_):
    assert negotiate(format_.value)[0] is format_


@pytest.mark.parametrize(
    ("accept_encoding", "accepted"),
    [
        ("", False),
        ("gzip", True),
        ("deflate, GZIP;q=0.5", True),
        ("gzip;q=0", False),
        ("identity", False),
        ("*", False),
    ],
)
def test_gzip_is_used_where_it_is_named(accept_encoding, accepted):
    assert gzip_accepted(accept_encoding) is accepted
