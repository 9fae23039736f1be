"""The pages in a real browser, against a live stack. With ``--screenshots`` the pictures of the documents are taken."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import bcrypt
import pytest
import requests
import yaml
from playwright.sync_api import Browser, BrowserContext, Locator, Page, Playwright, expect, sync_playwright

from tests.integration.daemon import Exporter, configuration
from tests.integration.process import REQUIRED, binary, eventually
from tests.integration.servers import Alertmanager, Prometheus
from tests.integration.shop import ODD, ShopFeed

pytestmark = pytest.mark.integration

USER, PASSWORD = "eve", "correct horse"
IMAGES = Path(__file__).parent.parent.parent / "docs" / "images"
DAY = 86400.0
SCREEN, PHONE = {"width": 1200, "height": 1000}, {"width": 390, "height": 844}
PATIENCE = 30_000
"""Milliseconds that a failing test waits."""


@dataclass
class Stack:
    exporter: Exporter
    feed: ShopFeed

    def ask(self, path: str, **options):
        return requests.get(self.exporter.url + path, auth=(USER, PASSWORD), timeout=30, **options)

    def anomaly(self) -> dict:
        """The one open anomaly, as the API has it."""
        found = self.ask("/api/v1/anomalies?fired=true").json()["data"]["anomalies"]
        return found[0] if len(found) == 1 else {}


def moment(ahead: float) -> str:
    """Return an instant so many seconds from now, as the configuration has it."""
    return datetime.fromtimestamp(time.time() + ahead, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    binary("chromium")
    home = tmp_path_factory.mktemp("pages")
    with ExitStack() as stack:
        prometheus = stack.enter_context(Prometheus(home / "prometheus"))
        alertmanager = stack.enter_context(Alertmanager(home / "alertmanager"))
        feed = stack.enter_context(ShopFeed(prometheus))
        alert = {"for": "2s", "labels": {"severity": "page"}}
        config = configuration(prometheus.url, [alertmanager.url])
        config["baseline"] = {"window": "15d", "backfill_step": "30m"}
        config["queries"] = [
            {"name": "latency_p99", "expr": "latency", "direction": "above", "unit": "seconds", "alert": alert},
            {"name": "requests", "expr": "sum by (service) (requests)", "valid_range": [0, None]},
        ]
        for query in config["queries"]:
            query["min_relative_deviation"] = 0.5  # So that nothing is anomalous by chance.
        sale = {"name": "sale", "match": ['query="requests"'], "action": "expect", "multiplier": 3.0}
        config["calendar"] = [{**sale, "starts_at": moment(DAY), "ends_at": moment(2 * DAY)}]
        web = home / "web.yml"
        hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
        web.write_text(yaml.safe_dump({"basic_auth_users": {USER: hashed}}))
        flags = (f"--web.config.file={web}", "--web.enable-explore")
        exporter = Exporter(home / "exporter", config, *flags, auth=(USER, PASSWORD))
        one = Stack(stack.enter_context(exporter), feed)
        eventually(lambda: len(exporter.samples("anomaly_score")) == 8, 60.0, what="scores of both queries")
        feed.slow = {"checkout"}
        eventually(one.anomaly, 30.0, what="an anomaly that fires")
        yield one


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as one:
        yield one


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    one = playwright.chromium.launch(executable_path=binary("chromium"))
    yield one
    one.close()


@dataclass
class Watched:
    """A page of which every complaint and every request is noted."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(PATIENCE)
        self.page.on("console", lambda said: self.complaints.append(f"{said.type}: {said.text}"))
        self.page.on("pageerror", lambda fault: self.complaints.append(str(fault)))
        self.page.on("request", lambda request: self.hosts.add(urlsplit(request.url).netloc))

    def open(self, path: str = "") -> Page:
        answer = self.page.goto(path, wait_until="load")
        assert answer is not None
        assert answer.status == 200
        return self.page

    def check(self, exporter: Exporter) -> None:
        """No error, no other host, nothing of the label ran, and nothing to scroll sideways."""
        assert self.complaints == []
        assert self.hosts == {urlsplit(exporter.url).netloc}
        assert self.page.evaluate("window.hacked") is None
        assert self.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.fixture
