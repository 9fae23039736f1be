"""The pages in a real browser, against a live stack. With ``--screenshots`` the pictures of the documents are taken."""

from __future__ import annotations

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
from tests.integration.process import binary, eventually
from tests.integration.servers import Alertmanager, Prometheus
from tests.integration.shop import ODD, ShopFeed

pytestmark = pytest.mark.integration

USER, PASSWORD = "eve", "correct horse"
IMAGES = Path(__file__).parent.parent.parent / "docs" / "images"
DAY = 86400.0
SCREEN = {"width": 1200, "height": 1000}
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
        exporter = Exporter(home / "exporter", config, f"--web.config.file={web}", auth=(USER, PASSWORD))
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
    """Bring a chart into view and wait until it is there."""
    chart.scroll_into_view_if_needed()
    eventually(lambda: chart.evaluate("one => one.naturalWidth"), PATIENCE / 1000)


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
    drawn(page.locator("figure img").first)
    # Opened alone, a chart is a document too.
    page.goto(page.locator("figure img").first.get_attribute("src"))


def test_the_graph_of_the_anomaly_explains_it(visit, picture, running: Stack) -> None:
    page = visit(viewport=SCREEN).open("/")
    page.locator(".cards a.name").first.click()
    expect(page.locator("h1")).to_have_text("latency_p99")
    expect(page.get_by_text("votes for an anomaly").first).to_be_visible()
    expect(page.locator(".facts")).to_contain_text("anomalous")
    page.get_by_role("link", name="12 h").click()
    for chart in page.locator("figure img").all():
        drawn(chart)
    page.evaluate("scrollTo({top: 0, behavior: 'instant'})")
    picture(page, "graph")


def test_it_is_acknowledged_and_called_confirmed(visit, running: Stack) -> None:
    page = visit().open("/")
    page.locator(".cards a.name").first.click()
    first = page.locator("form.act").first
    first.get_by_label("Comment").fill("on it <b>")
    first.get_by_role("button", name="Acknowledge").click()
    expect(first.locator(".said")).to_have_text("Acknowledged.")
    page.get_by_role("button", name="It was real").click()
    expect(page.get_by_text("Thank you; noted.")).to_be_visible()
    found = running.anomaly()
    assert (found["status"], found["acknowledged"]["by"], found["acknowledged"]["comment"]) == (
        "acknowledged",
        USER,
        "on it <b>",
    )
    assert found["feedback"]["verdict"] == "confirmed"
    page.reload()
    expect(page.get_by_text("Acknowledged by eve: on it <b>")).to_be_visible()
    expect(page.get_by_role("button", name="Acknowledge")).to_have_count(0)


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
    options = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "is_mobile": True}
    page = visit(color_scheme=scheme, **options).open("/")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.locator(".cards a.name").first.click()
    drawn(page.locator("figure img").first)
    page.evaluate("scrollTo({top: 0, behavior: 'instant'})")
    chart = page.locator("figure img").first.evaluate("one => one.currentSrc")
    assert f"theme={scheme}" in chart
    assert "size=narrow" in chart
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
