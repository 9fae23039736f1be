from __future__ import annotations

import numpy as np

from exporter.engine.series import SeriesTable, key_of
from exporter.remote_write.encode import encode_labels
from exporter.remote_write.series_rows import SeriesRows


def test_a_label_of_the_metric_is_beside_those_of_the_series_and_one_of_that_name_is_renamed() -> None:
    table = SeriesTable(2)
    table.find([key_of((("disk", "a"),)), key_of((("disk", "b"), ("horizon", "east")))])
    rows = SeriesRows("full", {"replica": "1"}, ("horizon", "1h")).of(table, np.zeros(2))
    own = [("query", "full"), ("replica", "1"), ("horizon", "1h")]
    assert rows[0] == encode_labels([*own, ("disk", "a")])
    assert rows[1] == encode_labels([*own, ("disk", "b"), ("exported_horizon", "east")])
    plain = SeriesRows("full", {}).of(table, np.zeros(2))
    assert plain[0] == encode_labels([("query", "full"), ("disk", "a")])
