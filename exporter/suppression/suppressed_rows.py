"""Which rows do not alert whatever their score, and why."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from exporter.alerting.suppressed import SuppressionCodes, suppression_code
from exporter.suppression.sample_masks import RowMask

__all__ = ["suppressed_rows"]

BoolArray = npt.NDArray[np.bool_]


def suppressed_rows(
    seen: BoolArray,
    mature: BoolArray,
    mask: RowMask | None,
    under_load: BoolArray | None = None,
    expected: BoolArray | None = None,
    over: BoolArray | None = None,
) -> SuppressionCodes:
    """Return the code of every row; arrays of shape (size,).

    Parameters
    ----------
    seen
        Rows with a sample, or of which it is known that they should have one.
    mature
        Rows that are old enough to alert.
    mask
        What the rules in effect suppress; None: nothing.
    under_load
        Rows that a load explains; None: none.
    expected
        Rows that climbed during an event at which more is expected of them; None: none.
    over
        Rows whose incident is over; None: none.
    """
    codes = np.where(mature, 0, suppression_code("warming_up")).astype(np.int8)
    if mask is not None:
        codes[mask.covered] = suppression_code("masked")
        codes[mask.ignored] = suppression_code("event")
    if expected is not None:
        codes[expected] = suppression_code("event")
    if over is not None:
        codes[over] = suppression_code("incident")
    if under_load is not None:
        codes[under_load] = suppression_code("load")
    codes[~seen] = 0
    return codes
