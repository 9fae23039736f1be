"""The ``/metrics`` page: the newest rows of every query and group, then the exporter's own metrics.

Scores are computed on a schedule, as recording rules are, and not at a scrape. Publishing replaces all rows of a query
at once; a scrape never mixes two publications.
"""

from __future__ import annotations

import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry

from exporter.alerting.suppressed import SUPPRESSION_REASONS, SuppressionCodes, suppression_reason
from exporter.deflate import crc32
from exporter.exposition.families import FAMILIES, SUPPRESSED, group_scores, split_metric
from exporter.exposition.formats import ALLOW_UTF8, Format, gzip_accepted, negotiate
from exporter.exposition.fragment import Fragment, RenderedMetric, join_checksums, render_rows
from exporter.exposition.registry_writer import RegistryWriter

__all__ = ["Exposition", "Page", "Scrape"]

FloatArray = NDArray[np.float64]

_HEADS = {
    metric: Fragment(f"# HELP {metric} {text}\n# TYPE {metric} gauge\n".encode()) for metric, text in FAMILIES.items()
}

# Deflate, no name, no time, written for speed, on an unknown system.
_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\xff"


@dataclass(frozen=True, slots=True)
class _Suppressed(RenderedMetric):
    """The rows of `SUPPRESSED`, and what they follow from."""

    of: tuple[bytes, ...]
    codes: bytes


def _suppressed(
    prefixes: tuple[bytes, ...], codes: SuppressionCodes | None, before: Mapping[str, RenderedMetric]
) -> dict[str, RenderedMetric]:
    """Return the rows of `SUPPRESSED` by its name, each with its reason: a few, or all while they are young."""
    if codes is None or not codes.any():
        return {}
    same, key = before.get(SUPPRESSED), codes.tobytes()
    if isinstance(same, _Suppressed) and same.of is prefixes and same.codes == key:
        return {SUPPRESSED: same}
    endings = [f',reason="{suppression_reason(code)}"'.encode() for code in range(len(SUPPRESSION_REASONS) + 1)]
    chosen = np.flatnonzero(codes)
    rows = [
        prefixes[row] and prefixes[row] + endings[code]
        for row, code in zip(chosen.tolist(), codes[chosen].tolist(), strict=True)
    ]
    made = render_rows(SUPPRESSED, rows, np.ones(len(rows)), same)
    return {SUPPRESSED: _Suppressed(made.prefixes, made.values, made.fragments, prefixes, key)}


def _key(published: tuple[tuple[str, str], object]) -> tuple[str, str]:
    return published[0]


class Page:
    """An immutable sequence of fragments.

    Parameters
    ----------
    published : sequence of mapping from metric to RenderedMetric
        Of each query or group, in the order of their rows.
    """

    def __init__(self, published: Sequence[Mapping[str, RenderedMetric]] = ()) -> None:
        fragments: list[Fragment] = []
        for metric, head in _HEADS.items():
            columns = [part for parts in published for key, part in parts.items() if split_metric(key)[0] == metric]
            rows = [fragment for column in columns for fragment in column.fragments if fragment.size]
            if rows:
                fragments += [head, *rows]
        self.fragments = tuple(fragments)
        self.size = sum(fragment.size for fragment in fragments)
        self._packed: tuple[list[bytes], int] | None = None

    def plain(self, ending: bytes) -> Iterator[bytes]:
        """Yield the page with `ending` appended, as text."""
        for fragment in self.fragments:
            yield from fragment.text()
        yield ending

    def gzipped(self, ending: bytes) -> list[bytes]:
        """Return the page with `ending` appended as the pieces of one gzip member."""
        if self._packed is None:
            pieces, crc = [], 0
            for fragment in self.fragments:
                packed = fragment.packed()
                pieces.append(packed.deflated)
                crc = join_checksums(crc, packed)
            self._packed = pieces, crc
        pieces, crc = self._packed
        deflater = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
        trailer = struct.pack("<II", crc32(ending, crc), (self.size + len(ending)) & 0xFFFFFFFF)
        last = deflater.compress(ending) + deflater.flush() + trailer
        return [_GZIP_HEADER, *pieces, last]


@dataclass(frozen=True, slots=True)
class Scrape:
    """The answer to one scrape.

    Parameters
    ----------
    content_encoding : str or None
        ``gzip``, or None for plain text.
    length : int
        Bytes of the body.
    body : iterator of bytes
        The body in pieces of any size.
    """

    content_type: str
    content_encoding: str | None
    length: int
    body: Iterator[bytes]


