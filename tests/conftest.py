"""What every test may use: golden files and quick property tests."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

GOLDEN = Path(__file__).parent / "golden"

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
        "--screenshots",
        action="store_true",
        default=False,
        help="Take the pictures of the pages in docs/images anew.",
    )


def pytest_xdist_auto_num_workers() -> int:
    """Two workers a core: the tests with servers spend most of their time waiting for a scrape or a notification."""
    return 2 * (os.cpu_count() or 1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give a test with real servers a second chance, which the summary shows.

    A machine that stands still for seconds makes a scrape or a notification late, and no wait is long enough for
    every machine. A defect fails twice.
    """
    for item in items:
        if item.get_closest_marker("integration"):
            item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, bytes | str], None]:
    """Compare bytes or text with ``tests/golden/<name>``: ``golden("page.txt", body)``."""
    update = bool(request.config.getoption("--update-golden"))

    def check(name: str, actual: bytes | str) -> None:
        file = GOLDEN / name
        data = actual.encode() if isinstance(actual, str) else actual
        if update:
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
