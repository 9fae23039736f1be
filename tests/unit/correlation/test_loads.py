"""The index of loads: by rows of queries, for as long as groups are judged."""

from __future__ import annotations

import numpy as np

from exporter.correlation.loads import Loads, MemberRows

NONE = np.zeros(3, np.bool_)
FIRST = np.array([True, False, False])


def loads_of(*rows: MemberRows) -> Loads:
    """Return an index of groups of a query `q` with these rows."""
    loads = Loads()
    loads.configure({f"g{number}": (60.0, ["q", "other"]) for number in range(len(rows))}, at=0.0)
    for number, part in enumerate(rows):
        loads.update(f"g{number}", {"q": part})
    return loads


def test_rows_of_several_groups_are_held_together() -> None:
    loads = loads_of(MemberRows(600.0, FIRST, FIRST, NONE), MemberRows(660.0, ~FIRST, ~FIRST, FIRST))
    row_loads = loads.of("q", 660.0, 4)
    assert row_loads is not None
    assert row_loads.held.tolist() == [True, True, True, False]
    assert row_loads.suspected.tolist() == [True, False, False, False]
    # The fourth is new to both.
    assert row_loads.judged.tolist() == [600.0, 660.0, 660.0, 600.0]


def test_what_began_after_the_newest_slot_of_the_group_waits_for_it() -> None:
    row_loads = loads_of(MemberRows(600.0, np.array([True, True, False]), NONE, NONE)).of("q", 660.0, 3)
    assert row_loads is not None
    since = np.array([660.0, 600.0, 660.0])
    assert row_loads.unsettled(since, 0.0).tolist() == [True, False, False]
    # With `for` of an interval the group has judged by then.
    assert not row_loads.unsettled(since, 60.0).any()


def test_nobody_waits_for_a_group_that_is_not_judged() -> None:
    loads = loads_of(MemberRows(600.0, FIRST, FIRST, FIRST))
    assert loads.of("q", 780.0, 3) is not None
    assert loads.of("q", 781.0, 3) is None
    assert loads.of("elsewhere", 600.0, 3) is None


def test_after_a_start_queries_wait_for_the_first_slot_of_their_group() -> None:
    loads = Loads()
    loads.configure({"g": (60.0, ["q"])}, at=1000.0)
    row_loads = loads.of("q", 1060.0, 2)
    assert row_loads is not None
    # Whatever `for` is: reading history takes its time.
    for for_ in (0.0, 600.0):
        assert row_loads.unsettled(np.array([1060.0, np.nan]), for_).tolist() == [True, False]
    assert loads.of("q", 1300.0, 2) is not None
    assert loads.of("q", 1301.0, 2) is None


def test_a_group_that_goes_takes_its_loads_with_it() -> None:
    loads = loads_of(MemberRows(600.0, FIRST, FIRST, NONE))
    loads.configure({}, at=600.0)
    assert loads.of("q", 600.0, 3) is None
    loads.update("g0", {"q": MemberRows(660.0, FIRST, FIRST, NONE)})
    assert loads.of("q", 660.0, 3) is None
