from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.config.model import Config
from exporter.config.plan import QueryPlan, sharded
from exporter.errors import ExporterError
from exporter.prometheus.frame import Frame, HistoryChunk
from exporter.prometheus.shard import Shard
from exporter.prometheus.unread_history import UnreadHistory

KEYS = [json.dumps({"__name__": "load", "pod": f"p{i % 40}", "path": f"/{i}"}).encode() for i in range(400)]


def frame_of(keys: list[bytes]) -> Frame:
    return Frame(0.0, keys, np.arange(len(keys), dtype=float), np.zeros(len(keys)))


@given(st.integers(1, 9))
def test_every_series_belongs_to_exactly_one_shard(count: int) -> None:
    parts = [Shard(index, count).frame(frame_of(KEYS)) for index in range(count)]
    assert sorted(key for part in parts for key in part.keys) == sorted(KEYS)
    for part in parts:
        assert [KEYS[int(value)] for value in part.values] == part.keys
        assert len(part.timestamps) == len(part.keys)


def test_shares_are_about_equal() -> None:
    sizes = [len(Shard(index, 4).frame(frame_of(KEYS)).keys) for index in range(4)]
    assert min(sizes) > 70


def test_the_order_of_labels_does_not_choose() -> None:
    turned = [json.dumps(dict(reversed(json.loads(key).items()))).encode() for key in KEYS]
    shard = Shard(1, 3)
    assert [json.loads(key) for key in shard.frame(frame_of(turned)).keys] == [
        json.loads(key) for key in shard.frame(frame_of(KEYS)).keys
    ]


def test_the_choice_is_the_same_in_every_version() -> None:
    kept = set(Shard(0, 3).frame(frame_of(KEYS)).keys)
    assert "".join(str(int(key in kept)) for key in KEYS[:12]) == "011100011000"


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_with_another_shard_only_its_own_share_moves(count: int) -> None:
    before, after = ([set(Shard(at, of).frame(frame_of(KEYS)).keys) for at in range(of)] for of in (count, count + 1))
    moved = sum(len(old - new) for old, new in zip(before, after, strict=False))
    assert moved == len(after[-1])
    assert moved / len(KEYS) == pytest.approx(1 / (count + 1), abs=0.08)


def test_the_part_of_the_same_label_sets_is_the_same_object_with_other_samples() -> None:
    shard, first = Shard(1, 3), frame_of(KEYS)
    one, two = shard.frame(first), shard.frame(Frame(1.0, first.keys, first.values + 0.5, first.timestamps))
    assert two.keys is one.keys
    np.testing.assert_array_equal(two.values, one.values + 0.5)
    assert shard.frame(frame_of(KEYS[:9])).keys == [key for key in one.keys if key in KEYS[:9]]
    assert shard.frame(first).keys == one.keys


def test_what_belongs_elsewhere_is_the_rest() -> None:
    shard = Shard(1, 3)
    assert sorted([*shard.elsewhere(frame_of(KEYS)), *shard.frame(frame_of(KEYS)).keys]) == sorted(KEYS)


def test_what_has_the_chosen_labels_in_common_stays_together() -> None:
    for index in range(3):
        kept = {json.loads(key)["pod"] for key in Shard(index, 3, frozenset({"pod"})).frame(frame_of(KEYS)).keys}
        assert len(Shard(index, 3, frozenset({"pod"})).frame(frame_of(KEYS)).keys) == 10 * len(kept)


def test_history_is_split_the_same_way() -> None:
    block = HistoryChunk(np.arange(3.0), KEYS, np.arange(1200.0).reshape(3, 400))
    kept = Shard(1, 2).block(block)
    assert kept.keys == Shard(1, 2).frame(frame_of(KEYS)).keys
    assert [KEYS[int(value)] for value in kept.values[0]] == kept.keys


def test_what_cannot_be_read_of_history_is_split_the_same_way() -> None:
    unread = UnreadHistory(tuple(KEYS), np.arange(1200).reshape(3, 400) % 2 == 0, np.zeros(400, np.bool_), 1)
    block = HistoryChunk(np.arange(3.0), [], np.empty((3, 0)), unread)
    kept = Shard(1, 2).block(block).unread
    assert kept is not None
    assert [*kept.keys] == Shard(1, 2).frame(frame_of(KEYS)).keys
    # Of a series without a name nobody knows whose it is.
    assert (kept.where.shape, kept.nameless) == ((3, len(kept.keys)), 1)


def config(*groups: dict[str, object]) -> Config:
    queries = [{"name": name, "expr": "up"} for name in "abcd"]
    return Config.model_validate({"queries": queries, "groups": list(groups)})


def shard_plans(config: Config, index: int, count: int) -> tuple[QueryPlan, ...]:
    return sharded(config.plans(), config.groups, index, count)


def test_one_process_takes_all() -> None:
    assert [plan.shard for plan in shard_plans(config(), 0, 1)] == [None] * 4
    assert [plan.identity for plan in shard_plans(config(), 0, 1)] == [plan.identity for plan in config().plans()]


