"""The detector of docs/architecture.md: outside the tree by import path and by entry point, and planted in the tree."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from exporter.config.engine_settings import engine_settings
from exporter.config.load import load, redacted
from exporter.engine import contract
from exporter.engine.contract_samples import DAY, START, STEP, keys, seasonal
from exporter.engine.engine import Engine
from exporter.errors import ConfigError

ROOT = Path(__file__).parents[2]
RECIPE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").partition("### Adding a detector")[2]
CODE = re.findall(r"```python\n(.*?)```", RECIPE, re.DOTALL)[0]
CONFIG = """prometheus: {url: "http://127.0.0.1:9090"}
detection:
  detectors:
    - DETECTOR
  quorum: 1
queries:
  - {name: load, expr: up}
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "my_package"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "hour_median.py").write_text(CODE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.startswith("my_package")]:
        monkeypatch.delitem(sys.modules, name)
    return tmp_path


@pytest.fixture
def entry_point(package: Path) -> None:
    metadata = package / "my_package-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: my_package\nVersion: 1.0\n")
    text = "[anomaly_exporter.detectors]\nhour_median = my_package.hour_median:HourMedian\n"
    (metadata / "entry_points.txt").write_text(text)


def config(folder: Path, detector: str) -> Path:
    file = folder / "config.yaml"
    file.write_text(CONFIG.replace("DETECTOR", detector), encoding="utf-8")
    return file


def test_the_recipe_is_short() -> None:
    assert len(CODE.splitlines()) <= 60


@pytest.mark.parametrize("kind", ["my_package.hour_median:HourMedian", "hour_median"])
def test_a_detector_outside_the_tree_runs_by_the_configuration(package: Path, entry_point: None, kind: str) -> None:
    loaded = load(config(package, f'{{kind: "{kind}", threshold: 6.0}}')).config
    (plan,) = loaded.plans()
    (detector,) = plan.detection.detectors
    assert (detector.kind, type(detector).__name__, detector.threshold) == ("hour_median", "HourMedian", 6.0)
    assert "kind: hour_median\n" in redacted(loaded)
    assert "threshold: 6.0\n" in redacted(loaded)

    engine, samples = Engine(engine_settings(plan)), seasonal(9)
    samples[8 * DAY + 40, 0] *= 4.0
    times = START + STEP * np.arange(len(samples))
    verdicts = engine.run(times, engine.align(keys(3), samples, START).samples, STEP)
    assert (verdicts.score[8 * DAY + 40] >= 0.5).tolist() == [True, False, False]
    assert "hour_median/past" in engine.checkpoint().parts


def test_its_name_alone_is_enough(package: Path, entry_point: None) -> None:
    (plan,) = load(config(package, "hour_median")).config.plans()
    assert plan.detection.detectors[0].kind == "hour_median"


@pytest.mark.parametrize(
    ("detector", "line"),
    [
        (
            '{kind: "my_package.hour_median:HourMedian", treshold: 5}',
            "4:51: detection.detectors[0].treshold: unknown field; did you mean 'threshold'?",
        ),
        (
            '{kind: "my_package.hour_median:HourMedian", threshold: 0}',
            "4:62: detection.detectors[0].threshold: must be greater than 0",
        ),
        (
            '{kind: "my_package.nothing:HourMedian"}',
            (
                "4:14: detection.detectors[0].kind: cannot import my_package.nothing:HourMedian: "
                "ModuleNotFoundError: No module named 'my_package.nothing'"
            ),
        ),
        (
            '"my_package.hour_median:Nothing"',
            (
                "4:7: detection.detectors[0]: cannot import my_package.hour_median:Nothing: "
                "AttributeError: module 'my_package.hour_median' has no attribute 'Nothing'"
            ),
        ),
        (
            '{kind: "my_package.hour_median:KEPT"}',
            (
                "4:14: detection.detectors[0].kind: my_package.hour_median:KEPT is not a subclass of "
                "exporter.engine.detectors.Detector"
            ),
        ),
        (
            '{kind: "exporter.engine.detectors:ZScore"}',
            (
                "4:14: detection.detectors[0].kind: exporter.engine.detectors:ZScore needs a kind of its own with a "
                "default; it has 'zscore'"
            ),
        ),
    ],
    ids=["unknown-field", "limit", "no-module", "no-class", "no-detector", "kind-of-another"],
)
def test_a_mistake_is_reported_at_its_place(package: Path, detector: str, line: str) -> None:
    file = config(package, detector)
    with pytest.raises(ConfigError) as refused:
        load(file)
    assert list(refused.value.lines()) == [f"{file}:{line}"]


@pytest.mark.parametrize("name", ["any_pieces", "causal", "gaps_are_absent", "a_spike_is_detected", "state_is_bounded"])
def test_the_contract_holds_for_it(package: Path, name: str) -> None:
    from my_package.hour_median import HourMedian  # type: ignore[import-not-found]

    (check,) = [check for check in contract.checks_of(HourMedian) if check.__name__ == name]
    check(HourMedian())


def test_planted_in_the_tree_nothing_else_fails(tmp_path: Path) -> None:
    for folder in ("exporter", "tests", "docs"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__", "integration"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    detectors = tmp_path / "exporter" / "engine" / "detectors"
    (detectors / "hour_median.py").write_text(CODE, encoding="utf-8")
    registry = (detectors / "__init__.py").read_text(encoding="utf-8")
    union = re.search(r"AnyDetector = Annotated\[\s*(.*?),\s*Field", registry, re.DOTALL)
    assert union is not None
    registry = registry.replace(union[1], f"{union[1]} | HourMedian")
    registry = registry.replace(
        "from exporter.engine.detectors.iqr",
        "from exporter.engine.detectors.hour_median import HourMedian\nfrom exporter.engine.detectors.iqr",
    )
    (detectors / "__init__.py").write_text(registry, encoding="utf-8")
    own = ["tests/contract/test_detectors.py", "tests/unit/config", "exporter/engine/detectors/hour_median.py"]
    chosen = "(HourMedian and deterministic) or bad_file or document or description"
    pytest_run = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *own, "-k", chosen]
    run = subprocess.run(pytest_run, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout
    assert re.search(r"\d{3} passed", run.stdout)
    lint = Path(sys.executable).with_name("lint-imports")
    imports = subprocess.run([lint, "--no-cache"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert imports.returncode == 0, imports.stdout
