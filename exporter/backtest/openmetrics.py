"""The rows of ``/metrics`` with the time of their slot, for ``promtool tsdb create-blocks-from openmetrics``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from exporter.errors import UsageError
from exporter.exposition.families import FAMILIES, split_metric
from exporter.exposition.labels import with_label

__all__ = ["OpenMetrics", "written"]


class OpenMetrics:
    """Writes slots as they come, in the order of time; nothing of them is kept.

    Parameters
    ----------
    file : binary file
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        # All at the top, because the samples of a slot come together: promtool wants each series in order, no more.
        for metric, text in FAMILIES.items():
            file.write(f"# HELP {metric} {text}\n# TYPE {metric} gauge\n".encode())

    def __call__(self, at: float, metrics: Mapping[str, NDArray[np.float64]], prefixes: Sequence[bytes]) -> None:
        """Write what one query or group says in one slot: metrics by name, and label texts; NaN is left out."""
        stamp = f" {at:.3f}\n".encode()
        for key, values in metrics.items():
            metric, more = split_metric(key)
            here = np.flatnonzero(~np.isnan(values)).tolist()
            begin = f"{metric}{{".encode()
            numbers = values.tolist()
            labels = [with_label(prefix, more) for prefix in prefixes] if more else prefixes
            self._file.writelines(
                b"%b%b} %b%b" % (begin, labels[row], _number(numbers[row]), stamp) for row in here if prefixes[row]
            )

    def end(self) -> None:
        """Say that the file is complete."""
        self._file.write(b"# EOF\n")


@contextmanager
def written(path: Path) -> Iterator[OpenMetrics]:
    """Open a file; where the replay does not come to its end, it lacks the last line and promtool refuses it.

    Raises
    ------
    UsageError
        It cannot be written.
    """
    try:
        file = path.open("wb", buffering=1 << 20)
    except OSError as fault:
        raise UsageError(f"{path}: {fault.strerror or fault}") from None
    with file:
        into = OpenMetrics(file)
        yield into
        into.end()


def _number(value: float) -> bytes:
    text = repr(value)
    return {"inf": b"+Inf", "-inf": b"-Inf"}.get(text) or text.encode()
