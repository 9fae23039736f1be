"""Pages, ``/metrics``, API, audit and Alertmanager agree on every instant of a run with incidents.

The verdicts that are kept are the measure of the others. With ``ANOMALY_EXPORTER_CAMPAIGN`` set, the run has twenty
incidents and some six minutes of slots, a crash and a source that is away among them.
"""

from __future__ import annotations

import math
import os
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import RunAlertmanager, RunPrometheus
from tests.integration.daemon import Exporter, Feed, configuration
from tests.integration.process import eventually, free_port
from tests.integration.servers import Prometheus
from tests.integration.webhook import Webhook
from tests.integration.witnesses import Answer, Tile, Witnesses, overview_of, seconds_of, tile_of

pytestmark = pytest.mark.integration

CAMPAIGN = bool(os.environ.get("ANOMALY_EXPORTER_CAMPAIGN"))
PATIENCE = 120.0
HOSTS = [f"host{number}:9100" for number in range(3)]
SCRAPED = {
    "anomaly_score": "score",
    "expected_value": "expected",
    "expected_value_lower": "lower",
    "expected_value_upper": "upper",
    "observed_value": "observed",
    "anomaly_votes": "votes",
}
Verdicts = dict[float, dict[str, float]]
"""From the slot to score, expected value, band, sample and votes; NaN = absent."""


@dataclass(frozen=True)
class Episode:
    """One anomaly as the audit has it; times are slots, infinite where it did not come so far."""

    id: str
    instance: str
    incident: str
    opened: float
    fired: float
    ended: float

    def state(self, slot: float) -> str:
        """What it is after a slot; empty before and after its life."""
        if not self.opened <= slot < self.ended:
            return ""
        return "firing" if slot >= self.fired else "pending"


@dataclass
class Run:
    """All that was said in one run."""

    exporter: Exporter
    prometheus: Prometheus
    webhook: Webhook
    witnesses: Witnesses
    decided: dict[str, Verdicts]
    episodes: list[Episode]

    @property
    def slots(self) -> list[float]:
        return sorted(self.decided[HOSTS[0]])

    def at(self, seconds: int) -> float | None:
        """Return the slot that a page wrote in whole seconds; None: it came after the run."""
        place = bisect_left(self.slots, seconds)
        return self.slots[place] if place < len(self.slots) and self.slots[place] < seconds + 1 else None

    def states(self, slot: float) -> dict[tuple[str, int], str]:
        """Return the open anomalies after a slot, as a front page has them."""
        return {(each.instance, int(each.opened)): each.state(slot) for each in self.episodes if each.state(slot)}


def incidents(run: Callable[[dict[int, float], float], None], exporter: Exporter, prometheus: Prometheus) -> None:
    """Make incidents: of one series, of a cause and its effect, and one that is over before its alert fires."""
    for number in range(20 if CAMPAIGN else 4):
        kind = number % 4
        if kind == 3:
            run({0: 4.0}, 1.2)
        elif kind == 1:
            run({1: 3.0}, 2.5)
            run({1: 3.0, 2: 3.0}, 6.0)
        else:
            run({kind: 3.0 + 0.2 * number}, 5.0)
            if number == 6:
                exporter.kill()
                exporter.start()
            if number == 10:
                prometheus.stop()
                time.sleep(3.0)
                prometheus.start()
            run({kind: 3.0 + 0.2 * number}, 2.0)
        run({}, 10.0 if CAMPAIGN else 6.0)


