"""Pages as they are served, and what is in them."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from urllib.parse import urlencode

import pytest
import requests

from exporter.web.api.canaries import CanaryReport, ComparisonReport
from exporter.web.api.what_if import OtherSettings
from exporter.web.pages.models import (
    ChartPart,
    DisplayError,
    GroupRow,
    QueryState,
    SeriesFilter,
    StateFilter,
    TimeRange,
)
from tests.page_facts import AT, EVIL, anomalies, anomaly, entity, episode, incident, overview, query, series, shown

KNOWN = """html head meta title link script body a header nav ul li main h1 h2 p strong span b section time table thead
tbody tr th td code progress form label select option input button svg rect line polyline circle footer dl dt dd div
figure figcaption picture source img pre details summary noscript ol kbd textarea"""
VOID = {"meta", "link", "input", "source", "img", "br", "rect", "line", "polyline", "circle"}


class Document(HTMLParser):
    """Checks while it reads: every element is one of ours, closed in order, and nothing is inline."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: set[str] = set()
        self.links: list[str] = []
        self.ids: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []
        assert len(self.ids) == len(set(self.ids))

    def handle_starttag(self, name, attributes):
        assert name in KNOWN.split(), name
        self.elements.add(name)
        for key, value in attributes:
            assert not key.startswith("on"), key
            assert key != "style"
            if key in ("href", "src", "srcset", "action"):
                assert not (value or "").lower().startswith(("javascript:", "data:", "//")), value
                self.links.append(value)
            if key == "id":
                self.ids.append(value)
        if name not in VOID:
            self.open.append(name)

    def handle_startendtag(self, name, attributes):
        self.handle_starttag(name, attributes)

    def handle_endtag(self, name):
        assert self.open.pop() == name

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            assert not data.strip()
        self.text += data + " "


def page(served, path: str = "/", status: int = 200) -> Document:
    answer = requests.get(served.url + path, timeout=10)
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = answer.headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none';")
    return Document(answer.text)


def test_the_overview_says_what_is_wrong_first(serve):
    text = page(serve()).text
    assert text.index("Look here") < text.index("1 open anomaly") < text.index("Open anomalies") < text.index("Queries")
    for said in (
        "cpu is 0.91, expected 0.40",
        "rate(cpu[5m])",
        "0.93",
        "0.30 to 0.50",
        "black-friday",
        "http://prom:9090",
    ):
        assert said in text, said


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"queries": [], "anomalies": [], "series": [], "matching": 0, "total": 0}, "no series so far"),
        ({"queries": [query(anomalous=0, held=2), query(anomalous=1)]}, "2 held by a load"),
        ({"queries": [query(state=QueryState.LEARNING, progress=0.42)], "series": [], "matching": 0}, "42%"),
        ({"queries": [query(state=QueryState.LEARNING)], "series": [], "matching": 0}, "History is being read"),
        ({"queries": [query(state=QueryState.FAILED, trouble="timeout: 30 s")]}, "unknown, not fine"),
        ({"queries": [query(state=QueryState.FAILED, trouble="timeout: 30 s")]}, "timeout: 30 s"),
        ({"queries": [query(state=QueryState.WARMING_UP, scored=0, warming_up=3)], "anomalies": []}, "none can alert"),
        ({"queries": [query(state=QueryState.WARMING_UP, scored=0, mature_at=AT + 7200.0)]}, "alerts from"),
        (
            {"queries": [query(state=QueryState.WARMING_UP, scored=0, mature_at=AT + 7200.0, alerting=False)]},
            "ready from",
        ),
        (
            {"queries": [query(state=QueryState.WARMING_UP, scored=0, first_score_at=AT + 300.0)]},
            "first score in about 5 min",
        ),
        ({"queries": [query(state=QueryState.WARMING_UP, scored=0, provisional=3)]}, "3 provisional scores"),
        ({"queries": [query(), query(state=QueryState.WARMING_UP, scored=0)]}, "1 query warming up"),
        ({"queries": [query(judged_ratio=0.5)], "anomalies": []}, "only 50% of the series of cpu are judged"),
        ({"queries": [query(judged_ratio=0.5)], "anomalies": []}, "Incomplete"),
        ({"queries": [query(state=QueryState.EMPTY, series=0)], "anomalies": []}, "1 query without a series"),
        ({"queries": [query(state=QueryState.EMPTY, series=0)], "anomalies": []}, "Incomplete"),
        ({"queries": [query(judged_at=None)]}, "not yet"),
        ({"queries": [query(judged_at=None)]}, "not known yet"),
        ({"queries": [query(false_alerts=(2.34, 1.0, 5.0))]}, "2.3"),
        ({"queries": [query(false_alerts=(0.01, 0.0, 0.3))]}, "< 0.1"),
        ({"anomalies": []}, "Nothing is open"),
        ({"anomalies": []}, "All well"),
        ({"events": []}, "No known event"),
        ({"series": [series(ready=False, suppressed="warming_up")]}, "warming up"),
        ({"series": [series(masked=True, suppressed="event")]}, "known event"),
        ({"series": [series(masked=True)]}, "not learned"),
        (
            {"series": [series(score=float("nan"), positions=series().positions * float("nan"))]},
            "nothing judged so far",
        ),
        ({"series": [series(lower=float("nan"))]}, "up to 0.50"),
    ],
)
def test_every_state_of_the_overview_is_said(serve, changes, says):
    served = serve()
    served.program.pages.front = overview(**changes)
    assert says in page(served).text