def visit(running: Stack, browser: Browser) -> Iterator:
    """``visit(**options)`` opens a tab that is checked when the test ends."""
    expect.set_options(timeout=PATIENCE)
    tabs: list[tuple[BrowserContext, Watched]] = []

    def begin(*, scripted: bool = True, **options) -> Watched:
        login = {"username": USER, "password": PASSWORD}
        context = browser.new_context(
            base_url=running.exporter.url, http_credentials=login, java_script_enabled=scripted, **options
        )
        tabs.append((context, Watched(context.new_page())))
        return tabs[-1][1]

    yield begin
    for context, watched in tabs:
        watched.check(running.exporter)
        context.close()


def drawn(chart: Locator) -> None:
    """Bring a chart into view and wait until it is there: as a canvas, or as a picture."""
    chart.scroll_into_view_if_needed()
    if chart.get_attribute("data-chart") is None:
        picture = chart.locator("img")
        eventually(lambda: picture.evaluate("one => one.naturalWidth"), 4 * PATIENCE / 1000)
    else:
        expect(chart).to_have_attribute("data-state", re.compile("drawn|complete"))
        expect(chart.locator("canvas").first).to_be_visible()


@pytest.fixture(scope="module")
def axe() -> str:
    """The text of axe-core, which scripts/validators.sh installs."""
    file = IMAGES.parent.parent / ".validators" / "node_modules" / "axe-core" / "axe.min.js"
    if not file.exists():
        say = pytest.fail if os.environ.get(REQUIRED) else pytest.skip
        say("axe-core is not installed: sh scripts/validators.sh")
    return file.read_text()


@pytest.fixture
def picture(request: pytest.FixtureRequest, tmp_path: Path):
    """``picture(page, name)`` takes a screenshot; into the documents where that is asked for."""
    folder = IMAGES if request.config.getoption("--screenshots") else tmp_path
    folder.mkdir(exist_ok=True)

    def take(page: Page, name: str, **options) -> None:
        file = folder / f"{name}.png"
        page.screenshot(path=file, **options)
        assert file.stat().st_size > 10_000

    return take


def test_the_overview_shows_the_anomaly_and_its_label_as_text(visit, picture, running: Stack) -> None:
    page = visit(viewport=SCREEN).open("/")
    expect(page.get_by_text("1 open anomaly")).to_be_visible()
    expect(page.locator(".cards").first).to_contain_text("service=checkout")
    expect(page.locator("#content")).to_contain_text("sum by (service) (requests)")
    expect(page.get_by_text(ODD[:40]).first).to_be_visible()
    worst = page.locator("section", has_text="Series by score").locator("tbody tr").first
    expect(worst).to_contain_text("latency_p99")
    expect(worst.locator(".score")).to_have_class("score bad")
    expect(page.locator(".health")).to_contain_text("Alertmanager")
    expect(page.locator("section", has_text="Upcoming events")).to_contain_text("sale in 23 h")
    picture(page, "overview")


def test_a_label_full_of_markup_is_text_everywhere(visit, running: Stack) -> None:
    page = visit(viewport=SCREEN).open("/")
    page.get_by_label("Labels contain").fill(ODD[:30])
    page.get_by_role("button", name="Show").click()
    rows = page.locator("section", has_text="Series by score").locator("tbody tr")
    expect(rows).to_have_count(2)
    expect(page.get_by_label("Labels contain")).to_have_value(ODD[:30])
    page.get_by_role("link", name="requests").last.click()
    expect(page.locator("h1 + p")).to_contain_text(ODD[:40])
    drawn(page.locator("figure").first)
    # Opened alone, a chart is a document too.
    picture = page.locator("figure img").last.get_attribute("src").replace("decomposition", "weeks")
    page.goto(picture, timeout=4 * PATIENCE)