@pytest.fixture
def run(
    run_prometheus: RunPrometheus,
    run_alertmanager: RunAlertmanager,
    webhook: Webhook,
    stack: ExitStack,
    tmp_path: Path,
) -> Run:
    port = free_port()
    scrape = {"job_name": "exporter", "honor_labels": True, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
    prometheus = run_prometheus(config={"scrape_configs": [scrape]})
    alertmanager = run_alertmanager(webhook=webhook.url, group_by=["instance"])
    feed = stack.enter_context(Feed(prometheus))
    depends = [{"caller": {"instance": HOSTS[2]}, "callee": {"instance": HOSTS[1]}}]
    config = configuration(prometheus.url, [alertmanager.url], dependencies=depends, silences={"interval": "1s"})
    exporter = stack.enter_context(Exporter(tmp_path / "exporter", config, port=port))
    exporter.wait_for_scores(PATIENCE)
    began = time.time()

    def act(factors: dict[int, float], seconds: float) -> None:
        feed.factor[:] = [factors.get(number, 1.0) for number in range(len(HOSTS))]
        time.sleep(seconds)

    with Witnesses(exporter, alertmanager, HOSTS[1]) as witnesses:
        incidents(act, exporter, prometheus)
        eventually(lambda: not exporter.ask("/api/v1/anomalies?status=open").json()["data"]["anomalies"], PATIENCE)
        eventually(lambda: alertmanager.alerts() == [], PATIENCE)
        ended = time.time()
    return Run(
        exporter,
        prometheus,
        webhook,
        witnesses,
        {host: kept(exporter, host, began, ended) for host in HOSTS},
        [episode(exporter, each["id"]) for each in anomalies(exporter)],
    )


def kept(exporter: Exporter, instance: str, start: float, end: float) -> Verdicts:
    """Return the verdicts on a series that are kept, by slot."""
    # A chart is of a minute at least; what was judged before `start` is left out.
    address = f"/chart.json?query=load&instance={instance}&from={min(start, end - 61):.0f}&to={end:.0f}"
    chart = exporter.ask(address).json()
    assert chart["step"] == pytest.approx(1.0, abs=0.01), "a point is more than one slot"
    lines = {name: [math.nan if v is None else v for v in chart["lines"][name]] for name in SCRAPED.values()}
    return {
        slot: {name: line[place] for name, line in lines.items()}
        for place, slot in enumerate(chart["times"])
        if slot >= start and not math.isnan(lines["score"][place])
    }


def anomalies(exporter: Exporter) -> list[dict[str, Any]]:
    return list(exporter.ask("/api/v1/anomalies?query=load").json()["data"]["anomalies"])


def episode(exporter: Exporter, identity: str) -> Episode:
    """Read an episode and its audit, which have to agree."""
    answer = exporter.ask(f"/api/v1/anomalies/{identity}").json()["data"]
    anomaly, steps = answer["anomaly"], {each["event"]: each for each in answer["transitions"]}
    assert all(each["intact"] for each in answer["transitions"])
    fired, ended = steps.get("firing"), steps.get("resolved") or steps.get("dropped")
    assert anomaly["opened_at"] == steps["open"]["at"]
    assert anomaly["fired_at"] == (None if fired is None else fired["at"])
    assert anomaly["resolved_at"] == (None if ended is None else ended["at"])
    return Episode(
        identity,
        anomaly["labels"]["instance"],
        anomaly["labels"].get("incident", ""),
        anomaly["opened_at"],
        math.inf if fired is None else fired["at"],
        math.inf if ended is None else ended["at"],
    )


# ---------------------------------------------------------------- the test


@pytest.mark.timeout(900)
def test_all_that_is_said_of_an_instant_agrees(run: Run) -> None:
    least = 15 if CAMPAIGN else 3
    assert sum(each.fired < math.inf for each in run.episodes) > least, run.episodes
    faults = [
        *scores_and_audit(run),
        *scraped(run),
        *counted(run),
        *api(run),
        *front_pages(run),
        *graph_pages(run),
        *alertmanager(run),
        *notifications(run),
        *lists(run),
    ]
    assert faults == [], "\n".join(faults[:40])


def scores_and_audit(run: Run) -> Iterator[str]:
    """Yield where an episode is not the run of anomalous slots that it should be."""
    for host, verdicts in run.decided.items():
        own = sorted((each for each in run.episodes if each.instance == host), key=lambda each: each.opened)
        for slot, verdict in verdicts.items():
            is_open = any(each.state(slot) for each in own)
            if is_open != (verdict["score"] >= 0.5):
                yield f"{host} at {slot}: score {verdict['score']}, open in the audit: {is_open}"
        for each in own:
            for slot in (each.opened, each.fired, each.ended):
                if slot < math.inf and not any(abs(slot - decided) < 2e-3 for decided in verdicts):
                    yield f"{host}: {each} has {slot}, which is no slot"


def same(spoken: float, decided: float) -> bool:
    """Whether two numbers are one but for the digits that are kept."""
    return math.isclose(spoken, decided, rel_tol=1e-5, abs_tol=2e-5) or (math.isnan(spoken) and math.isnan(decided))


def differences(spoken: dict[str, float], decided: dict[str, float]) -> list[str]:
    apart = [name for name, value in spoken.items() if not same(value, decided[name])]
    if (spoken["score"] >= 0.5) != (decided["score"] >= 0.5):
        apart.append("anomalous")
    return [f"{name} {spoken.get(name)}, decided {decided.get(name)}" for name in apart]


def scraped(run: Run) -> Iterator[str]:
    """Yield what Prometheus scraped and was not decided; a scrape has the verdict of one slot."""
    names = "|".join(SCRAPED)
    pages: dict[tuple[str, float], dict[str, float]] = {}
    for series in run.prometheus.query(f'{{__name__=~"{names}",query="load"}}[1h]'):
        labels = series["metric"]
        for at, value in series["values"]:
            pages.setdefault((labels["instance"], at), {})[SCRAPED[labels["__name__"]]] = float(value)
    seen = set()
    for (host, at), page in pages.items():
        if not run.slots[0] + 2 < at < run.slots[-1]:
            continue
        page = {**dict.fromkeys(SCRAPED.values(), math.nan), **page}
        near = [slot for slot in run.decided[host] if at - 10.0 <= slot <= at]
        slots = [slot for slot in near if same(page["observed"], run.decided[host][slot]["observed"])]
        apart = [differences(page, run.decided[host][slot]) for slot in slots]
        seen.update(slots)
        if not slots:
            yield f"scrape at {at} of {host} has {page}, which no slot has"
        elif all(apart):
            yield f"scrape at {at} of {host}: {apart}"
    if len(seen) < len(run.slots) // 2:
        yield f"only {len(seen)} of {len(run.slots)} slots were scraped"


def counted(run: Run) -> Iterator[str]:
    """Yield where the number of alerts that was scraped is that of no slot of the seconds before.

    Metrics of the exporter itself are up to a second old.
    """
    for series in run.prometheus.query('anomaly_exporter_alerts{query="load",state=~"pending|firing"}[1h]'):
        state = series["metric"]["state"]
        for at, value in series["values"]:
            near = [slot for slot in run.slots if at - 3.5 <= slot <= at]
            counts = {sum(each.state(slot) == state for each in run.episodes) for slot in near}
            if len(near) > 2 and float(value) not in counts:
                yield f"scrape at {at}: {value} alerts are {state}, of the audit {counts}"


def api(run: Run) -> Iterator[str]:
    """Yield what the API said of the newest slot and was not decided, and open anomalies that were none."""
    for answer in run.witnesses.answers["series"]:
        for series in answer.body:
            decided = run.decided[series["labels"]["instance"]].get(round(series["at"], 3))
            if decided is None:
                if run.slots[0] < series["at"] < run.slots[-1]:
                    yield f"API at {series['at']}: no such slot"
                continue
            spoken = {name: math.nan if series[name] is None else series[name] for name in decided}
            yield from (f"API at {series['at']}: {text}" for text in differences(spoken, decided))
            if series["anomalous"] != (decided["score"] >= 0.5):
                yield f"API at {series['at']}: anomalous is {series['anomalous']}"
    begun = {each.id: (each.opened, each.ended) for each in run.episodes}
    yield from lived("API", run.witnesses.answers["open"], begun, lambda body: {each["id"] for each in body})


def lived(
    who: str, answers: list[Answer], lives: dict[Any, tuple[float, float]], present: Callable[[Any], set[Any]]
) -> Iterator[str]:
    """Yield where something is listed before it began, is not listed once it was and before it ended, or comes back."""
    seen, gone = set(), set()
    for answer in answers:
        now = present(answer.body)
        for each in now - lives.keys():
            yield f"{who} at {answer.answered}: {each} never was"
        for each in now & lives.keys():
            if lives[each][0] > answer.answered:
                yield f"{who} at {answer.answered}: {each} had not begun"
            if each in gone:
                yield f"{who} at {answer.answered}: {each} is listed again"
        for each in seen - now - gone:
            gone.add(each)
            if answer.answered < lives[each][1]:
                yield f"{who} at {answer.answered}: {each} is missing and had not ended"
        seen |= now & lives.keys()


def front_pages(run: Run) -> Iterator[str]:
    """Yield where a front page contradicts what was decided in its slot.

    Alerts are stored and then shown, so the cards may be those of the slot that follows.
    """
    for answer in run.witnesses.answers["overview"]:
        page = overview_of(answer.body)
        slot = None if page.judged is None else run.at(page.judged)
        if slot is None or slot == run.slots[-1]:
            continue
        for host, tile in page.tiles.items():
            yield from (f"front page of {slot}, {host}: {text}" for text in apart(tile, run.decided[host][slot]))
        following = run.slots[run.slots.index(slot) + 1]
        if page.cards not in (run.states(slot), run.states(following)):
            yield f"front page of {slot} has {page.cards}, not {run.states(slot)}"
        count = sum(verdicts[slot]["score"] >= 0.5 for verdicts in run.decided.values() if slot in verdicts)
        if "1 query failing: its series are unknown" in page.summary:
            if "anomalous now" in page.summary:
                yield f"front page of {slot}: “{page.summary}”"
        elif f" {count} of {len(page.tiles)} series anomalous now" not in page.summary:
            yield f"front page of {slot}: “{page.summary}”, and {count} are anomalous"


def apart(tile: Tile, decided: dict[str, float]) -> Iterator[str]:
    """Yield what a page says of a series that was not decided."""
    if tile.red != (decided["score"] >= 0.5) or tile.red != (float(tile.score) >= 0.5):
        yield f"{tile} for a score of {decided['score']}"
    if abs(float(tile.score) - decided["score"]) > 0.0101:
        yield f"score {tile.score}, decided {decided['score']}"
    if float(tile.votes) != decided["votes"]:
        yield f"votes {tile.votes}, decided {decided['votes']}"


def graph_pages(run: Run) -> Iterator[str]:
    """Yield where the page of a series contradicts what was decided in its slot."""
    for answer in run.witnesses.answers["graph"]:
        spoken = tile_of(answer.body)
        slot = None if spoken is None else run.at(spoken[0])
        if spoken is None or slot is None:
            continue
        _, state, tile = spoken
        yield from (f"graph at {slot}: {text}" for text in apart(tile, run.decided[HOSTS[1]][slot]))
        if (state == "anomalous") != tile.red:
            yield f"graph at {slot}: “{state}” with a score of {tile.score}"


def instant(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def alertmanager(run: Run) -> Iterator[str]:
    """Yield alerts that Alertmanager had and the audit has not, or the other way round."""
    lives = {(each.instance, round(each.fired, 2)): (each.fired, each.ended) for each in run.episodes}
    lives = {key: life for key, life in lives.items() if life[0] < math.inf}

    def active(body: list[dict[str, Any]]) -> set[tuple[str, float]]:
        return {(each["labels"]["instance"], round(instant(each["startsAt"]), 2)) for each in body}

    yield from lived("Alertmanager", run.witnesses.answers["alertmanager"], lives, active)
    incident = {(each.instance, round(each.fired, 2)): each.incident for each in run.episodes}
    for answer in run.witnesses.answers["alertmanager"]:
        for alert in answer.body:
            key = (alert["labels"]["instance"], round(instant(alert["startsAt"]), 2))
            if alert["labels"].get("incident", "") != incident.get(key):
                yield f"Alertmanager: {key} is of incident {alert['labels'].get('incident')}, not {incident.get(key)}"


def notifications(run: Run) -> Iterator[str]:
    """Yield what was notified and is not what the audit has: once firing, once resolved, with its beginning and end."""
    told: dict[tuple[str, float], list[str]] = {}
    for note in run.webhook.notifications:
        for alert in note.alerts:
            key = (alert["labels"]["instance"], round(instant(alert["startsAt"]), 2))
            told.setdefault(key, []).append(alert["status"])
            if alert["status"] == "resolved":
                ends = [each.ended for each in run.episodes if (each.instance, round(each.fired, 2)) == key]
                if not ends or abs(ends[0] - instant(alert["endsAt"])) > 2e-3:
                    yield f"notified end of {key} is {alert['endsAt']}, of the audit {ends}"
    expected = {(each.instance, round(each.fired, 2)) for each in run.episodes if each.fired < math.inf}
    for key in expected | told.keys():
        if told.get(key) != ["firing", "resolved"]:
            yield f"notified of {key}: {told.get(key)}"


def lists(run: Run) -> Iterator[str]:
    """Yield where the list of anomalies and the pages of incidents contradict the audit."""
    page = run.exporter.ask("/anomalies?fired=all").text
    rows = {row.partition("incident?id=")[2].partition('"')[0]: row for row in page.split("<tr>")[2:]}
    for each in run.episodes:
        row = rows[each.id]
        if seconds_of(row)[0] != int(each.opened):
            yield f"/anomalies: {each} since {seconds_of(row)}"
        if ">resolved</span>" not in row:
            yield f"/anomalies: {each} is not over"
        whole = run.exporter.ask(f"/incident?id={each.id}").text
        timeline = whole.partition('class="timeline"')[2].partition("</ol>")[0]
        entries = {
            kind: seconds_of(entry)[0]
            for entry in timeline.split("<li>")[1:]
            for kind in ("pending", "firing", "resolved", "dropped")
            if f">{kind}</span>" in entry
        }
        expected = {"pending": each.opened, "firing": each.fired, "resolved": each.ended}
        expected = {kind: int(at) for kind, at in expected.items() if at < math.inf}
        if entries != expected:
            yield f"/incident: {each} has {entries}"