def test_things_of_groups_are_shown_with_the_part_of_each_metric(serve):
    served = serve()
    document = page(served)
    said = " ".join(document.text.split())
    assert "payment_api 1 of 12 anomalous , judged 30 s ago" in said
    assert "latency 61%, cpu 36%" in said
    assert "errors" not in said
    assert "graph?query=latency&pod=api-7" in document.links
    served.program.pages.front = overview(entities=[entity(load=1.52, score=0.31, shares=())])
    assert "load ×1.5" in page(served).text  # noqa: RUF001
    assert "things" in page(served).ids
    served.program.pages.front = overview(groups=(), entities=())
    assert "things" not in page(served).ids


@pytest.mark.parametrize(
    ("group", "says"),
    [
        (GroupRow("api", None, 0, 0), "has no score so far"),
        (GroupRow("api", AT - 60.0, 0, 0), "is learning"),
        (GroupRow("api", AT - 60.0, 2000, 0), "0 of 2,000 anomalous"),
    ],
    ids=["begins", "learns", "well"],
)
def test_the_state_of_a_group_is_said(serve, group, says):
    served = serve()
    served.program.pages.front = overview(groups=[group], entities=[])
    assert says in page(served).text


def test_nothing_that_was_measured_gets_into_a_page_as_markup(serve):
    served = serve()
    evil = {"labels": ((EVIL, EVIL), ("b", EVIL * 20))}
    served.program.pages.front = overview(
        queries=[query(name=EVIL, expr=EVIL, state=QueryState.FAILED, trouble=EVIL)],
        anomalies=[anomaly(query=EVIL, summary=EVIL, state=EVIL, **evil)],
        series=[series(query=EVIL, **evil)],
        groups=[GroupRow(EVIL, None, 0, 0)],
        entities=[entity(group=EVIL, shares=((EVIL, 1.0),), **evil)],
    )
    assert "alert(1)" in page(served, "/?text=" + requests.utils.quote(EVIL)).text
    served.program.pages.one = shown(
        query=query(name=EVIL, expr=EVIL),
        series=series(query=EVIL, severities=[(EVIL, 1.0)], **evil),
        anomalies=[anomaly(id="1", summary=EVIL, notes=[(EVIL, EVIL)], **evil)],
        explanation=[(EVIL, EVIL)],
        candidates=[((EVIL, EVIL),)],
    )
    assert "alert(1)" in page(served, "/graph?query=x").text
    served.program.pages.wrong = DisplayError(EVIL)
    assert "alert(1)" in page(served, "/graph?query=x", 404).text