def test_members_of_groups_stay_together() -> None:
    groups = [
        {"name": "one", "by": ["pod", "namespace"], "queries": ["a", "b"]},
        {"name": "two", "by": ["namespace"], "queries": ["b", "c"]},
    ]
    by = [set(plan.shard.by) for plan in shard_plans(config(*groups), 0, 2)]
    assert by == [{"namespace"}, {"namespace"}, {"namespace"}, set()]


def test_groups_that_cannot_be_kept_together_are_refused() -> None:
    groups = [
        {"name": "one", "by": ["pod"], "queries": ["a", "b"]},
        {"name": "two", "by": ["node"], "queries": ["b", "c"]},
    ]
    with pytest.raises(ExporterError, match=r"group '(one|two)' cannot be split"):
        shard_plans(config(*groups), 0, 2)


def query_config(**fields: object) -> Config:
    return Config.model_validate({"queries": [{"name": "latency", "expr": "up", **fields}]})


def test_the_sides_of_a_canary_meet() -> None:
    [plan] = shard_plans(query_config(canary={"label": "version", "by": ["service"]}), 0, 2)
    assert plan.shard is not None
    assert plan.shard.by == {"service"}
    keys = [b'{"pod":"%d","service":"%d","version":"%d"}' % (pod, pod % 7, pod % 2) for pod in range(70)]
    for index in range(2):
        kept = [json.loads(key) for key in Shard(index, 2, plan.shard.by).frame(frame_of(keys)).keys]
        services = {labels["service"] for labels in kept}
        assert len(kept) == 10 * len(services)
        assert {(labels["service"], labels["version"]) for labels in kept} == {
            (service, version) for service in services for version in "01"
        }


def test_a_canary_without_labels_to_split_by_says_what_to_do() -> None:
    whole = query_config(canary={"label": "version"})
    with pytest.raises(ExporterError, match=r"the canary of latency cannot be split .* `shard_by: query`"):
        shard_plans(whole, 0, 2)
    names = names_by_shard(query_config(canary={"label": "version"}, shard_by="query"), 2)
    assert sorted(map(len, names)) == [0, 1]


def test_siblings_meet_where_neither_group_nor_canary_says_otherwise() -> None:
    [alone] = shard_plans(query_config(peers={"by": ["job"]}), 0, 2)
    [compared] = shard_plans(query_config(peers={"by": ["job"]}, canary={"label": "v", "by": ["zone"]}), 0, 2)
    assert (alone.shard, compared.shard) == (Shard(0, 2, frozenset({"job"})), Shard(0, 2, frozenset({"zone"})))


def test_another_share_learns_anew() -> None:
    assert (
        len({shard_plans(config(), index, count)[0].identity for index, count in [(0, 1), (0, 2), (1, 2), (0, 3)]}) == 4
    )


def names_by_shard(config: Config, count: int) -> list[set[str]]:
    return [{plan.name for plan in shard_plans(config, index, count)} for index in range(count)]


def test_a_query_that_is_not_split_is_asked_by_one_shard() -> None:
    queries = [{"name": f"q{number}", "expr": "up", "shard_by": "query"} for number in range(300)]
    whole = Config.model_validate({"queries": [*queries, {"name": "large", "expr": "up"}]})
    shards = names_by_shard(whole, 3)
    assert set.intersection(*shards) == {"large"}
    assert sorted(name for names in shards for name in names - {"large"}) == sorted(each["name"] for each in queries)
    assert all(70 < len(names) < 130 for names in shards)
    # It is as with one process: the same state, storms and budgets.
    alone = {plan.name: plan for plan in whole.plans()}
    for index in range(3):
        assert all(plan == alone[plan.name] for plan in shard_plans(whole, index, 3) if plan.name != "large")


def test_only_the_share_of_a_new_shard_moves() -> None:
    queries = [{"name": f"q{number}", "expr": "up"} for number in range(300)]
    whole = Config.model_validate({"global": {"shard_by": "query"}, "queries": queries})
    before, after = names_by_shard(whole, 3), names_by_shard(whole, 4)
    for index in range(3):
        assert after[index] <= before[index]
    assert 45 < len(after[3]) < 105


def test_queries_of_a_group_stay_together_and_are_split_with_one_that_is() -> None:
    queries = [{"name": name, "expr": "up"} for name in "abcdef"]
    queries[5]["shard_by"] = "series"
    groups = [
        {"name": "one", "by": ["pod"], "queries": ["a", "b"]},
        {"name": "two", "by": ["node"], "queries": ["b", "c"]},
        {"name": "three", "by": ["pod"], "queries": ["e", "f"]},
    ]
    config = Config.model_validate({"global": {"shard_by": "query"}, "queries": queries, "groups": groups})
    shards = names_by_shard(config, 5)
    assert set.intersection(*shards) == {"e", "f"}
    assert sum({"a", "b", "c"} <= names for names in shards) == 1
    assert sum(bool({"a", "b", "c"} & names) for names in shards) == 1
