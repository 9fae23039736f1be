"""The dashboards: in step with their code, of the types that Grafana wants, and about what exists."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import promql_parser
import pytest

from exporter.web.pages.urls import labels_from
from grafana_dashboards.__main__ import FOLDER, render
from tests.deploy.tools import METRICS, ROOT, npm_tool, run
from tests.integration.dashboards import Question, questions

NAMES = sorted(file.stem for file in FOLDER.glob("*.json"))
QUESTIONS = [one for name in NAMES for one in questions(name)]
TYPES = (ROOT / "tests" / "deploy" / "types.ts").read_text()


def compile_(texts: dict[str, str], folder: Path, code: int = 0) -> str:
    tsc = npm_tool("tsc")
    (folder / "node_modules").symlink_to(tsc.parent.parent)
    for name, text in texts.items():
        (folder / f"{name}.ts").write_text(TYPES.replace("= DASHBOARD", f"= {text}"))
    flags = "--noEmit --strict --skipLibCheck --moduleResolution bundler --module esnext --target es2022"
    return run(str(tsc), *flags.split(), *(folder / f"{name}.ts" for name in texts), code=code)


def test_files_are_in_step_with_their_code() -> None:
    assert {file.name: file.read_text() for file in FOLDER.glob("*.json")} == render(), "make dashboards"


def test_dashboards_have_the_types_of_grafana(tmp_path: Path) -> None:
    compile_({name: (FOLDER / f"{name}.json").read_text() for name in NAMES}, tmp_path)


def test_types_are_really_checked(tmp_path: Path) -> None:
    bad = json.loads((FOLDER / "exporter.json").read_text())
    bad["panels"][0]["gridPos"]["h"] = "4"
    bad["panels"][0]["fieldConfig"]["defaults"]["thresholds"]["mode"] = "sometimes"
    bad["panles"] = []
    said = compile_({"bad": json.dumps(bad, indent=1)}, tmp_path, code=2)
    assert len(re.findall(r"error TS", said)) >= 2, said
    assert "sometimes" in said


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda one: one.where)
def test_query_is_promql_about_metrics_that_exist(question: Question) -> None:
    expr = question.expr.replace("${series:raw}", 'query="cpu"').replace("$label", "service").replace("$by", "service")
    promql_parser.parse(re.sub(r"\$__[a-z_]+", "5m", expr))
    named = set(re.findall(r"\b(?:anomaly|expected|observed|forecast)_[a-z_]+", question.expr))
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in named} <= METRICS


def test_every_count_of_scores_is_that_of_one_of_a_pair() -> None:
    named = r"\b(?:anomaly_score|anomaly_group_score|anomaly_votes|observed_value|expected_value(?:_lower|_upper)?)\{"
    for question in questions("anomalies"):
        for found in re.finditer(named, question.expr):
            before = question.expr[: found.start()].removesuffix("max_over_time(")
            assert before.endswith("max without (replica) ("), question


def test_no_filter_of_grafana_is_put_into_queries_about_the_exporter() -> None:
    for name in NAMES:
        variables = json.loads((FOLDER / f"{name}.json").read_text())["templating"]["list"]
        assert "adhoc" not in {one["type"] for one in variables}
    own = [one.expr for one in questions("anomalies") if "anomaly_exporter_" in one.expr]
    assert own
    assert not any("$label" in expr or "$value" in expr for expr in own)


def test_a_click_opens_the_series_of_the_row() -> None:
    panels = json.loads((FOLDER / "anomalies.json").read_text())["panels"]
    [overrides] = [one["fieldConfig"]["overrides"] for one in panels if one["title"] == "Worst series now"]
    [links] = [prop["value"] for one in overrides for prop in one["properties"] if prop["id"] == "links"]
    [link] = links
    # As Grafana fills it in for a row with two labels; what a row lacks stays.
    url = link["url"].replace("${__data.fields.instance}", "a%3A9100").replace("${__data.fields.query}", "cpu")
    url = url.replace("${exporter:raw}", "http://x").replace("${__from}", "1000").replace("${__to}", "2000")
    parameters = parse_qsl(urlsplit(url).query)
    assert ("query", "cpu") in parameters
    assert labels_from(parameters) == (("instance", "a:9100"),)


@pytest.mark.parametrize("name", ["anomalies", "service"])
def test_an_annotation_leads_to_the_incidents_of_its_query(name: str) -> None:
    annotations = json.loads((FOLDER / f"{name}.json").read_text())["annotations"]["list"]
    assert annotations
    for each in annotations:
        address = each["textFormat"].replace("{{query}}", "cpu").split('"')[1]
        assert address == "${exporter}/anomalies?query=cpu"


def test_what_may_not_alert_is_counted_nowhere() -> None:
    for question in (*questions("service"), *questions("anomalies")):
        if question.where.split()[0] in ("Anomalous", "Worst") and "bool 0.5" in question.expr:
            assert "unless ignoring (reason) anomaly_suppressed" in question.expr, question.where


def test_every_panel_asks_something_and_has_its_place() -> None:
    for name in NAMES:
        panels = [one for one in json.loads((FOLDER / f"{name}.json").read_text())["panels"] if one["type"] != "row"]
        assert all(one["targets"] for one in panels)
        places = [tuple(one["gridPos"][key] for key in "xywh") for one in panels]
        assert all(x + w <= 24 for x, _, w, _ in places)
        assert len({one[:2] for one in places}) == len(places)
        assert len({one["title"] for one in panels}) == len(panels)