def test_every_link_of_a_page_is_relative_or_to_prometheus(serve):
    served = serve()
    for path in ("/", "/graph?query=cpu", "/anomalies", "/incident?id=x"):
        for link in page(served, path).links:
            assert link.startswith(
                (
                    "./",
                    "metrics",
                    "api/",
                    "static/",
                    "graph?",
                    "chart.",
                    "#",
                    "anomalies",
                    "incident?",
                    "what-if?",
                    "http://prom:9090/",
                )
            ), link


def test_the_filter_reaches_the_program_and_stays_in_the_form(serve):
    served = serve()
    served.program.pages.front = overview(matching=120)
    document = page(served, "/?query=cpu&text=node+9100&which=anomalous&page=2")
    assert served.program.pages.requests[0] == SeriesFilter("cpu", "node 9100", StateFilter.ANOMALOUS, 2)
    assert "page 2 of 3" in document.text
    assert "./?query=cpu&text=node+9100&which=anomalous&page=3#series" in document.links


@pytest.mark.parametrize(
    "path",
    [
        "/?page=0",
        "/?page=x",
        "/?page=9999999999999999999",
        "/?which=none",
        "/graph",
        "/graph?query=cpu&from=1",
        "/graph?query=cpu&from=x&to=y",
        "/graph?query=cpu&from=nan&to=inf",
        "/graph?query=cpu&from=100&to=50",
        "/graph?query=cpu&from=0&to=99999999",
        "/graph?query=cpu&from=-5&to=500",
    ],
)
def test_what_makes_no_sense_is_refused_in_words(serve, path):
    assert "This cannot be shown" in page(serve(), path, 400).text


def test_labels_and_range_reach_the_program(serve):
    served = serve()
    document = page(served, f"/graph?query=cpu&job=node&label.query=x&from={AT - 7200}&to={AT}")
    assert served.program.pages.requests[0] == ("cpu", (("job", "node"), ("query", "x")))
    charts = [link for link in document.links if link.startswith("chart.svg")]
    # Three parts, each light and dark, wide and narrow.
    assert len(charts) == 12
    assert all(f"from={AT - 7200:.0f}&to={AT:.0f}" in link for link in charts)


def test_buttons_are_only_for_those_who_may_press_them(serve):
    served = serve()
    served.program.pages.one = shown(anomalies=[anomaly(id="1f")])
    assert "log in as a user" in page(served, "/graph?query=cpu").text


@pytest.mark.parametrize(("form", "magic"), [("svg", b"<?xml"), ("png", b"\x89PNG")], ids=["svg", "png"])
@pytest.mark.parametrize("part", list(ChartPart), ids=str)
def test_charts_are_served_in_every_form(serve, form, magic, part):
    served = serve()
    url = f"{served.url}/chart.{form}?query=cpu&job=x&from=100&to=500&part={part}&theme=dark&size=narrow"
    answer = requests.get(url, timeout=30)
    assert (answer.status_code, answer.content[: len(magic)]) == (200, magic)
    assert "script" not in answer.headers["Content-Security-Policy"]
    assert served.program.pages.requests == [("cpu", (("job", "x"),), TimeRange(100.0, 500.0), part)]
    # The same again is not made again.
    assert requests.get(url, timeout=30).content == answer.content
    assert len(served.program.pages.requests) == 1


def test_a_chart_that_cannot_be_drawn_says_so_as_a_picture_and_is_tried_again(serve):
    served = serve()
    served.program.pages.wrong = DisplayError("Prometheus did not answer <b>", 502)
    answer = requests.get(served.url + "/chart.svg?query=cpu", timeout=30)
    assert (answer.status_code, answer.headers["Content-Type"]) == (502, "image/svg+xml; charset=utf-8")
    assert "did not answer &lt;b&gt;" in answer.text
    answer = requests.get(served.url + "/chart.png?query=cpu", timeout=30)
    assert (answer.status_code, answer.text) == (502, "Prometheus did not answer <b>\n")
    served.program.pages.wrong = None
    assert requests.get(served.url + "/chart.png?query=cpu", timeout=30).status_code == 200


