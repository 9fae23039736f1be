from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from exporter.config.load import Loaded, load, redacted
from exporter.errors import ConfigError

QUERY = "queries:\n  - name: a\n    expr: up\n"
EXAMPLE = Path(__file__).parents[3] / "config.example.yaml"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.yaml"


def read(file: Path, text: str, **environ: str) -> Loaded:
    file.write_text(text, encoding="utf-8")
    return load(file, environ=environ)


def warnings(loaded: Loaded) -> list[str]:
    return [f"{w.line}:{w.column}: {w.path}: {w.message}" for w in loaded.warnings]


def test_the_example_loads_without_a_warning() -> None:
    loaded = load(EXAMPLE, environ={})
    assert len(loaded.config.queries) >= 8
    assert not loaded.warnings


def test_the_smallest_file_is_one_query(file: Path) -> None:
    loaded = read(file, QUERY)
    assert loaded.config.prometheus.url == "http://localhost:9090"


def test_a_section_with_everything_commented_out_has_its_defaults(file: Path) -> None:
    assert read(file, f"global:\n  # interval: 5m\n{QUERY}").config.global_.interval == 60.0


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        pytest.param("${TOKEN}", "s3cret", id="alone"),
        pytest.param("Bearer ${TOKEN}!", "Bearer s3cret!", id="inside text"),
        pytest.param("$${TOKEN}", "${TOKEN}", id="escaped"),
        pytest.param("$TOKEN $5", "$TOKEN $5", id="without braces"),
    ],
)
def test_environment_variables_are_expanded_in_secrets(file: Path, written: str, meant: str) -> None:
    config = read(file, f'prometheus:\n  headers: {{X: "{written}"}}\n{QUERY}', TOKEN="s3cret").config
    assert config.prometheus.headers["X"].get_secret_value() == meant


def test_what_a_variable_holds_is_not_expanded_again(file: Path) -> None:
    config = read(file, f"prometheus:\n  headers: {{X: '${{A}}'}}\n{QUERY}", A="${B}", B="no").config
    assert config.prometheus.headers["X"].get_secret_value() == "${B}"


def test_a_variable_outside_a_secret_is_a_warning(file: Path) -> None:
    loaded = read(file, f"global:\n  external_labels: {{a: '${{TOKEN}}'}}\n{QUERY}", TOKEN="s3cret")
    assert loaded.config.global_.external_labels["a"] == "${TOKEN}"
    assert warnings(loaded) == [
        "2:24: global.external_labels.a: environment variables are expanded in secrets only, not here"
    ]


@pytest.mark.parametrize(("share", "warned"), [("5", False), ("10", True)])
def test_a_share_that_looks_like_per_cent_is_a_warning(file: Path, share: str, warned: bool) -> None:
    loaded = read(file, f"queries: [{{name: a, expr: up, min_relative_deviation: {share}}}]")
    expected = [
        "1:55: queries[0].min_relative_deviation: 10 is 1000 % of the expected value; write 0.1 if per cent were meant"
    ]
    assert warnings(loaded) == (expected if warned else [])


def test_files_are_relative_to_the_configuration_file(file: Path) -> None:
    secret = file.parent / "password"
    secret.write_text("s3cret\n")
    secret.chmod(0o600)
    loaded = read(file, f"prometheus:\n  basic_auth: {{username: u, password_file: password}}\n{QUERY}")
    assert loaded.config.prometheus.basic_auth is not None
    assert loaded.config.prometheus.basic_auth.password_file == secret
    assert not loaded.warnings


def test_a_secret_that_others_can_read_is_a_warning(file: Path) -> None:
    secret = file.parent / "password"
    secret.write_text("s3cret\n")
    secret.chmod(0o644)
    loaded = read(file, f"prometheus:\n  basic_auth: {{username: u, password_file: password}}\n{QUERY}")
    (warning,) = warnings(loaded)
    assert warning.startswith(f"2:44: prometheus.basic_auth.password_file: others can read {str(secret)!r} (mode 0644)")