def test_the_graph_of_the_anomaly_explains_it(visit, picture, running: Stack) -> None:
    page = visit(viewport=SCREEN).open("/")
    page.locator(".cards a.name").first.click()
    expect(page.locator("h1")).to_have_text("latency_p99")
    expect(page.get_by_text("votes for an anomaly").first).to_be_visible()
    expect(page.locator(".facts")).to_contain_text("anomalous")
    page.get_by_role("link", name="12 h").click()
    for chart in page.locator("figure").all():
        drawn(chart)
    # With what is judged anew, too.
    expect(page.locator("figure").first).to_have_attribute("data-state", "complete", timeout=4 * PATIENCE)
    page.evaluate("scrollTo({top: 0, behavior: 'instant'})")
    picture(page, "graph")


def test_it_is_acknowledged_and_called_confirmed(visit, running: Stack) -> None:
    page = visit().open("/")
    page.locator(".cards a.name").first.click()
    first = page.locator("form.act").first
    first.get_by_label("Comment").fill("on it <b>")
    first.get_by_role("button", name="Acknowledge").click()
    expect(page.locator("#status")).to_contain_text("Acknowledged.")
    expect(page.get_by_text("Acknowledged by eve: on it <b>")).to_be_visible()
    # Back, and again by the keyboard; charts stay as they are.
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("button", name="Acknowledge", exact=True)).to_be_visible()
    assert running.anomaly()["status"] == "open"
    page.locator("form.act").first.get_by_label("Comment").fill("on it <b>")
    page.get_by_role("button", name="Acknowledge", exact=True).click()
    expect(page.get_by_role("button", name="Take the acknowledgement back")).to_be_visible()
    page.get_by_role("button", name="False alarm").click()
    expect(page.locator("#status")).to_contain_text("Thank you; noted.")
    page.keyboard.press("u")
    expect(page.locator("#status")).to_contain_text("The verdict was taken back.")
    page.get_by_role("button", name="It was real").click()
    expect(page.get_by_role("button", name="It was real")).to_have_attribute("aria-pressed", "true")
    found = running.anomaly()
    assert (found["status"], found["acknowledged"]["by"], found["acknowledged"]["comment"]) == (
        "acknowledged",
        USER,
        "on it <b>",
    )
    assert found["feedback"]["verdict"] == "confirmed"
    page.reload()
    expect(page.get_by_text("Acknowledged by eve: on it <b>")).to_be_visible()
    expect(page.get_by_role("button", name="Acknowledge", exact=True)).to_have_count(0)


def test_a_chart_shows_what_was_decided_and_is_moved_in(visit, picture, running: Stack) -> None:
    page = visit(viewport=SCREEN).open("/graph?query=latency_p99&service=checkout")
    chart = page.locator("figure[data-part=band]")
    drawn(chart)
    plot = chart.locator(".u-over").first
    box = plot.bounding_box()
    plot.hover(position={"x": box["width"] / 2, "y": 40})
    readout = chart.locator(".readout")
    expect(readout).to_contain_text("observed")
    # The newest sample, whichever pixel that is.
    chart.locator(".plot").focus()
    page.keyboard.press("End")
    expect(readout).to_contain_text("anomalous")
    expect(readout).to_contain_text("votes, 3 are enough")
    expect(readout).to_contain_text("severities: zscore")
    # The newest hour, by dragging; the address follows, and what it shows can be sent to somebody.
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 1, box["y"] + 60, steps=4)
    page.mouse.up()
    page.wait_for_url("**from=*to=*")
    drawn(chart)
    page.keyboard.press("Tab")
    chart.locator(".plot").focus()
    page.keyboard.press("Escape")
    page.wait_for_url(lambda url: "from=" not in url)
    page.keyboard.press("ArrowLeft")
    expect(readout).to_contain_text("observed")
    picture(page, "chart")


