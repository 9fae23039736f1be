"""Files of `query_files` and presets: what they add, and where their problems are."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.config.load import load
from exporter.errors import ConfigError
from exporter.presets import preset

QUERY = "- {name: %s, expr: up}\n"


def write(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    return file


def names(file: Path) -> list[str]:
    return [query.name for query in load(file).config.queries]


def refused(file: Path) -> list[str]:
    with pytest.raises(ConfigError) as error:
        load(file)
    return [line.replace(f"{file.parent}/", "") for line in error.value.lines()]


def test_files_are_included_in_the_order_of_patterns_and_names(tmp_path: Path) -> None:
    write(tmp_path, "more/b.yaml", "queries:\n" + QUERY % "b")
    write(tmp_path, "more/a.yaml", "queries:\n" + QUERY % "a" + "groups: [{name: g, queries: [a, b], by: [job]}]\n")
    file = write(tmp_path, "config.yaml", "query_files: ['more/*.yaml', 'more/a.yaml']\nqueries:\n" + QUERY % "own")
    assert names(file) == ["own", "a", "b"]
    loaded = load(file)
    assert [group.name for group in loaded.config.groups] == ["g"]
    assert [path.name for path in loaded.files] == ["a.yaml", "b.yaml"]


def test_queries_may_be_in_included_files_only(tmp_path: Path) -> None:
    write(tmp_path, "q.yaml", "queries:\n" + QUERY % "a")
    assert names(write(tmp_path, "config.yaml", "query_files: [q.yaml]\n")) == ["a"]


def test_problems_of_all_files_are_listed_at_once_with_their_places(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", "queries:\n  - name: b\n    expr: up\n    colour: 3\n")
    write(tmp_path, "b.yaml", "queries: [}\n")
    write(tmp_path, "c.yaml", "global: {}\n")
    text = "query_files: [a.yaml, b.yaml, c.yaml, d.yaml]\nqueries:\n  - name: a\n    expr: up\n    direction: 7\n"
    lines = refused(write(tmp_path, "config.yaml", text))
    assert len(lines) == 5
    assert lines[0] == "config.yaml:1:39: query_files[3]: there is no file 'd.yaml'"
    assert lines[1].startswith("config.yaml:5:16: queries[0].direction: ")
    assert lines[2] == "a.yaml:4:5: queries[0].colour: unknown field"
    assert lines[3].startswith("b.yaml:1:11: not valid YAML")
    assert lines[4].startswith("c.yaml:1:1: global: an included file is a mapping with `queries`")


def test_two_queries_of_one_name_in_two_files(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", "queries:\n  - name: a\n    expr: up\n")
    (line,) = refused(write(tmp_path, "config.yaml", "query_files: [a.yaml]\nqueries:\n" + QUERY % "a"))
    message = "queries[0] of line 3 of the file that includes this has the same name; names must differ"
    assert line == f"a.yaml:2:11: queries[0].name: {message}"


def test_two_queries_of_one_name_in_two_included_files(tmp_path: Path) -> None:
    for name in "ab":
        write(tmp_path, f"{name}.yaml", "queries:\n" + QUERY % name + QUERY % "same")
    (line,) = refused(write(tmp_path, "config.yaml", "query_files: ['?.yaml']\n"))
    assert line == "b.yaml:3:10: queries[1].name: queries[1] of a.yaml:3 has the same name; names must differ"


def test_an_included_file_that_is_empty_is_a_warning(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", "# all of it is a comment for now\n")
    loaded = load(write(tmp_path, "config.yaml", "query_files: [a.yaml]\nqueries:\n" + QUERY % "a"))
    assert f"{tmp_path / 'a.yaml'} is empty" in [warning.message for warning in loaded.warnings]


def test_a_pattern_that_matches_nothing_is_a_warning(tmp_path: Path) -> None:
    file = write(tmp_path, "config.yaml", "query_files: ['none/*.yaml']\nqueries:\n" + QUERY % "a")
    messages = [warning.message for warning in load(file).warnings]
    assert "no file matches 'none/*.yaml'" in messages


def test_a_preset_is_its_queries_with_the_fields_of_the_file(tmp_path: Path) -> None:
    text = "queries:\n  - {preset: redis, interval: 5m, alert: {for: 1h}}\n" + "  " + QUERY % "own"
    config = load(write(tmp_path, "config.yaml", text)).config
    members = [query.name for query in preset("redis").queries]
    assert sorted(query.name for query in config.queries) == sorted([*members, "own"])
    queries = {query.name: query for query in config.queries}
    assert {queries[name].interval for name in members} == {300.0}
    rule = queries["redis_commands"].alert
    assert rule is not None
    assert (rule.for_, rule.labels) == (3600.0, {"severity": "warning"})


def test_some_queries_of_a_preset(tmp_path: Path) -> None:
    file = write(tmp_path, "config.yaml", "queries:\n  - {preset: redis, only: [redis_memory_bytes]}\n")
    assert names(file) == ["redis_memory_bytes"]


def test_a_preset_that_is_there_twice_is_one_problem(tmp_path: Path) -> None:
    text = "queries:\n  - preset: node\n  - preset: node\n    interval: soon\n"
    twice, interval = refused(write(tmp_path, "config.yaml", text))
    assert twice.startswith("config.yaml:3:13: queries[1].preset: preset node of line 2 has the query 'node_")
    assert interval.startswith("config.yaml:4:15: queries[1].interval: ")


def test_a_preset_may_be_there_twice_for_other_queries(tmp_path: Path) -> None:
    one, other, *_ = (query.name for query in preset("redis").queries)
    text = f"queries:\n  - {{preset: redis, only: [{one}]}}\n  - {{preset: redis, only: [{other}]}}\n"
    assert names(write(tmp_path, "config.yaml", text)) == [one, other]


def test_problems_of_presets_are_at_the_preset_and_indices_of_others_stay(tmp_path: Path) -> None:
    text = (
        "queries:\n  - preset: nod\n  - preset: redis\n    only: [redis_comands]\n  - preset: etcd\n"
        "    interval: soon\n  - name: a\n    expr: up\n    colour: 3\n"
    )
    lines = refused(write(tmp_path, "config.yaml", text))
    assert lines[0].startswith("config.yaml:2:13: queries[0].preset: there is no preset 'nod'; did you mean 'node'?")
    assert lines[1].startswith("config.yaml:4:11: queries[1].only: preset redis has no query 'redis_comands'; did you")
    assert lines[2].startswith("config.yaml:6:15: queries[2].interval: not a duration")
    assert [line for line in lines if "colour" in line] == ["config.yaml:9:5: queries[3].colour: unknown field"]
