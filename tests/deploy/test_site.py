"""The documentation as a site: it builds without a warning, is whole, and asks no other host."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from scripts.site import PAGES, with_links
from tests.deploy.tools import ROOT, run

MKDOCS = str(Path(sys.executable).parent / "mkdocs")


def build(folder: Path, config: Path = ROOT / "mkdocs.yml", code: int = 0) -> str:
    os.environ.setdefault("NO_MKDOCS_2_WARNING", "1")
    # Not --quiet: it also silences the warnings that --strict counts.
    return run(MKDOCS, "build", "--strict", "--config-file", config, "--site-dir", folder, code=code)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    build(folder)
    return folder


def test_every_document_is_a_page_and_loads_nothing_from_other_hosts(site: Path) -> None:
    names = {file.stem for file in (ROOT / "docs").glob("*.md")} | {name.removesuffix(".md") for name in PAGES.values()}
    assert [name for name in sorted(names) if not (site / f"{name}.html").exists()] == []
    for page in site.glob("*.html"):
        loaded = re.findall(r'<(?:script|link|img|iframe)[^>]*(?:src|href)="(https?:[^"]*)', page.read_text())
        assert loaded == [], page.name


def test_links_of_the_site_lead_to_files_of_the_site(site: Path) -> None:
    for page in site.glob("*.html"):
        for link in re.findall(r'(?:href|src)="(?!https?:|data:|#|mailto:|/)([^"#?]+)', page.read_text()):
            assert (site / link).exists(), f"{page.name}: {link}"


def test_a_broken_link_fails(tmp_path: Path) -> None:
    for name in ("mkdocs.yml", *PAGES):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "site.py", tmp_path / "scripts")
    with (tmp_path / "docs" / "concepts.md").open("a") as page:
        page.write("\n[no page](nowhere.md) [no section](tuning.md#nowhere)\n")
    said = build(tmp_path / "site", tmp_path / "mkdocs.yml", code=1)
    assert "nowhere.md" in said
    assert "#nowhere" in said


@pytest.mark.parametrize(
    ("text", "folder", "link"),
    [
        ("[a](docs/concepts.md#reading-a-score)", "", "[a](concepts.md#reading-a-score)"),
        ("[a](../README.md)", "docs", "[a](index.md)"),
        ("[a](../deploy/kubernetes)", "docs", "[a](files.md#deploykubernetes)"),
        ("[a](systemd/anomaly-exporter.service)", "deploy", "[a](files/deploy/systemd/anomaly-exporter.service)"),
        ("[a](#here) [b](https://example.org/x.md)", "docs", "[a](#here) [b](https://example.org/x.md)"),
        ("[a](metrics.md)", "docs", "[a](metrics.md)"),
    ],
)
def test_links_are_those_of_the_site(text: str, folder: str, link: str) -> None:
    assert with_links(text, folder) == link
