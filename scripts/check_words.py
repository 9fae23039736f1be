"""Refuse identifiers that use a dropped word, public classes that share a name, and glossary entries without a module.

``python scripts/check_words.py`` prints one line a problem and exits with 1 if there is any; ``--count`` prints how
many problems each folder has. docs/glossary.md lists the terms to use instead.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
FOLDERS = ("exporter", "grafana_dashboards", "demo", "scripts", "benchmarks")
_FORBIDDEN = """
one ones said told found known thing things turned outside around wanted asked usual people lesson lessons beats book
books board boards sheet sheets kin oddity oddities departed surroundings telling moment moments judgement judgements
remembering apart spending figures ledger ledgers standing standings tell tells teach teaches
"""
FORBIDDEN = frozenset(_FORBIDDEN.split())
ALLOWED = {
    "NOT_FOUND": "an error type of Prometheus' API",
    "known_events": "a metric",
    "max_things": "a field of the configuration",
    "parse_known_args": "a method of argparse",
    "usual": "a parameter of the detector novelty in the configuration",
}
"""Names that users see, or that a library has, and that therefore stay."""
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_PARTICIPLE = frozenset({"is", "was", "has", "be", "been", "not", "last"})
"""After one of these `learned` is a verb form; alone or last in a name it stands for the learned state."""


class Definition(NamedTuple):
    """A place that defines an identifier."""

    line: int
    name: str


class Problem(NamedTuple):
    """A name that is refused; `file` is relative to the root."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


def words(name: str) -> list[str]:
    """Split a name in snake_case or CamelCase into lower-case words.

    >>> words("_lastKnown_HTTPValue2")
    ['last', 'known', 'http', 'value']
    """
    return [word.lower() for word in _WORD.findall(name)]


def dropped_word(name: str) -> str | None:
    """Return the first word of `name` that must not be used, if there is one."""
    if name.strip("_") in ALLOWED:
        return None
    parts = words(name)
    if parts[-1:] == ["learned"] and _PARTICIPLE.isdisjoint(parts):
        return "learned"
    return next((word for word in parts if word in FORBIDDEN), None)


def definitions(tree: ast.AST) -> Iterator[Definition]:
    """Yield every name that `tree` defines: functions, classes, parameters, variables, attributes of self, aliases."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield Definition(node.lineno, node.name)
        elif isinstance(node, ast.arg):
            yield Definition(node.lineno, node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield Definition(node.lineno, node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            if isinstance(node.value, ast.Name) and node.value.id == "self":
                yield Definition(node.lineno, node.attr)
        elif isinstance(node, ast.alias) and node.asname:
            yield Definition(node.lineno, node.asname)
        elif isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)) and node.name:
            yield Definition(node.lineno, node.name)


def check_words(root: Path) -> Iterator[Problem]:
    """Check the names that are defined in the Python files of `FOLDERS`, and those of the files and folders."""
    for file, tree in _trees(root, FOLDERS):
        path = file.relative_to(root)
        for part in path.with_suffix("").parts:
            if (word := dropped_word(part)) is not None:
                yield Problem(str(path), 1, f"the path has the dropped word {word!r}")
        for line, name in sorted(set(definitions(tree))):
            if (word := dropped_word(name)) is not None:
                yield Problem(str(path), line, f"{name}: dropped word {word!r}; see docs/glossary.md")


def check_class_names(root: Path) -> Iterator[Problem]:
    """Check that no two public classes of the package have one name."""
    places: dict[str, list[tuple[str, int]]] = {}
    for file, tree in _trees(root, FOLDERS[:1]):
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append((str(file.relative_to(root)), node.lineno))
    for name, several in places.items():
        for place in several if len(several) > 1 else ():
            others = ", ".join(f"{file}:{line}" for file, line in several if (file, line) != place)
            yield Problem(*place, f"class {name} is also in {others}")


def check_glossary(root: Path) -> Iterator[Problem]:
    """Check that every path in the glossary exists."""
    glossary = root / "docs" / "glossary.md"
    text = glossary.read_text(encoding="utf-8") if glossary.exists() else ""
    for number, line in enumerate(text.splitlines(), start=1):
        for path in re.findall(r"`((?:exporter|scripts|docs|tests|demo|benchmarks)/[^`]*)`", line):
            if not (root / path).exists():
                yield Problem("docs/glossary.md", number, f"there is no {path}")


def _trees(root: Path, folders: tuple[str, ...]) -> Iterator[tuple[Path, ast.Module]]:
    for folder in folders:
        for file in sorted((root / folder).rglob("*.py")):
            yield file, ast.parse(file.read_text(encoding="utf-8"))


def main(argv: list[str] | None = None) -> int:
    """Print the problems, or how many each folder has; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("paths", nargs="*", help="only problems in files below these paths")
    parser.add_argument("--count", action="store_true", help="print the number of problems of each folder")
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    problems = [*check_words(args.root), *check_class_names(args.root), *check_glossary(args.root)]
    if args.paths:
        below = tuple(path.removesuffix("/") for path in args.paths)
        problems = [problem for problem in problems if any(f"{problem.file}/".startswith(f"{path}/") for path in below)]
    if args.count:
        counts = Counter("/".join(problem.file.split("/")[:-1][:2]) for problem in problems)
        lines = [f"{count:5d}  {folder}" for folder, count in sorted(counts.items())] + [f"{len(problems):5d}  total"]
    else:
        lines = list(map(str, problems))
    sys.stdout.writelines(f"{line}\n" for line in lines)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
