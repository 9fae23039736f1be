from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest

from exporter.charts.drawing import draw
from exporter.web.pages.models import ChartPart, ChartStyle
from tests.page_facts import EVIL, chart


def read(svg: bytes) -> ET.Element:
    return ET.fromstring(svg)  # noqa: S314 - we made it.


def texts(svg: bytes) -> str:
    return " ".join("".join(one.itertext()) for one in read(svg).iter())


@pytest.mark.parametrize("part", list(ChartPart), ids=str)
def test_an_svg_is_xml_that_names_its_lines(part):
    text = texts(draw(chart(part), ChartStyle("svg")))
    names = {
        ChartPart.BAND: ("band", "expected", "observed", "anomalous", "votes", "From history."),
        ChartPart.WEEKS: ("-4 w", "now"),
        ChartPart.DECOMPOSITION: ("trend", "daily", "weekly", "residual"),
    }
    for name in names[part]:
        assert name in text


@pytest.mark.parametrize("part", list(ChartPart), ids=str)
def test_a_chart_says_its_unit_and_its_time_zone(part):
    text = texts(draw(chart(part, unit="seconds", zone="Asia/Tokyo"), ChartStyle("svg")))
    assert " s " in text
    assert "JST" in text
    assert " MiB " in texts(draw(replace(scaled(part, 2.0**20), unit="bytes"), ChartStyle("svg")))
    assert " M " in texts(draw(scaled(part, 1e6), ChartStyle("svg")))


def scaled(part, by):
    one = chart(part)
    return replace(one, lines={name: line * by for name, line in one.lines.items()})


def test_the_same_chart_is_the_same_file():
    assert draw(chart(), ChartStyle("svg")) == draw(chart(), ChartStyle("svg"))


# No font here has every letter; the program ignores that too.
@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize("form", ["svg", "png"])
def test_labels_with_markup_formulas_and_control_characters_are_only_text(form):
    one = replace(chart(), title=EVIL, subtitle="instance=" + EVIL * 9, source=EVIL)
    image = draw(one, ChartStyle(form))
    if form == "svg":
        assert {element.tag.rpartition("}")[2] for element in read(image).iter()}.isdisjoint({"script", "img"})
        assert "<script>alert(1)</script>" in texts(image)
    else:
        assert image.startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "lines",
    [
        lambda lines: {name: line * np.nan for name, line in lines.items()},
        lambda lines: {name: np.zeros_like(line) for name, line in lines.items()},
        lambda lines: {name: line * 1e300 for name, line in lines.items()},
        lambda lines: {**lines, "observed": np.where(np.arange(240) == 7, np.inf, lines["observed"])},
        lambda lines: {**lines, "lower": lines["expected"] - 1.0, "upper": lines["upper"] * np.nan},
    ],
    ids=["nothing", "all zero", "huge", "infinite", "no upper edge"],
)
def test_odd_values_can_be_drawn(lines):
    one = chart()
    assert draw(replace(one, lines=lines(one.lines)), ChartStyle("png", narrow=True))


def test_one_sample_can_be_drawn():
    one = chart()
    lines = {name: line[:1] for name, line in one.lines.items()}
    assert draw(replace(one, times=one.times[:1], lines=lines), ChartStyle("svg", dark=True))


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("minutes", [1, 100, 174, 294, 2000, 10_080, 44_640])
def test_every_range_has_ticks(minutes, narrow):
    one = chart()
    times = one.times[0] + np.linspace(0.0, 60.0 * minutes, 240)
    assert draw(replace(one, times=times), ChartStyle("svg", narrow=narrow))


def test_a_chart_shows_what_changed():
    one = chart()
    middle = float(one.times[len(one.times) // 2])
    text = texts(draw(replace(one, changes=[(middle, f"deploy v1.4.2 {EVIL}")]), ChartStyle("svg")))
    assert "deploy v1.4.2" in text
    assert "deploy" not in texts(draw(one, ChartStyle("svg")))


def test_a_chart_goes_on_with_a_forecast_and_its_limit():
    one = chart()
    count = len(one.times)
    coming = {
        name: np.where(np.arange(count) > count - 40, float(np.nanmax(one.lines["observed"])) + by, np.nan)
        for name, by in (("forecast", 0.0), ("forecast_lower", -1.0), ("forecast_upper", 1.0))
    }
    ahead = replace(one, lines={**one.lines, **coming}, limit=float(np.nanmax(one.lines["observed"])) * 1.1)
    for narrow in (False, True):
        text = texts(draw(ahead, ChartStyle("svg", narrow=narrow)))
        assert "forecast, 80 %" in text
        assert "limit" in text
    assert "limit" not in texts(draw(replace(ahead, limit=1e9), ChartStyle("svg")))
    assert "forecast" not in texts(draw(one, ChartStyle("svg")))
