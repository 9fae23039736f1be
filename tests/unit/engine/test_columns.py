"""Views of named arrays are views of what is there now, also after a copy in another process or a growth."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import numpy as np
import pytest

from exporter.engine.columns import Column, Columns


@pytest.mark.parametrize("copied", [lambda one: pickle.loads(pickle.dumps(one)), copy.deepcopy, lambda one: one])  # noqa: S301
def test_what_is_written_through_views_is_there(copied: Callable[[Columns], Columns]) -> None:
    columns = Columns({"level": Column((2,), np.float32)})
    columns.grow(3)
    rows = slice(0, 3)
    columns.views(rows)["level"][...] = 1.0
    other = copied(columns)
    other.views(rows)["level"][1] = 2.0
    assert other.arrays()["level"].tolist() == [[1.0] * 3, [2.0] * 3]
    other.grow(4)
    other.views(rows)["level"][0] = 3.0
    assert other.arrays()["level"].tolist() == [[3.0] * 3 + [0.0], [2.0] * 3 + [0.0]]
