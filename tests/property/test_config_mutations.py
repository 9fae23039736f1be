"""Whatever happens to a good file, it loads or it is refused with a place; nothing else."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from exporter.config.load import load, redacted
from exporter.config.model import Config
from exporter.errors import ConfigError
from exporter.yaml_reader.document import format_path

FULL = """
global: {interval: 1m, timeout: 20s, timezone: Europe/Berlin, external_labels: {cluster: eu}}
prometheus:
  url: https://prometheus.example.org/prom
  basic_auth: {username: u, password: "${TOKEN}"}
  tls_config: {server_name: prometheus, min_version: TLS13, insecure_skip_verify: false}
  headers: {X-Scope-OrgID: tenant}
  lookback_delta: 5m
  max_response_bytes: 64MiB
  concurrency: 2
alertmanagers:
  - {url: "http://am0:9093", timeout: 5s, batch_size: 64}
  - {url: "http://am1:9093", authorization: {type: Bearer, credentials: token}}
storage: {retention: 30d, checkpoint_interval: 1m}
alerting: {resend_delay: 30s, max_alerts: 100}
limits: {max_series: 1000, max_series_per_query: 500}
baseline: {window: 14d, min_history: 3d, backfill_step: 5m}
detection: {detectors: [zscore, {kind: iqr, multiplier: 2.5}], quorum: 2}
queries:
  - name: latency
    expr: histogram_quantile(0.99, sum by (le) (rate(latency_bucket[5m])))
    direction: above
    min_deviation: 0.05
    min_relative_deviation: 0.1
    valid_range: [0, null]
    detection: {quorum: 1}
    alert: {for: 5m, keep_firing_for: 5m, labels: {severity: warning}, annotations: {summary: slow}}
  - {name: up, expr: up, interval: 30s, timeout: 10s, baseline: {window: 7d}, max_series: 10}
"""
ENVIRON = {"TOKEN": "s3cret"}
Path_ = tuple[str | int, ...]


def paths(node: Any, at: Path_ = ()) -> list[Path_]:
    found = [at] if at else []
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for part, inner in items:
        found += paths(inner, (*at, part))
    return found


TREE = yaml.safe_load(FULL)
PATHS = paths(TREE)

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**25), 10**25),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(
        ["5m", "0s", "-1h", "1:30", "no", "${TOKEN}", "${GONE}", "${", "zscore", "http://h", "[", "a_total"]
    ),
)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner))


def around(tree: Any, path: Path_) -> Any:
    for part in path[:-1]:
        tree = tree[part]
    return tree


@st.composite
def mutated(draw: st.DrawFn) -> str:
    tree = copy.deepcopy(TREE)
    path = draw(st.sampled_from(PATHS))
    parent, last = around(tree, path), path[-1]
    match draw(st.sampled_from(["drop", "rename", "replace", "duplicate"])):
        case "drop":
            del parent[last]
        case "rename" if isinstance(parent, dict):
            parent[draw(st.text(max_size=12))] = parent.pop(last)
        case "duplicate" if isinstance(parent, list):
            parent.append(parent[last])
        case _:
            parent[last] = draw(values)
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=draw(st.booleans()))


def load_or_refuse(file: Path) -> Config | ConfigError:
    try:
        return load(file, environ=ENVIRON).config
    except ConfigError as error:
        return error


def loads_or_says_why(file: Path) -> None:
    answer = load_or_refuse(file)
    if isinstance(answer, ConfigError):
        # YAML knows more line breaks than one, and an error may be noticed after the last of them.
        lines = re.split("\r\n|[\n\r\x85\u2028\u2029]", file.read_bytes().decode("utf-8", "replace"))
        assert answer.problems
        for problem in answer.problems:
            assert 1 <= problem.line <= len(lines) + 1
            assert problem.column >= 1
            assert problem.message
            assert (problem.path + problem.message).isprintable()
            assert "s3cret" not in problem.message
    else:
        # What loads can be planned and shown.
        assert len(answer.plans()) == len(answer.queries) > 0
        assert "s3cret" not in redacted(answer)


@given(text=mutated())
def test_a_good_file_with_one_change_loads_or_is_refused_with_a_place(tmp_path_factory: Any, text: str) -> None:
    file = tmp_path_factory.mktemp("mutated") / "config.yaml"
    file.write_text(text, encoding="utf-8")
    loads_or_says_why(file)


@given(start=st.integers(0, len(FULL)), length=st.integers(0, 40), put=st.text(max_size=6))
def test_a_good_file_with_any_characters_replaced_loads_or_is_refused_with_a_place(
    tmp_path_factory: Any, start: int, length: int, put: str
) -> None:
    file = tmp_path_factory.mktemp("edited") / "config.yaml"
    file.write_text(FULL[:start] + put + FULL[start + length :], encoding="utf-8")
    loads_or_says_why(file)


@given(raw=st.binary(max_size=200))
def test_any_bytes_load_or_are_refused_with_a_place(tmp_path_factory: Any, raw: bytes) -> None:
    file = tmp_path_factory.mktemp("bytes") / "config.yaml"
    file.write_bytes(raw)
    loads_or_says_why(file)


def test_the_good_file_is_good(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(FULL, encoding="utf-8")
    assert not load(file, environ=ENVIRON).warnings


@pytest.mark.parametrize("path", PATHS, ids=format_path)
def test_a_wrong_type_is_refused_at_the_key_it_stands_at(tmp_path: Path, path: Path_) -> None:
    tree = copy.deepcopy(TREE)
    parent, last = around(tree, path), path[-1]
    # No field takes a list of a list, or a negative fraction.
    parent[last] = -1.5 if isinstance(parent[last], (dict, list)) else [["wrong"]]
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")
    with pytest.raises(ConfigError) as refused:
        load(file, environ=ENVIRON)
    assert format_path(path) in [problem.path for problem in refused.value.problems]
    assert all(problem.path.startswith(format_path(path)) for problem in refused.value.problems)


# Without its kind nobody can say which fields a detector has.
NAMED = [path for path in PATHS if isinstance(path[-1], str) and path[-1] != "kind"]


@pytest.mark.parametrize("path", NAMED, ids=format_path)
def test_a_misspelt_key_is_refused_at_its_place(tmp_path: Path, path: Path_) -> None:
    tree = copy.deepcopy(TREE)
    parent, last = around(tree, path), str(path[-1])
    free = {"external_labels", "headers", "labels", "annotations"}
    parent[last + "x"] = parent.pop(last)
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")
    answer = load_or_refuse(file)
    if free.intersection(path[:-1]):
        assert isinstance(answer, Config)
    else:
        assert isinstance(answer, ConfigError)
        hinted = f"{format_path((*path[:-1], last + 'x'))}: unknown field; did you mean {last!r}?"
        assert any(line.endswith(hinted) for line in answer.lines())
