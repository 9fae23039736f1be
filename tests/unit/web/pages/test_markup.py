from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import pytest

from exporter.web.pages.markup import Markup, join, tag
from exporter.web.pages.models import Range
from exporter.web.pages.text import address, labels_in
from tests.page_facts import EVIL


def test_text_and_attributes_are_escaped_and_markup_is_not_escaped_twice():
    inner = tag("b", "a & b")
    assert tag("p", EVIL[:10], inner, title=EVIL[:10]) == (
        '<p title="&quot;&gt;&lt;script&gt;">&quot;&gt;&lt;script&gt;<b>a &amp; b</b></p>'
    )


@pytest.mark.parametrize(
    ("attributes", "text"),
    [
        ({"hidden": True}, "<i hidden></i>"),
        ({"hidden": False, "title": None}, "<i></i>"),
        ({"class_": "a", "data_head": "b"}, '<i class="a" data-head="b"></i>'),
        ({"value": 0}, '<i value="0"></i>'),
        ({"name": "x"}, '<i name="x"></i>'),
    ],
)
def test_attributes(attributes, text):
    assert tag("i", **attributes) == text


def test_characters_that_no_document_may_have_are_replaced():
    assert join(["a\x00b\x1bc\ud800d\ufffe"]) == "a\ufffdb\ufffdc\ufffdd\ufffd"


def test_text_that_looks_like_markup_is_only_markup_where_we_made_it():
    assert join([str(Markup("<b>")), Markup("<b>")]) == "&lt;b&gt;<b>"


@pytest.mark.parametrize(
    "labels",
    [
        (),
        (("instance", "a:9100"), ("job", "node")),
        (("from", "x"), ("query", "y"), ("to", "z")),
        (("label.from", "x"), ("label.label.to", "y")),
        (("a", EVIL), ("size", "1"), ("theme", "&=")),
    ],
    ids=["none", "plain", "reserved", "escaped already", "evil"],
)
def test_labels_come_back_from_an_address(labels):
    found = parse_qsl(urlsplit(address("graph", "cpu", labels, Range(0.0, 60.0), part="band")).query)
    assert labels_in(found) == labels
    assert dict(found)["query"] == "cpu"
    assert dict(found)["to"] == "60"
