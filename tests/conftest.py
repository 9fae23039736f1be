"""What every test may use: golden files and quick property tests."""

from __future__ import annotations

import functools
import math
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

from exporter.evaluation.containment import Containment

ROOT = Path(__file__).parent.parent
GOLDEN = ROOT / "tests" / "golden"

# A shared, slow machine must not turn a property into a flake, so no example has a time limit.
settings.register_profile("default", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("default")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden",
        action="store_true",
        default=False,
        help="Rewrite the files in tests/golden from what the code says now; review the diff.",
    )
    parser.addoption(
        "--servers",
        metavar="FOLDER",
        default=None,
        help="Take Prometheus, Alertmanager and the other servers from FOLDER/usr/bin: `make integration SUITE=sid`.",
    )
    parser.addoption(
        "--screenshots",
        action="store_true",
        default=False,
        help="Take the pictures in docs/images and the session of docs/walkthrough.md anew.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Put the servers of `--servers` before those of the system."""
    if folder := config.getoption("--servers"):
        programs = Path(folder).resolve() / "usr" / "bin"
        if not (programs / "prometheus").exists():
            raise pytest.UsageError(f"--servers: there is no {programs / 'prometheus'}")
        os.environ["PATH"] = f"{programs}{os.pathsep}{os.environ['PATH']}"


def pytest_report_header() -> list[str]:
    """Say which servers the tests with servers run on."""
    return [f"{name}: {version}" for name in ("prometheus", "alertmanager") if (version := _version_of(name))]


def _version_of(name: str) -> str:
    program = shutil.which(f"prometheus-{name}") or shutil.which(name)
    if program is None:
        return ""
    said = subprocess.run([program, "--version"], capture_output=True, check=False, text=True)
    return (said.stdout + said.stderr).partition("\n")[0]


def pytest_xdist_auto_num_workers() -> int:
    """Three workers a core: the tests with servers spend most of their time waiting for a scrape or a notification."""
    return 3 * (os.cpu_count() or 1)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Hand out tests one by one, and the tests of a file that share a module's fixture or cache to one worker."""
    return _Scheduling(config, log)


class _Scheduling(LoadScopeScheduling):
    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return file if _shares_fixtures(file) else nodeid


@functools.cache
def _shares_fixtures(file: str) -> bool:
    text = (ROOT / file).read_text(encoding="utf-8")
    return 'scope="module"' in text or "@functools.cache" in text


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the tests with real servers first, and give them a second chance, which the summary shows.

    They wait, and the longest of them must not begin when all others are done.

    A machine that stands still for seconds makes a scrape or a notification late, and no wait is long enough for
    every machine. A defect fails twice.

    Where golden files are written anew, only the tests that write some are run.
    """
    if config.getoption("--update-golden"):
        writing = [item for item in items if "update_golden" in getattr(item, "fixturenames", ())]
        config.hook.pytest_deselected(items=[item for item in items if item not in writing])
        items[:] = writing
    for item in items:
        if item.get_closest_marker("integration"):
            item.add_marker(pytest.mark.flaky(reruns=1))
    items.sort(key=lambda item: item.get_closest_marker("integration") is None)


@pytest.fixture(autouse=True)
def _no_part_failed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail a test in which a part of a cycle failed: the cycle goes on without it, and would hide the mistake."""
    if request.node.get_closest_marker("parts_fail"):
        yield
        return
    errors: list[Exception] = []
    monkeypatch.setattr(Containment, "failed", lambda self, part, owner, error: errors.append(error))
    yield
    if errors:
        raise errors[0]


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether a test writes its file instead of comparing with it; only tests that ask for this run with the flag."""
    return bool(request.config.getoption("--update-golden"))


@pytest.fixture
def golden(update_golden: bool) -> Callable[[str, bytes | str], None]:
    """Compare bytes or text with ``tests/golden/<name>``: ``golden("page.txt", body)``."""

    def check(name: str, actual: bytes | str) -> None:
        file = GOLDEN / name
        data = actual.encode() if isinstance(actual, str) else actual
        if update_golden:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
            return
        assert file.exists(), f"{file} is missing; run pytest with --update-golden and review it"
        expected = file.read_bytes()
        try:
            texts = data.decode(), expected.decode()
        except UnicodeDecodeError:
            assert data == expected, f"differs from {file}"
        else:
            assert texts[0] == texts[1], f"differs from {file}; --update-golden rewrites it"

    return check


@pytest.fixture
def golden_numbers(golden: Callable[[str, bytes | str], None]) -> Callable[[str, str], None]:
    """Compare a table of numbers with ``tests/golden/<name>``, up to the rounding of another machine."""

    def check(name: str, actual: str) -> None:
        file = GOLDEN / name
        if not file.exists() or not _same_numbers(actual, file.read_text()):
            golden(name, actual)

    return check


def _same_numbers(actual: str, expected: str) -> bool:
    words, others = actual.split(), expected.split()
    return len(words) == len(others) and all(map(_same_word, words, others))


def _same_word(one: str, other: str) -> bool:
    try:
        return one == other or math.isclose(float(one), float(other), rel_tol=3e-4, abs_tol=1e-6)
    except ValueError:
        return False
