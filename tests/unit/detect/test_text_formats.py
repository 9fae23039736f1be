"""OpenMetrics, dumps and federated samples; line protocol; and compressed files of any of them."""

from __future__ import annotations

import bz2
import gzip
import lzma

import cramjam
import pytest

from exporter.detect.reader import read
from exporter.detect.recorded_series import InputError, format_labels

TWO = {'load{job="a"}': [(1760313600.0, 1.0), (1760313660.0, 2.5)]}


def series(text: str) -> dict[str, list[tuple[float, float]]]:
    found = read(text.encode(), "auto", source="in")
    return {format_labels(one.labels): list(zip(one.times.tolist(), one.values.tolist(), strict=True)) for one in found}


def problems(text: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        series(text)
    return caught.value.problems


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(
            "# HELP load Of it.\n# TYPE load gauge\n"
            'load{job="a"} 1 1760313600.000\nload{job="a"} 2.5 1760313660\n# EOF\n',
            id="OpenMetrics",
        ),
        pytest.param(
            '{__name__="load", job="a"} 1 1760313600000\n{__name__="load", job="a"} 2.5 1760313660000\n', id="a dump"
        ),
        pytest.param(
            '# TYPE load untyped\nload{job="a"} 1 1760313600000\n'
            '# TYPE load untyped\nload{job="a"} 2.5 1760313660000\n',
            id="two federated answers",
        ),
        pytest.param('{"load",job="a"} 1 1760313600\n{"load", job="a"} 2.5 1760313660 # {x="y"} 1\n', id="quoted name"),
        pytest.param('load {job="a",} 1 1760313600\r\nload {job="a",} 2.5 1760313660\r\n', id="blanks and CRLF"),
        pytest.param(
            "load,job=a value=1 1760313600000000000\nload,job=a value=2.5 1760313660000000000\n", id="nanoseconds"
        ),
        pytest.param("# DML\nload,job=a value=1i 1760313600\nload,job=a value=2.5 1760313660\n", id="an export"),
    ],
)
def test_two_samples_are_read(text: str) -> None:
    assert series(text) == TWO


def test_each_field_is_a_series_and_what_is_escaped_is_plain() -> None:
    text = (
        r'cpu\ load,host=a\,b,path=x\=y\ z idle=1,up=true,n=3u,note="a, b=\"c\" 1" 1760313600' + "\n"
        r"cpu\ load,host=a\,b,path=x\=y\ z idle=2,up=F 1760313660" + "\n"
    )
    labels = 'host="a,b", path="x=y z"'
    assert series(text) == {
        f"cpu load_idle{{{labels}}}": [(1760313600.0, 1.0), (1760313660.0, 2.0)],
        f"cpu load_up{{{labels}}}": [(1760313600.0, 1.0), (1760313660.0, 0.0)],
        f"cpu load_n{{{labels}}}": [(1760313600.0, 3.0)],
    }
    assert read(text.encode(), "auto", source="in")[0].warning == "fields of text are left out: note"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('up{a="b"} 1 60\nup{a="b} 1 120\n', "line 2, column 3: expected labels such as"),
        ('up{a="b"} 1 60\nup{a=b} 1 120\n', "line 2, column 1: expected a series such as"),
        ('up{a="b"} 1 60\nup{a="b"} one 120\n', "line 2, column 11: not a number: 'one'"),
        ('up{a="b"} 1 60\nup{a="b"} 1 120 130\n', "line 2, column 17: expected the end of the line: '130'"),
        ('up{a="b"} 1 60\nup{a="b"} 1 soon\n', "line 2: not a timestamp: 'soon'"),
        ('up{a="b"} 1\n', "line 1: a sample without a timestamp: a page of /metrics"),
        ("# TYPE up gauge\nup 1\n", "line 2: a sample without a timestamp: a page of /metrics"),
        ('{__name__="up"} 1 60\n{__name__="h"} {count:3, sum:2} 60\n', "line 2: native histograms cannot be scored"),
        ("cpu load=1 60\ncpu,host load=1 120\n", "line 2, column 4: expected tags such as ,host=a"),
        ("cpu load=1 60\ncpu load=x 120\n", "line 2, column 10: not a number: 'x'"),
        ("cpu load=1 60\ncpu load= 120\n", "line 2, column 5: expected a field such as load=1.5"),
        ("cpu load=1 60\ncpu load=1\n", "line 2: a point without a timestamp"),
        ("cpu load=1 60\ncpu load=1 soon\n", "line 2, column 12: expected a timestamp"),
        ("cpu load=1 60\ncpu load=2 60\n", "line 2: 60 has another value than before (line 1)"),
    ],
)
def test_what_cannot_be_read_is_named_with_line_and_column(text: str, expected: str) -> None:
    first, *_ = problems(text)
    assert first.startswith(expected)


def test_counters_are_named() -> None:
    text = '# TYPE a counter\na_total 1 60\n# TYPE b gauge\nb 1 60\n# TYPE c histogram\nc_bucket{le="1"} 1 60\n'
    first, *_ = read(text.encode(), "auto", source="in")
    assert first.warning.startswith("2 of 3 series are counters, such as a_total: their values only rise")


def test_what_there_is_to_note_stays_where_the_first_series_is_left_out() -> None:
    text = 'anomaly_score{query="q"} 1 60\nanomaly_exporter_slots_total 1 60\na_total 1 60\nb 1 60\n'
    first, second = read(text.encode(), "auto", source="in")
    assert [line.split(",")[0] for line in first.warning.splitlines()] == [
        "1 of 2 series are counters",
        "2 series that this exporter wrote are left out",
    ]
    assert not second.warning


def test_a_page_without_timestamps_is_refused_once() -> None:
    assert len(problems("# TYPE up gauge\n" + "".join(f'up{{a="{n}"}} 1\n' for n in range(30)))) == 1
    assert len(problems('up{a="b"} 1 60\nup{a="c"} 1\nup{a="d"} 1\n')) == 2


@pytest.mark.parametrize(
    "packed",
    [
        pytest.param(gzip.compress, id="gzip"),
        pytest.param(lambda text: gzip.compress(text[:20]) + gzip.compress(text[20:]), id="two members of gzip"),
        pytest.param(bz2.compress, id="bzip2"),
        pytest.param(lzma.compress, id="xz"),
        pytest.param(lambda text: bytes(cramjam.zstd.compress(text)), id="zstd"),
    ],
)
def test_a_compressed_file_is_what_is_in_it(packed) -> None:
    (only,) = read(packed(b"timestamp,value\n60,1\n120,2.5\n"), "auto", source="in")
    assert (only.times.tolist(), only.values.tolist()) == ([60.0, 120.0], [1.0, 2.5])


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, cramjam.zstd.compress])
def test_a_compressed_file_that_memory_has_no_room_for_is_refused(pack) -> None:
    text = b"60,1\n120,2\n"
    packed = bytes(pack(text))
    assert len(read(packed, "auto", source="in", most=len(text))) == 1
    with pytest.raises(InputError, match=r"unpacked \(\w+\) it is larger than the 10 bytes that fit"):
        read(packed, "auto", source="in", most=len(text) - 1)


@pytest.mark.parametrize(
    "data", [gzip.compress(b"60,1\n" * 100)[:-9], b"\x1f\x8b\x08", b"BZh9x"], ids=["middle", "head", "bzip2"]
)
def test_a_compressed_file_that_is_cut_off_is_refused(data: bytes) -> None:
    with pytest.raises(InputError, match="cannot be unpacked, perhaps cut off"):
        read(data, "auto", source="in")
