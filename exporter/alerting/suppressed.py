"""Why a series does not alert whatever its score: the same words on ``/metrics``, pages and in the API."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

__all__ = ["SUPPRESSION_REASONS", "SuppressionCodes", "suppression_code", "suppression_reason"]

SuppressionCodes = npt.NDArray[np.int8]
"""By row: 0 where nothing suppresses it, else the place of its reason in `SUPPRESSION_REASONS`, from 1."""

SUPPRESSION_REASONS: Mapping[str, str] = {
    "warming_up": "it is too young: less than `baseline.min_history` of it is known, or too little to judge",
    "masked": "a silence covers it",
    "event": "a known event with `action: ignore` is in effect for it, or it climbs during one with `action: expect`",
    "incident": "an alert of a query of its group told of it and is over: the score of a group falls some slots later",
    "load": "its group explains it by load: all metrics are up together, or it climbs meanwhile",
}
"""The label ``reason`` of ``anomaly_suppressed``, and what each means. Of several the last in this order is given."""

_NAMES = ("", *SUPPRESSION_REASONS)


def suppression_code(reason: str) -> int:
    """Return the code of a reason."""
    return _NAMES.index(reason)


def suppression_reason(code: int) -> str:
    """Return the reason of a code; empty where nothing suppresses the series."""
    return _NAMES[code]
