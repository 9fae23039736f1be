"""What the command line says of a start that cannot be, and its exit codes: 1 a problem, 2 wrong usage."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from exporter.cli.exit_codes import USAGE, exit_code
from exporter.cli.main import main, parser

GOOD = "queries: [{name: up, expr: up}]\n"
BAD = "quories: []\nqueries: [{name: up, exprr: up}]\n"


@pytest.mark.parametrize(
    ("config", "flags", "code", "said"),
    [
        pytest.param(GOOD, ["--web.listen-address=nonsense"], 2, ["anomaly-exporter: not an address"], id="address"),
        pytest.param(GOOD, ["--web.external-url=ops"], 2, ["anomaly-exporter: --web.external-url: "], id="url"),
        pytest.param(GOOD, ["--shard.index=1"], 2, ["anomaly-exporter: --shard.index"], id="shard"),
        pytest.param(GOOD, ["--web.config.file=none.yml"], 1, ["none.yml:1:1: the file cannot be"], id="web config"),
        pytest.param(
            BAD,
            [],
            1,
            [
                "config.yaml:1:1: quories: unknown field; did you mean 'queries'?",
                "config.yaml:2:11: queries[0].expr: this field is required",
                "config.yaml:2:22: queries[0].exprr: unknown field; did you mean 'expr'?",
            ],
            id="every line of a bad file begins with its place",
        ),
    ],
)
def test_a_start_that_cannot_be(tmp_path: Path, config: str, flags: list[str], code: int, said: list[str]) -> None:
    (tmp_path / "config.yaml").write_text(config)
    command = [sys.executable, "-m", "exporter", "--web.listen-address=127.0.0.1:0", *flags]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == code
    lines = done.stderr.splitlines()
    assert len(lines) == len(said)
    assert all(line.startswith(words) for line, words in zip(lines, said, strict=True))


HEAVY = ("holidays", "matplotlib", "pandas", "scipy", "sklearn", "statsmodels")


@pytest.mark.parametrize(
    "program",
    [
        pytest.param("from exporter.cli import main; main(['check', 'config', 'config.yaml'])", id="check config"),
        pytest.param("import exporter.app", id="daemon"),
    ],
)
def test_a_start_does_not_import_heavy_packages(tmp_path: Path, program: str) -> None:
    (tmp_path / "config.yaml").write_text(GOOD)
    program += f"; import sys; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(("pod", "index"), [("anomaly-exporter-2", 2), ("anomaly-exporter-10.anomaly.svc", 10)])
def test_a_shard_is_the_number_of_its_pod(pod: str, index: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POD_NAME", pod)
    args = parser().parse_args(["--shard.index=auto", "--shard.count=12"])
    assert (args.shard_index, args.shard_count) == (index, 12)


def test_a_host_without_a_number_is_no_shard(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POD_NAME", "laptop")
    with pytest.raises(SystemExit):
        parser().parse_args(["--shard.index=auto"])
    assert "auto: 'laptop' does not end in a number" in capsys.readouterr().err


def test_memory_that_runs_out_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> int:
        raise MemoryError

    assert exit_code(work, prefix="detect: ", failed=USAGE) == USAGE
    assert capsys.readouterr().err == "detect: there is not enough memory for it\n"


@pytest.mark.parametrize(
    ("words", "program", "said"),
    [
        ("chekc config config.yaml", "", "unknown command 'chekc'; did you mean check?"),
        ("version", "", "unknown command 'version'; did you mean --version?"),
        ("validate", "", "unknown command 'validate'; there are: anomalies, backtest, check, "),
        ("config.yaml", "", "did you mean --config.file=config.yaml, or to check it: "),
        ("--config config.yaml", "", "unknown flag --config; did you mean --config.file?"),
        ("--shard.index=x", "", "argument --shard.index: 'x' is neither a number nor auto\n"),
        ("--port=9877", "", "unknown flag --port\n"),
        ("--log.level=debug check config x", "", "begin with: anomaly-exporter check\n"),
        ("check config.yaml", " check", "did you mean anomaly-exporter check config config.yaml?"),
        ("check --config.file config.yaml", " check", "did you mean anomaly-exporter check config config.yaml?"),
        ("check", " check", "the following arguments are required: config\n"),
        ("check config a.yaml b", " check config", "unexpected argument 'b'\n"),
        ("backtest config.yaml", " backtest", "did you mean --config.file=config.yaml?"),
        ("detect x.csv --confg.file c.yaml", " detect", "unknown flag --confg.file; did you mean --config.file?"),
        ("suggest http://prometheus:9090", " suggest", "did you mean --prometheus.url=http://prometheus:9090?"),
        ("rules", " rules", "the following arguments are required: export\n"),
        ("state dump", " state", "unknown command 'dump'; there are: export, import\n"),
    ],
    ids=str,
)
def test_a_wrong_command_line_says_what_to_write(
    words: str, program: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words.split())
    error = capsys.readouterr().err
    assert ended.value.code == USAGE
    assert error.startswith(f"anomaly-exporter{program}: error: ")
    assert error.endswith(f"\nsee: anomaly-exporter{program} --help\n")
    assert said in error
    assert error.count("\n") == 2


def test_a_url_without_its_scheme_is_completed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["suggest", "--prometheus.url=localhost:9090"]) == USAGE
    error = capsys.readouterr().err
    assert (
        error == "--prometheus.url: not an http:// or https:// URL with a host; did you mean http://localhost:9090?\n"
    )


def test_the_file_of_another_program_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "prometheus.yml"
    file.write_text("scrape_configs: [{job_name: node}]\n")
    assert main(["suggest", f"--config.file={file}"]) == USAGE
    assert capsys.readouterr().err.startswith(f"{file}:1:1: this is a configuration of Prometheus: ")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(None, "No such file or directory", id="missing"),
        pytest.param(b" ", "the input is empty: alerts as JSON are needed", id="empty"),
    ],
)
def test_alerts_that_cannot_be_read(
    content: bytes | None, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alerts = tmp_path / "alerts.json"
    if content is not None:
        alerts.write_bytes(content)
    assert main(["scale-hint", "--config.file=config.yaml", f"--input={alerts}"]) == USAGE
    error = capsys.readouterr().err
    assert said in error
    assert "Errno" not in error