def test_pages_are_small_on_the_wire(serve):
    served = serve()
    served.program.pages.front = overview(series=[replace(series(), query=f"q{i}") for i in range(50)], matching=10_000)
    plain = requests.get(served.url + "/", headers={"Accept-Encoding": "identity"}, timeout=10)
    packed = requests.get(served.url + "/", headers={"Accept-Encoding": "gzip"}, timeout=10)
    assert packed.headers["Content-Encoding"] == "gzip"
    assert int(packed.headers["Content-Length"]) < len(plain.content) / 4


@pytest.mark.parametrize(
    ("score", "observed", "says"),
    [
        (0.1, 0.4, "as expected"),
        (0.3, 0.6, "outside the band, too few votes"),
        (0.3, 0.2, "outside the band, too few votes"),
        (0.9, 0.6, "anomalous"),
        (float("nan"), 0.6, "nothing can be said so far"),
    ],
)
def test_the_state_of_a_series_says_what_its_numbers_say(serve, score, observed, says):
    served = serve()
    served.program.pages.one = shown(series=series(score=score, observed=observed))
    assert f"State {says} Score" in " ".join(page(served, "/graph?query=cpu").text.split())


def test_the_last_seven_days_are_on_the_front_page(serve):
    served = serve()
    gone = episode(state="resolved", until=AT - 60.0, outcome="back to normal", who="eve", verdict="confirmed")
    served.program.pages.front = overview(past=[gone])
    document = page(served)
    text = " ".join(document.text.split())
    assert "resolved" in text
    assert "back to normal eve confirmed" in text
    assert "incident?id=0b7f" in document.links
    assert "No alert fired." in page(serve()).text


def test_the_list_of_anomalies_is_filtered_and_paged(serve):
    served = serve()
    served.program.pages.many = anomalies(next_cursor="12.5,abc")
    document = page(served, "/anomalies?query=cpu&status=resolved&verdict=false+alarm&days=30&text=a&fired=all")
    asked = served.program.pages.requests[0]
    assert (asked.query, asked.status, asked.verdict, asked.days, asked.text, asked.fired) == (
        "cpu", "resolved", "false alarm", 30, "a", False,
    )  # fmt: skip
    (older,) = [link for link in document.links if "cursor" in link]
    page(served, f"/{older}")
    assert served.program.pages.requests[1] == replace(asked, cursor="12.5,abc")
    served.program.pages.many = anomalies(episodes=[])
    assert "No anomaly fits this filter." in page(served, "/anomalies").text
    assert requests.get(served.url + "/anomalies?status=none", timeout=10).status_code == 400


def test_an_incident_has_its_timeline_in_order_and_its_members(serve):
    served = serve()
    document = page(served, "/incident?id=0b7f")
    text = " ".join(document.text.split())
    assert "acknowledged: on it by eve" in text
    assert "Alertmanager http://am:9093: notifies pager." in text
    assert document.links.count("incident?id=77aa") == 2
    assert any(link.startswith("graph?query=cpu") for link in document.links)
    served.program.pages.whole = incident(episode=episode(state="resolved", until=AT, outcome="back to normal"))
    assert "for 10 min: back to normal" in " ".join(page(served, "/incident?id=0b7f").text.split())


def test_what_people_wrote_is_text_on_the_page_of_an_incident(serve):
    served = serve()
    evil = episode(summary=EVIL, who=EVIL, verdict=EVIL, verdict_by=EVIL, labels=[("a", EVIL)], query=EVIL, id=EVIL)
    served.program.pages.whole = incident(episode=evil, members=[evil], chat=EVIL, notes=[("x", EVIL)], remarks=[EVIL])
    served.program.pages.many = anomalies(episodes=[evil], queries=[EVIL])
    page(served, "/incident?id=x")
    page(served, "/anomalies")


