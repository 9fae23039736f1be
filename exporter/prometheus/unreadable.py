"""Rows of an answer that are not taken as samples: what cannot be read, and what this exporter wrote itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import msgspec
from msgspec import Raw, Struct

__all__ = ["LeftOut", "left_out"]

_HISTOGRAMS = (
    "{} native histogram{}: take numbers from them by histogram_quantile, histogram_avg, histogram_fraction, "
    "histogram_sum or histogram_count"
)


class _Loose(Struct):
    metric: Raw = Raw(b"null")
    histogram: Raw = Raw(b"")


_LOOSE = msgspec.json.Decoder(_Loose)
_LABELS = msgspec.json.Decoder(dict[str, str])


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Rows that cannot be read.

    Attributes
    ----------
    keys : tuple of bytes
        Label sets of those of which they can be read, as JSON objects.
    rows, histograms : int
        How many there are, and how many of them are native histograms.
    """

    keys: tuple[bytes, ...] = ()
    rows: int = 0
    histograms: int = 0

    @property
    def nameless(self) -> bool:
        """Whether the labels of some are missing."""
        return self.rows > len(self.keys)

    def only(self, belongs: Callable[[bytes], bool]) -> LeftOut:
        """Return the rows whose label sets belong to a shard, and those without labels."""
        keys = tuple(filter(belongs, self.keys))
        rows = self.rows - len(self.keys) + len(keys)
        return LeftOut(keys, rows, min(rows, self.histograms))

    def __str__(self) -> str:
        others = self.rows - self.histograms
        texts = [_HISTOGRAMS.format(self.histograms, "" if self.histograms == 1 else "s")] if self.histograms else []
        return "; ".join(
            [*texts, *([f"{others} row{'' if others == 1 else 's'} that cannot be read"] if others else [])]
        )


def left_out(broken: Iterable[Raw], keys: Sequence[bytes], bad_keys: int) -> LeftOut:
    """Describe rows that cannot be read.

    Parameters
    ----------
    broken : iterable of Raw
        Rows that are no samples.
    keys : sequence of bytes
        Label sets of rows whose sample cannot be read.
    bad_keys : int
        Rows whose label set cannot be read.
    """
    readable, histograms, rows = list(keys), 0, len(keys) + bad_keys
    for raw in broken:
        rows += 1
        try:
            loose = _LOOSE.decode(raw)
            _LABELS.decode(loose.metric)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
        readable.append(bytes(loose.metric))
        histograms += bool(bytes(loose.histogram))
    return LeftOut(tuple(readable), rows, histograms)
