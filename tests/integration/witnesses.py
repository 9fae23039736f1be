"""What a running exporter says from second to second: its pages and API, and what Alertmanager has of it."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from html import unescape
from typing import Any, Self

import requests

from tests.integration.daemon import Exporter
from tests.integration.servers import Alertmanager

__all__ = ["Answer", "Overview", "Tile", "Witnesses", "overview_of", "seconds_of", "tile_of"]

_PAUSE = 0.2


@dataclass(frozen=True)
class Answer:
    """What was answered, and when it was asked and answered, Unix seconds."""

    asked: float
    answered: float
    body: Any


class Witnesses:
    """Asks all that say something of the query ``load``, again and again while the block runs.

    Attributes
    ----------
    answers : dict of str to list of Answer
        ``overview`` and ``graph`` are pages; ``series`` and ``open`` are answers of the API; ``alertmanager`` has the
        alerts that it lists as active.
    """

    def __init__(self, exporter: Exporter, alertmanager: Alertmanager, watched: str) -> None:
        graph = f"/graph?query=load&instance={watched}"
        self._asked: dict[str, Callable[[], Any]] = {
            "overview": lambda: exporter.ask("/").text,
            "graph": lambda: exporter.ask(graph).text,
            "series": lambda: exporter.ask("/api/v1/series?query=load").json()["data"]["series"],
            "open": lambda: exporter.ask("/api/v1/anomalies?status=open").json()["data"]["anomalies"],
            "alertmanager": alertmanager.alerts,
        }
        self.answers: dict[str, list[Answer]] = {name: [] for name in self._asked}
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=item, daemon=True) for item in self._asked.items()]

    def _ask(self, name: str, ask: Callable[[], Any]) -> None:
        while not self._stopping.wait(_PAUSE):
            asked = time.time()
            with contextlib.suppress(requests.RequestException):  # It is down, or starts.
                body = ask()
                self.answers[name].append(Answer(asked, time.time(), body))

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()


@dataclass(frozen=True)
class Tile:
    """What a page says of a series: its score as written, whether in red, and the votes as written."""

    score: str
    red: bool
    votes: str


@dataclass(frozen=True)
class Overview:
    """The front page.

    Attributes
    ----------
    judged : int
        Whole seconds of the slot; None: not so far.
    cards : dict
        From the instance and the beginning of an open anomaly, whole seconds, to its state.
    tiles : dict
        By instance.
    """

    judged: int | None
    summary: str
    cards: dict[tuple[str, int], str]
    tiles: dict[str, Tile]


_INSTANCE = re.compile(r'title="instance=([^"]+)"')
_SCORE = re.compile(r'<span class="score( bad)?">([\d.]+) ')
_TIME = re.compile(r'<time datetime="([^"]+)"')


def seconds_of(text: str) -> list[int]:
    """Return the instants of a piece of a page, whole Unix seconds."""
    return [int(datetime.fromisoformat(at).timestamp()) for at in _TIME.findall(text)]


def overview_of(page: str) -> Overview:
    """Read a front page."""
    (summary,) = re.findall(r'<p class="summary">(.*?)</p>', page, re.DOTALL)
    anomalies = page.partition('id="anomalies"')[2].partition("</section>")[0]
    queries = page.partition('id="queries"')[2].partition("</section>")[0]
    judged = seconds_of(queries.partition('data-head="Judged"')[2])
    return Overview(
        judged[0] if judged else None,
        unescape(re.sub(r"<[^>]+>", "", summary)),
        dict(_cards(anomalies)),
        dict(_rows(page.partition('id="series"')[2].partition("</section>")[0])),
    )


def _cards(section: str) -> Iterator[tuple[tuple[str, int], str]]:
    for card in section.split("<li>")[1:]:
        (state,) = re.findall(r'<span class="badge \w+">(\w+)</span>', card)
        (instance,) = _INSTANCE.findall(card)
        yield (instance, seconds_of(card)[0]), state


def _rows(section: str) -> Iterator[tuple[str, Tile]]:
    for row in section.split("<tr>")[1:]:
        for instance in _INSTANCE.findall(row):
            (bad, score), (votes,) = _SCORE.findall(row)[0], re.findall(r'data-head="Votes">(.*?)</td>', row)
            yield instance, Tile(score, bool(bad), votes)


def tile_of(page: str) -> tuple[int, str, Tile] | None:
    """Return the slot in whole seconds, the state in words, and the verdict of a graph page; None: it has none."""
    facts = page.partition('<dl class="facts">')[2].partition("</dl>")[0]
    judged, scores = seconds_of(facts), _SCORE.findall(facts)
    if not judged or not scores:
        return None
    (state,) = re.findall(r'<dt>State</dt><dd><span class="badge \w+">(.*?)</span>', facts)
    (votes,) = re.findall(r"<dt>Votes</dt><dd>(\d+)", facts)
    bad, score = scores[0]
    return judged[0], state, Tile(score, bool(bad), votes)
