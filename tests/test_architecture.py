"""docs/architecture.md and docs/glossary.md describe the tree as it is."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()
GLOSSARY = (ROOT / "docs" / "glossary.md").read_text()
FOLDERS = sorted(file.parent.name for file in (ROOT / "exporter").glob("*/__init__.py"))


def levels() -> dict[str, int]:
    """Return the level of each module below `exporter` in the import contract, 0 = top."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    return {name.strip(): level for level, layer in enumerate(layers) for name in layer.split("|")}


def rows() -> list[str]:
    """Return the folders of the table, in its order."""
    return re.findall(r"^\| `exporter/([a-z_.]+)`", ARCHITECTURE, re.MULTILINE)


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_folder_says_what_it_may_contain(folder: str) -> None:
    assert folder in rows()


def test_the_table_has_no_folder_that_does_not_exist() -> None:
    assert [row for row in rows() if not (ROOT / "exporter" / row).exists()] == []


def test_the_table_lists_the_folders_in_the_order_of_the_import_contract() -> None:
    level = levels()
    order = [level[row.removesuffix(".py")] for row in rows()]
    assert order == sorted(order)


@pytest.mark.parametrize("text", [ARCHITECTURE, GLOSSARY], ids=["architecture", "glossary"])
def test_files_that_are_named_exist(text: str) -> None:
    named = re.findall(r"`((?:exporter|tests|docs|scripts)/[\w./]+)`", text)
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("change", ["a detector", "a metric", "an annotation", "a configuration field", "an endpoint"])
def test_a_typical_change_has_a_place_to_start(change: str) -> None:
    section = ARCHITECTURE.split(f"### Adding {change}\n")[1].split("\n### ")[0]
    assert re.search(r"`exporter/|\]\(", section)


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_folder_has_one_line_of_its_own(folder: str) -> None:
    first = (ROOT / "exporter" / folder / "__init__.py").read_text().splitlines()[0]
    assert re.fullmatch(r'"""[A-Z`/].{20,110}\.("""|)', first), first


def test_a_term_of_the_glossary_is_defined_once() -> None:
    terms = [
        term.strip()
        for row in re.findall(r"^\| ([^|`]+) \| ", GLOSSARY, re.MULTILINE)
        for term in row.split(",")
        if row not in {"term", "---"}
    ]
    assert len(terms) == len(set(terms))