def test_chart_tile_metric_and_api_say_the_same_of_every_instant(running: Stack) -> None:
    labels = {"query": "latency_p99", "service": "checkout"}

    def decided() -> dict:
        chart = running.ask("/chart.json", params={**labels, "quick": "yes", "from": f"{time.time() - 90:.0f}"}).json()
        return dict(
            zip(chart["times"], zip(chart["lines"]["score"], chart["lines"]["observed"], strict=True), strict=True)
        )

    def agree() -> bool:
        query = {"query": "latency_p99", "match[]": 'service="checkout"'}
        (tile,) = running.ask("/api/v1/series", params=query).json()["data"]["series"]
        metric = running.exporter.sample("anomaly_score", service="checkout", query="latency_p99")
        score, observed = decided().get(round(tile["at"], 3), (None, None))
        if score is None or metric != tile["score"]:
            # A slot ended in between.
            return False
        assert score == pytest.approx(tile["score"], abs=1e-4)
        assert observed == pytest.approx(tile["observed"], rel=1e-5)
        return True

    for _ in range(5):
        eventually(agree, 60.0, what="a slot that all of them show")


def test_an_incident_can_be_followed_from_the_list(visit, picture, running: Stack) -> None:
    page = visit(viewport=SCREEN).open("/anomalies")
    page.get_by_label("State").select_option("resolved")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_text("No anomaly fits this filter.")).to_be_visible()
    page.goto("/anomalies?fired=all")
    page.locator(".episodes a.name").first.click()
    expect(page.locator("h1")).to_contain_text("latency_p99")
    timeline = page.locator(".timeline")
    expect(timeline).to_contain_text("became anomalous")
    expect(timeline).to_contain_text("its alert fired")
    expect(timeline).to_contain_text("notifies hook")
    expect(page.locator("#message")).to_contain_text("/incident?id=")
    drawn(page.locator("figure").first)
    page.evaluate("scrollTo({top: 0, behavior: 'instant'})")
    picture(page, "incident", full_page=True)
    page.get_by_role("link", name="What would change").click()
    expect(page.locator("h1")).to_have_text("What would change: latency_p99")


def test_an_expression_is_tried_to_its_end(visit, running: Stack) -> None:
    page = visit(viewport=SCREEN).open("/")
    page.get_by_role("link", name="Explore").click()
    page.get_by_role("textbox", name="Expression").fill('latency{service="checkout"}')
    page.get_by_label("Direction").select_option("above")
    page.get_by_label("Least relative deviation").fill("0.5")
    page.get_by_label("Budget").fill("2/week")
    page.get_by_label("Time").select_option("1")
    page.get_by_role("button", name="Try").click()
    expect(page.locator("#result")).to_contain_text("It would have alerted", timeout=4 * PATIENCE)
    # The slow hours of today.
    expect(page.locator("#result")).not_to_contain_text("0 times")
    chart = page.locator("figure").first
    drawn(chart)
    expect(chart).to_have_attribute("data-state", "complete", timeout=4 * PATIENCE)
    expect(chart.locator(".source")).to_contain_text("judged anew from history")
    expect(page.locator("#query")).to_contain_text("budget: 2/week")


def test_what_other_settings_would_change_is_written_in(visit, running: Stack) -> None:
    page = visit(viewport=SCREEN).open("/graph?query=latency_p99&service=checkout")
    page.locator("[data-what-if]").scroll_into_view_if_needed()
    written = page.locator("section", has=page.locator("#others")).locator(".outcome")
    expect(written).to_contain_text(
        re.compile("alerts would not have been|would have spared an alert|nothing to compare")
    )


def test_the_baseline_is_a_map_and_numbers(visit, running: Stack) -> None:
    page = visit(viewport=SCREEN).open("/graph?query=latency_p99&service=checkout")
    week = page.locator(".week")
    expect(week.locator("tbody td")).to_have_count(168)
    expect(week.locator(".now")).to_have_count(1)
    numbers = running.ask("/api/v1/baseline", params={"query": "latency_p99", "service": "checkout"}).json()["data"]
    assert len(numbers["buckets"]) == 168
    shown = float(week.locator("tbody td").nth(numbers["current"]).inner_text())
    assert shown == pytest.approx(numbers["buckets"][numbers["current"]]["mean"], rel=0.02)