class Exposition:
    """Holds the published rows and answers scrapes; safe for several threads.

    Parameters
    ----------
    registry : CollectorRegistry
        The program's own metrics.
    refresh : float, seconds
        Greatest age of the own metrics on the page. Rendering them costs more than all scores of the page, and
        many scrapes must not delay an evaluation.
    plain : int, bytes
        Pages that are no larger are not compressed: compression costs more than it saves.
    monotonic : callable
        Seconds from any fixed point.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        refresh: float = 1.0,
        plain: int = 1 << 20,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._refresh = refresh
        self._plain = plain
        self._monotonic = monotonic
        self._publishing = threading.Lock()
        self._published: dict[tuple[str, str], dict[str, RenderedMetric]] = {}
        self._published_utf8: dict[tuple[str, str], dict[str, RenderedMetric]] = {}
        """Of queries that have label names that are not plain."""
        self._page: Page | None = Page()
        self._page_utf8 = Page()
        self._writing = threading.Lock()
        self._own: dict[Format, tuple[float, bytes]] = {}
        self._writer = RegistryWriter()

    def publish(
        self,
        query: str,
        prefixes: Sequence[bytes],
        metrics: Mapping[str, FloatArray],
        suppressed: SuppressionCodes | None = None,
        utf8_prefixes: Sequence[bytes] | None = None,
    ) -> None:
        """Replace all rows of a query.

        Parameters
        ----------
        prefixes : sequence of bytes, length n
            From `exporter.exposition.labels.PageRows`.
        metrics : mapping of str to (n,) float64
            Source units, NaN = absent; see `scores_of`.
        suppressed : (n,) int8, optional
            Which rows do not alert, and why; None: all may.
        utf8_prefixes : sequence of bytes, length n, optional
            The prefixes for a scraper that takes names of any form; None: the same.
        """
        self._publish(("query", query), prefixes, metrics, suppressed, utf8_prefixes)

    def _publish(
        self,
        key: tuple[str, str],
        prefixes: Sequence[bytes],
        metrics: Mapping[str, FloatArray],
        suppressed: SuppressionCodes | None,
        utf8_prefixes: Sequence[bytes] | None,
    ) -> None:
        parts = self._render(key, tuple(prefixes), metrics, suppressed, self._published)
        utf8 = None
        if utf8_prefixes is not None and utf8_prefixes is not prefixes:
            utf8 = self._render(key, tuple(utf8_prefixes), metrics, suppressed, self._published_utf8)
        self._replace(key, parts, utf8)

    def _render(
        self,
        key: tuple[str, str],
        prefixes: tuple[bytes, ...],
        metrics: Mapping[str, FloatArray],
        suppressed: SuppressionCodes | None,
        published: Mapping[tuple[str, str], Mapping[str, RenderedMetric]],
    ) -> dict[str, RenderedMetric]:
        before = published.get(key, {})
        parts = {}
        for column, values in metrics.items():
            name, more = split_metric(column)
            parts[column] = render_rows(name, prefixes, values, before.get(column), more=more)
        parts |= _suppressed(prefixes, suppressed, before)
        fragments = [fragment for column in parts.values() for fragment in column.fragments]
        if sum(fragment.size for fragment in fragments) > self._plain:
            # Now, and not during a scrape.
            for fragment in fragments:
                fragment.packed()
        return parts

    def publish_group(
        self,
        group: str,
        prefixes: Sequence[bytes],
        score: FloatArray,
        load: FloatArray,
        suppressed: SuppressionCodes | None = None,
        utf8_prefixes: Sequence[bytes] | None = None,
    ) -> None:
        """Replace all rows of a group; arrays of shape (n,), NaN = absent; the other parameters as of `publish`."""
        self._publish(("group", group), prefixes, group_scores(score, load), suppressed, utf8_prefixes)

    def publish_canary(
        self,
        query: str,
        prefixes: Sequence[bytes],
        metrics: Mapping[str, FloatArray],
        utf8_prefixes: Sequence[bytes] | None = None,
    ) -> None:
        """Replace all rows of the comparisons of a query; the parameters as of `publish`."""
        self._publish(("canary", query), prefixes, metrics, None, utf8_prefixes)

    def withdraw_canary(self, query: str) -> None:
        """Remove all rows of the comparisons of a query."""
        self._replace(("canary", query), None)

    def withdraw(self, query: str) -> None:
        """Remove all rows of a query that failed or was removed."""
        self._replace(("query", query), None)

    def withdraw_group(self, group: str) -> None:
        """Remove all rows of a group."""
        self._replace(("group", group), None)

    def page(self, *, utf8: bool = False) -> Page:
        """Return the current page, without the own metrics; `utf8`: names are as they are, quoted where needed."""
        with self._publishing:
            if self._page is None:
                # Sorted, so that the order does not depend on the timing of queries.
                self._page = Page([parts for _, parts in sorted(self._published.items(), key=_key)])
                both = sorted((self._published | self._published_utf8).items(), key=_key)
                self._page_utf8 = Page([parts for _, parts in both]) if self._published_utf8 else self._page
            return self._page_utf8 if utf8 else self._page

    def scrape(self, accept: str = "", accept_encoding: str = "") -> Scrape:
        """Answer a scrape; the time does not depend on the number of series.

        Parameters
        ----------
        accept, accept_encoding : str
            The headers of that name, empty where there was none.
        """
        kind, content_type = negotiate(accept)
        page = self.page(utf8=content_type.endswith(ALLOW_UTF8))
        own = self._own_metrics(kind)
        if page.size + len(own) > self._plain and gzip_accepted(accept_encoding):
            pieces = page.gzipped(own)
            return Scrape(content_type, "gzip", sum(map(len, pieces)), iter(pieces))
        return Scrape(content_type, None, page.size + len(own), page.plain(own))

    def _replace(
        self,
        key: tuple[str, str],
        parts: dict[str, RenderedMetric] | None,
        utf8: dict[str, RenderedMetric] | None = None,
    ) -> None:
        with self._publishing:
            for published, new in ((self._published, parts), (self._published_utf8, utf8)):
                if new is None:
                    published.pop(key, None)
                else:
                    published[key] = new
            # Assembled at the next scrape: there are many publications between two scrapes.
            self._page = None

    def _own_metrics(self, kind: Format) -> bytes:
        with self._writing:
            now = self._monotonic()
            rendered_at, text = self._own.get(kind, (float("-inf"), b""))
            if now - rendered_at >= self._refresh:
                text = self._writer.write(self._registry, openmetrics=kind is Format.OPENMETRICS)
                self._own[kind] = (now, text)
            return text