def test_a_certificate_may_be_read_by_others(file: Path) -> None:
    authority = file.parent / "ca.pem"
    authority.write_text("certificate")
    authority.chmod(0o644)
    assert not read(file, f"prometheus:\n  tls_config: {{ca_file: ca.pem}}\n{QUERY}").warnings


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            "queries:\n  - name: a\n    expr: requests_total\n",
            "3:11: queries[0].expr: 1:1: requests_total is a counter, which only grows; "
            "score rate(requests_total[5m]) instead",
            id="raw counter",
        ),
        pytest.param(
            "queries:\n  - name: a\n    expr: max(anomaly_score)\n",
            "3:11: queries[0].expr: 1:5: anomaly_score is written by this exporter; "
            "scoring a score can feed back, so do not alert on it",
            id="own metric",
        ),
        pytest.param(
            QUERY + "    alert: {}\n",
            "1:1: alertmanagers: no Alertmanager is given, so alerts are shown here but not sent",
            id="alerts without an Alertmanager",
        ),
        pytest.param(
            f"baseline:\n  backfill_step: 2h\n{QUERY}",
            "2:18: baseline.backfill_step: steps longer than 1h leave hours of the week without any history "
            "after a start",
            id="long steps",
        ),
        pytest.param(
            f"baseline:\n  backfill_step: 1s\n{QUERY}",
            "2:18: baseline.backfill_step: reading 2592000 points a series back on every start is slow; "
            "a longer step will do",
            id="short steps",
        ),
        pytest.param(
            f"global:\n  external_labels: {{a: ''}}\n{QUERY}",
            "2:24: global.external_labels.a: an empty label is the same as no label",
            id="empty label",
        ),
        pytest.param(
            f"sources: []\n{QUERY}",
            "1:10: sources: no server is given, so http://localhost:9090 is asked; leave this out if that is meant",
            id="no sources and no prometheus",
        ),
    ],
)
def test_what_is_allowed_but_hardly_meant_is_a_warning(file: Path, text: str, expected: str) -> None:
    assert warnings(read(file, text)) == [expected]


def test_an_empty_list_of_sources_is_as_none(file: Path) -> None:
    loaded = read(file, f"sources: []\nprometheus: {{url: http://mimir/prometheus}}\n{QUERY}")
    assert not loaded.warnings
    assert [server.url for server in loaded.config.servers.values()] == ["http://mimir/prometheus"]


def test_a_mistake_in_one_section_does_not_cause_complaints_about_others(file: Path) -> None:
    # Without the bad window, the default one would seem too short for this query's min_history.
    text = f"baseline:\n  window: 1mo\n{QUERY}    baseline:\n      min_history: 40d\n"
    with pytest.raises(ConfigError) as refused:
        read(file, text)
    assert [problem.path for problem in refused.value.problems] == ["baseline.window"]


SECRET = "correct-horse"
WITH_SECRETS = f"""
prometheus:
  basic_auth: {{username: u, password: {SECRET}}}
  headers: {{X-Token: {SECRET}}}
alertmanagers:
  - url: http://localhost:9093
    authorization: {{credentials: "${{TOKEN}}"}}
{QUERY}"""


def test_no_secret_is_in_the_redacted_configuration(file: Path) -> None:
    config = read(file, WITH_SECRETS, TOKEN=SECRET).config
    text = redacted(config)
    assert SECRET not in text
    assert text.count("<secret>") == 3
    assert SECRET not in repr(config)


def test_the_redacted_configuration_means_the_same(file: Path) -> None:
    config = load(EXAMPLE, environ={}).config
    text = redacted(config)
    assert yaml.safe_load(text)["global"]["interval"] == "1m"
    assert read(file, text).config == config


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(WITH_SECRETS.replace("{username: u, ", "{"), id="beside a missing field"),
        pytest.param(WITH_SECRETS.replace(f"password: {SECRET}", f"password: [{SECRET}]"), id="in a list"),
        pytest.param(WITH_SECRETS.replace(f"password: {SECRET}", "password: 4711"), id="as a number"),
        pytest.param(WITH_SECRETS.replace(f"password: {SECRET}", f"password: {SECRET}${{GONE}}"), id="with a variable"),
        pytest.param(WITH_SECRETS.replace(f"password: {SECRET}", f"password: {{a: {SECRET}}}"), id="in a mapping"),
        pytest.param(WITH_SECRETS + f"prometheus: {{url: 'http://u:{SECRET}@h'}}", id="in a URL"),
    ],
)
def test_no_problem_repeats_a_secret(file: Path, broken: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read(file, broken, TOKEN=SECRET)
    assert SECRET not in str(refused.value)
    assert "4711" not in str(refused.value)


def test_a_pipe_is_not_waited_for(file: Path) -> None:
    os.mkfifo(file.parent / "pipe")
    file.write_text("prometheus: {basic_auth: {username: u, password_file: pipe}}\nqueries:\n  - {name: a, expr: up}\n")
    with pytest.raises(ConfigError, match="pipe' is not a regular file"):
        load(file)
