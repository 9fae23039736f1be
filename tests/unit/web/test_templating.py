from __future__ import annotations

import pytest
from jinja2 import DictLoader, UndefinedError

from exporter.web.templating import Templates
from tests.page_facts import EVIL


@pytest.fixture
def templates():
    made = Templates("exporter.web.pages", filters={"double": lambda text: text * 2})
    made._environment.loader = DictLoader(
        {
            "page.html": '<p title="{{ text }}">{{ text }}</p>',
            "picture.svg": "<text>{{ text }}</text>",
            "bold.html": "{% macro bold(text) %}<b>{{ text }}</b>{% endmacro %}{{ bold(text) | double }}",
            "misspelt.html": "{{ txet }}",
        }
    )
    return made


def test_text_and_attributes_are_escaped_in_every_kind_of_file(templates):
    assert templates.render("page.html", text=EVIL[:10]) == (
        '<p title="&#34;&gt;&lt;script&gt;">&#34;&gt;&lt;script&gt;</p>'
    )
    assert templates.render("picture.svg", text="<b>") == "<text>&lt;b&gt;</text>"


def test_markup_of_a_macro_is_not_escaped_twice(templates):
    assert templates.render("bold.html", text="a & b") == "<b>a &amp; b</b>" * 2


def test_characters_that_no_document_may_have_are_replaced(templates):
    rendered = templates.render("picture.svg", text="a\x00b\x1bc\ud800d\ufffe")
    assert rendered == "<text>a\ufffdb\ufffdc\ufffdd\ufffd</text>"


def test_an_unknown_variable_is_an_error(templates):
    with pytest.raises(UndefinedError, match="txet"):
        templates.render("misspelt.html")


def test_hidden_characters_are_shown_as_escapes(templates):
    rendered = templates.render("page.html", text="a\u202eb\ufeffc")
    assert rendered == '<p title="a\\u202eb\\ufeffc">a\\u202eb\\ufeffc</p>'
