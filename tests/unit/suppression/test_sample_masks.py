"""Which rows of a query are treated how."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.alerting.alert import AlertCandidate
from exporter.alerting.explanation.explanation import Explanation
from exporter.alerting.labels import alert_labels
from exporter.calendar import CalendarEntry, Matcher, Occurrence, TimeWindow, all_match, parse_matcher
from exporter.config.model import Config
from exporter.config.plan import QueryPlan
from exporter.engine.series import SeriesTable, key_of
from exporter.silences import SilenceIndex
from exporter.silences.silence import Silence
from exporter.suppression.active_events import ActiveEvents
from exporter.suppression.sample_masks import RowMask, SampleMasks

DAY = 86400.0


def plan(**alert: Any) -> QueryPlan:
    return Config.model_validate({"queries": [{"name": "cpu", "expr": "up", "alert": alert}]}).plans()[0]


def table(*labels: dict[str, str]) -> SeriesTable:
    found = SeriesTable(1000)
    found.find([key_of(tuple(sorted(one.items()))) for one in labels])
    return found


def entry(name: str, action: str, *match: str, begin: float = 0.0, end: float = DAY, **more: Any) -> CalendarEntry:
    times = {"starts_at": f"1970-01-{1 + int(begin // DAY):02}", "ends_at": f"1970-01-{1 + int(end // DAY):02}"}
    return CalendarEntry.model_validate({"name": name, "action": action, "match": list(match), **times, **more})


def silence(*match: str, identity: str = "s", begin: float = 0.0, end: float = DAY, author: str = "eve") -> Silence:
    matchers = tuple(parse_matcher(text) for text in match)
    return Silence(identity, matchers, TimeWindow(begin, end), "", False, author, "disk swap")


def treatments(*entries: CalendarEntry, silences: tuple[Silence, ...] = ()) -> SampleMasks:
    book = SilenceIndex(silences)
    known = ActiveEvents(lambda: book)
    known.configure(entries, "UTC")
    return SampleMasks(known, {"cluster": "a"})


def seen(found: SampleMasks, the_plan: QueryPlan, series: SeriesTable, at: float) -> RowMask | None:
    return found.row_mask("query", the_plan.name, the_plan.alert, series, at)


HOSTS = table({"host": "a"}, {"host": "b"}, {"host": "c"})


def test_nothing_is_known_on_most_days() -> None:
    found = treatments(entry("x", "ignore", "host=a"))
    assert seen(found, plan(), HOSTS, 2 * DAY) is None
    assert found.sample_mask(plan(), HOSTS, np.array([2 * DAY, 2 * DAY + 60])) is None


def test_each_action_does_what_it_says() -> None:
    found = treatments(
        entry("i", "ignore", "host=a"), entry("e", "expect", "host=b", multiplier=3), entry("s", "silence", "host=c")
    ).row_mask("query", "cpu", plan().alert, HOSTS, 60.0)
    assert found is not None
    assert found.ignored.tolist() == [True, False, False]
    assert found.silenced.tolist() == [False, False, True]
    assert found.samples.learn.tolist() == [False, False, False]
    assert found.samples.factor.tolist() == [1.0, 3.0, 1.0]


def test_of_several_multiples_the_one_farthest_from_usual_counts() -> None:
    found = treatments(
        entry("x", "expect", 'host=~".+"', multiplier=2),
        entry("y", "expect", "host=a", multiplier=0.1),
        entry("z", "expect", "host=b", multiplier=1.5),
    ).row_mask("query", "cpu", plan().alert, HOSTS, 60.0)
    assert found is not None
    assert found.samples.factor.tolist() == [0.1, 2.0, 2.0]


def test_a_silence_of_everything_does_not_keep_series_out_of_storms() -> None:
    found = treatments(silences=(silence("query=cpu", "host!=a"), silence("query=cpu", identity="t")))
    effect = seen(found, plan(), HOSTS, 60.0)
    assert effect is not None
    assert effect.silenced.tolist() == [False, True, True]
    assert not effect.samples.learn.any()


def test_an_alert_says_what_is_in_effect_for_its_series() -> None:
    found = treatments(entry("sale", "expect", "host=a", multiplier=3, comment="TV\x00"), silences=(silence("host=b"),))
    effect = seen(found, plan(), HOSTS, 60.0)
    assert effect is not None
    plain = AlertCandidate({}, Explanation({"summary": "x"}), "")
    said = [effect.annotate(plain, row).explanation.annotations.get("calendar") for row in range(3)]
    assert said == [
        "is expected at 3 times the usual value until 1970-01-02T00:00:00Z by sale: TV\ufffd",
        "is silenced until 1970-01-02T00:00:00Z by eve: disk swap",
        None,
    ]


def test_history_is_treated_as_it_was_at_the_time() -> None:
    found = treatments(entry("x", "ignore", "host=a"), silences=(silence("host=b", begin=DAY / 2, end=2 * DAY),))
    times = np.array([0.0, DAY / 2, DAY, 2 * DAY])
    treatment = found.sample_mask(plan(), HOSTS, times)
    assert treatment is not None
    assert (~treatment.learn).tolist() == [
        [True, False, False],
        [True, True, False],
        [False, True, False],
        [False, False, False],
    ]
    for number, at in enumerate(times):
        alone = found.sample_mask(plan(), HOSTS, np.array([at]))
        assert treatment.learn[number].all() if alone is None else (treatment.learn[number] == alone.learn).all()


def test_series_that_come_are_treated_at_once() -> None:
    found, series = treatments(entry("x", "ignore", 'host=~"n.*"')), table({"host": "a"})
    assert seen(found, plan(), series, 60.0) is None
    series.find([b'{"host":"new"}'])
    effect = seen(found, plan(), series, 61.0)
    assert effect is not None
    assert effect.ignored.tolist() == [False, True]


def test_the_same_answer_is_given_while_nothing_changes() -> None:
    found, the_plan = treatments(entry("x", "ignore", "host=a")), plan()
    assert seen(found, the_plan, HOSTS, 60.0) is seen(found, the_plan, HOSTS, 120.0)


MATCHERS = [
    *('query="cpu"', 'alertname=~"Anom.*"', 'severity="page"', 'cluster="a"', 'host="a"', 'host!="a"', 'zone=""'),
    *('storm="a"', 'exported_storm="a"', 'incident=""'),
    *('exported_query="x"', 'exported_query=""', 'exported_exported_query="x"', 'team=~".*"', '__name__="up"'),
]
series_labels = st.dictionaries(
    st.sampled_from(
        ["host", "query", "storm", "incident", "exported_query", "cluster", "severity", "zone", "team", "__name__"]
    ),
    st.sampled_from(["a", "x", "page", "up", "gr\u00f6\u00dfe"]),
)


@given(st.lists(series_labels, min_size=1, max_size=6), st.lists(st.sampled_from(MATCHERS), min_size=1, max_size=3))
def test_matchers_see_the_labels_that_the_alert_would_have(labels: list[dict[str, str]], texts: list[str]) -> None:
    the_plan, series = plan(labels={"severity": "page", "team": ""}), table(*labels)
    matchers: tuple[Matcher, ...] = tuple(parse_matcher(text) for text in texts)
    book = SilenceIndex([Silence("s", matchers, TimeWindow(0.0, DAY), "", False, "eve", "")])
    found = SampleMasks(ActiveEvents(lambda: book), {"cluster": "b"}).row_mask(
        "query", "cpu", the_plan.alert, series, 60.0
    )
    assert the_plan.alert is not None
    expected = [
        all_match(matchers, alert_labels(one, "cpu", the_plan.alert, {"cluster": "b"})) for _, one in series.items()
    ]
    assert (not any(expected)) if found is None else (~found.samples.learn).tolist() == expected


def test_an_alert_of_a_group_is_matched_by_its_own_labels() -> None:
    things = table({"pod": "a"}, {"pod": "b"})
    found = treatments(entry("x", "ignore", "group=payments", "pod=a"), entry("y", "ignore", "query=payments"))
    effect = found.row_mask("group", "payments", None, things, 60.0)
    assert effect is not None
    assert effect.ignored.tolist() == [True, False]


def test_a_band_after_a_change_masks_nothing_and_a_note_does_nothing() -> None:
    known = ActiveEvents()
    known.configure([entry("deploy", "note", "host=a")], "UTC")
    found = SampleMasks(known, {})
    assert seen(found, plan(), HOSTS, 60.0) is None
    assert found.sample_mask(plan(), HOSTS, np.array([60.0, 120.0])) is None
    matchers = (parse_matcher('query="cpu"'), parse_matcher('host=~"a|"'))
    known.widen([Occurrence("deploy", "widen", 2.0, matchers, TimeWindow(100.0, 200.0))])
    mask = seen(found, plan(), HOSTS, 150.0)
    assert mask is not None
    assert mask.samples.band is not None
    assert mask.samples.band.tolist() == [2.0, 1.0, 1.0]
    assert mask.samples.learn.all()
    assert not mask.ignored.any()
    assert seen(found, plan(), HOSTS, 250.0) is None
    past = found.sample_mask(plan(), HOSTS, np.array([50.0, 150.0, 250.0]))
    assert past is not None
    assert past.band is not None
    assert past.band[:, 0].tolist() == [1.0, 2.0, 1.0]


@pytest.mark.parametrize(
    "matcher",
    ['"service.name"=cart', "service_name=cart", 'service_name=~"ca.*"', "metric=load", '"größe"=x', "gr__e=x"],
)
def test_names_of_any_form_are_matched_as_they_are_and_as_they_are_rewritten(matcher: str) -> None:
    series = table(
        {"__name__": "load", "service.name": "cart", "größe": "x"}, {"__name__": "other", "service.name": "pay"}
    )
    effect = seen(treatments(entry("x", "ignore", matcher)), plan(), series, 60.0)
    assert effect is not None
    assert effect.ignored.tolist() == [True, False]


def test_a_name_that_comes_later_is_matched_by_its_rewritten_form() -> None:
    the_plan, masks = plan(), treatments(entry("x", "ignore", "service_name=cart"))
    series = SeriesTable(10)
    series.find([b'{"service_name":"pay"}'])
    assert seen(masks, the_plan, series, 60.0) is None
    series.find([b'{"service.name":"cart"}'])
    effect = seen(masks, the_plan, series, 60.0)
    assert effect is not None
    assert effect.ignored.tolist() == [False, True]
