"""The check of identifiers notices each kind of breach, and nothing else."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

_SPEC = importlib.util.spec_from_file_location("check_words", Path(__file__).parents[2] / "scripts" / "check_words.py")
assert _SPEC is not None
assert _SPEC.loader is not None
check_words = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(check_words)


def problems(root: Path, text: str, file: str = "exporter/a.py") -> list[str]:
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    (root / file).write_text(text)
    checks = (check_words.check_words, check_words.check_class_names, check_words.check_glossary)
    return [str(problem) for check in checks for problem in check(root)]


@pytest.mark.parametrize(
    "text",
    [
        "found = 1",
        "for one in (): pass",
        "[x for one in ()]",
        "def f(known): pass",
        "lambda *, told: 1",
        "def f(*things, **asked): pass",
        "async def tell(): pass",
        "class LastMoment: pass",
        "class A:\n    kin: int",
        "class A:\n    def f(self): self._said = 1",
        "import os as outside",
        "try: pass\nexcept OSError as wanted: pass",
        "match 1:\n    case [book, *board]: pass",
        "if (usual_value := 1): pass",
        "with open('x') as ledger: pass",
        "def save_learned(): pass",
    ],
)
def test_a_dropped_word_is_a_problem_where_a_name_is_defined(tmp_path: Path, text: str) -> None:
    assert problems(tmp_path, text)


@pytest.mark.parametrize(
    "text",
    [
        "import x\nx.found()\nx.found = 1",
        "print(f(known=1))",
        "tone = someone = bookkeeping = None",
        "learned_state = is_learned = relearned = None",
        "max_things = 1",
        "'found'",
    ],
)
def test_what_is_only_used_or_only_similar_is_none(tmp_path: Path, text: str) -> None:
    assert problems(tmp_path, text) == []


def test_paths_are_checked(tmp_path: Path) -> None:
    assert problems(tmp_path, "", "exporter/people/x.py") == [
        "exporter/people/x.py:1: the path has the dropped word 'people'"
    ]


def test_two_public_classes_of_one_name_are_a_problem(tmp_path: Path) -> None:
    assert problems(tmp_path, "class A: pass\nclass _B: pass") == []
    assert problems(tmp_path, "class A: pass\nclass _B: pass", "exporter/b.py") == [
        "exporter/a.py:1: class A is also in exporter/b.py:1",
        "exporter/b.py:1: class A is also in exporter/a.py:1",
    ]


def test_the_glossary_names_files_that_exist(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "glossary.md").write_text("| a | b | `exporter/a.py`, `exporter/gone.py` |\n")
    assert problems(tmp_path, "") == ["docs/glossary.md:1: there is no exporter/gone.py"]


def test_counts_are_by_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    problems(tmp_path, "found = said = 1", "exporter/x/a.py")
    assert check_words.main(["--count", "--root", str(tmp_path)]) == 1
    assert capsys.readouterr().out.split() == ["2", "exporter/x", "2", "total"]
    assert check_words.main(["exporter/y", "--root", str(tmp_path)]) == 0