@pytest.mark.parametrize(("scheme", "screen"), [("light", SCREEN), ("dark", SCREEN), ("dark", PHONE)])
def test_axe_finds_no_serious_fault(visit, axe: str, scheme: str, screen: dict, running: Stack) -> None:
    """On every page: each is opened in a theme and a size, with its charts."""
    incident = running.anomaly()["id"]
    pages = (
        "/",
        "/?text=nothing+has+this",
        "/anomalies?fired=all",
        "/graph?query=latency_p99&service=checkout",
        f"/incident?id={incident}",
        "/what-if?query=latency_p99",
        "/explore?expr=latency&days=1&budget=odd",
    )
    watched = visit(color_scheme=scheme, viewport=screen)
    serious = []
    for path in pages:
        page = watched.page
        page.goto(path, wait_until="load")
        for chart in page.locator("figure[data-chart]").all():
            drawn(chart)
        # Evaluated by the browser's tools: the page itself may load no other script.
        page.evaluate(axe)
        result = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        serious += [
            (path, fault["id"], fault["impact"], [node["html"][:120] for node in fault["nodes"][:3]])
            for fault in result["violations"]
            if fault["impact"] in ("serious", "critical")
        ]
    # A form that is not understood answers with a status of its own.
    watched.complaints.clear()
    assert serious == []


def test_everything_can_be_read_without_a_script(visit, running: Stack) -> None:
    watched = visit(scripted=False)
    page = watched.open("/")
    expect(page.get_by_text("1 open anomaly")).to_be_visible()
    page.locator(".cards a.name").first.click()
    expect(page.get_by_text("votes for an anomaly").first).to_be_visible()
    expect(page.locator("form.act").first).to_be_hidden()
    watched.check = lambda exporter: None  # It asks a script.


def test_the_keyboard_is_enough(visit, running: Stack) -> None:
    page = visit().open("/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('.cards a.name')"):
            break
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("latency_p99")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_has_to_be_scrolled_sideways(visit, picture, scheme, running: Stack) -> None:
    options = {"viewport": PHONE, "device_scale_factor": 2, "is_mobile": True}
    page = visit(color_scheme=scheme, **options).open("/")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    # Whether something is wrong, and what, is on the first screen; a series takes a few lines.
    for answer in (page.get_by_text("1 open anomaly"), page.locator(".cards li p:has-text('expected')").first):
        box = answer.bounding_box()
        assert box["y"] + box["height"] < options["viewport"]["height"]
    rows = page.locator(".verdicts tbody tr").evaluate_all(
        "rows => rows.map(row => row.offsetHeight).sort((a, b) => a - b)"
    )
    assert 0 < rows[len(rows) // 2] < 140, rows
    page.locator(".cards a.name").first.click()
    drawn(page.locator("figure").first)
    chart = page.locator("figure").last
    drawn(chart)
    assert f"theme={scheme}" in chart.locator("img").evaluate("one => one.currentSrc")
    assert "size=narrow" in chart.locator("img").evaluate("one => one.currentSrc")
    page.evaluate("scrollTo({top: 0, behavior: 'instant'})")
    picture(page, f"phone-{scheme}")


def test_what_is_not_there_is_said(running: Stack) -> None:
    gone = running.ask("/graph", params={"query": "requests", "service": "gone"})
    assert (gone.status_code, "nothing can be said so far" in gone.text) == (200, True)
    chart = running.ask("/chart.svg", params={"query": "requests", "service": "gone"})
    assert (chart.status_code, "no samples of this series" in chart.text) == (404, True)
    unknown = running.ask("/graph", params={"query": "<none>"})
    assert unknown.status_code == 404
    assert "&#39;&lt;none&gt;&#39;; there are: latency_p99, requests" in unknown.text
    tomorrow = running.ask(f"/chart.svg?query=requests&from={time.time() + DAY:.0f}&to={time.time() + 2 * DAY:.0f}")
    assert (tomorrow.status_code, "lies in the future" in tomorrow.text) == (400, True)


def test_the_same_for_a_message_is_a_png(running: Stack) -> None:
    answer = running.ask("/chart.png", params={"query": "latency_p99", "service": ODD})
    assert (answer.status_code, answer.content[:4]) == (200, b"\x89PNG")
    assert running.ask("/chart.png", params={"query": "none"}).status_code == 404