@pytest.mark.parametrize(("acknowledged", "offered"), [(False, "Acknowledge"), (True, "Take the acknowledgement back")])
def test_without_users_people_act_where_that_is_enabled(serve, acknowledged, offered):
    served = serve(actions=True)
    served.program.pages.one = shown(anomalies=[anomaly(id="0b7f", acknowledged=acknowledged)])
    assert offered in page(served, "/graph?query=cpu").text


def test_without_the_library_charts_are_pictures(serve, monkeypatch):
    monkeypatch.setattr("exporter.web.pages.routes._LIBRARY", {"none.js": "text/javascript"})
    document = page(serve(), "/graph?query=cpu")
    assert "noscript" not in document.elements
    assert not [link for link in document.links if "uPlot" in link]


def test_what_would_change_is_said_in_a_sentence_with_yaml(serve):
    served = serve()
    text = " ".join(page(served, "/what-if?query=cpu").text.split())
    assert "min_deviation: 0.05 , 14 of 17 alerts would not have been" in text
    assert "5 of 5 false alarms; all 3 confirmed incidents would have come, the latest 4 min later." in text
    assert "queries: - name: cpu min_deviation: 0.05" in text
    page(served, "/what-if?query=cpu&quorum=3&for=10m")
    assert served.program.pages.requests[-1] == ("cpu", OtherSettings(quorum=3, for_=600.0))
    assert "Not a setting" in page(served, "/what-if?query=cpu&for=soon", 400).text
    page(served, f"/what-if?{urlencode({'query': EVIL})}")


def test_an_expression_is_tried_only_where_that_is_enabled(serve):
    assert requests.get(serve().url + "/explore?expr=up", timeout=10).status_code == 404
    assert requests.get(serve().url + "/explore.json?expr=up", timeout=10).status_code == 404
    served = serve(explore=True)
    assert "Try an expression" in page(served, "/explore").text
    document = page(served, "/explore?expr=up&direction=above&detectors=zscore,+stl&quorum=1&for=10m&days=3")
    text = " ".join(document.text.split())
    assert "It would have alerted 1 time in 3 d" in text
    assert "detectors: - zscore - stl quorum: 1 alert: for: 10m" in text
    asked = served.program.pages.requests[-1]
    (picture,) = [link for link in document.links if link.startswith("explore.svg")]
    assert requests.get(f"{served.url}/{picture}", timeout=30).content.startswith(b"<?xml")
    assert served.program.pages.requests[-1] == asked
    page(served, f"/explore?{urlencode({'expr': EVIL})}")
    page(served, "/explore?expr=up&days=1000", 400)
    page(served, "/explore?expr=up&quorum=many", 400)


def test_canaries_are_listed_with_both_sides_and_what_is_not_known_so_far(serve):
    worse = ComparisonReport(
        {"service": "cart", "version": "1.4.2"}, "1.4.1", "version=1.4.2", different=True, score=0.8, p_value=0.0004,
        direction="above", baseline=0.2, candidate=0.23, smallest=0.01, since=AT - 600.0, series=(20, 2), slots=25,
    )  # fmt: skip
    new = replace(
        worse, labels={"version": "2"}, different=False, score=None, p_value=None, baseline=None, candidate=None,
        since=None, series=(0, 1), slots=0,
    )  # fmt: skip
    canaries = [CanaryReport("latency", AT, (worse, new)), CanaryReport("errors", None, ())]
    served = serve()
    served.program.pages.front = overview(canaries=canaries)
    text = " ".join(page(served).text.split())
    assert "2 of version=1.4.2 with 20 of 1.4.1, above since" in text
    assert "+15.0%" in text
    assert "0.0004" in text
    assert "one side has no series now" in text
    assert "errors has nothing to compare: nothing was judged so far" in text
    served.program.pages.front = overview()
    assert "Canaries" not in page(served).text
