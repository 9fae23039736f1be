"""What a configuration file includes: the files of `query_files`, and the queries of presets."""

from __future__ import annotations

import copy
import glob
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from exporter.config.messages import Diagnostic, closest
from exporter.errors import ConfigError, Problem
from exporter.presets import preset, preset_names
from exporter.yaml_reader import Document, Loc, parse, problem_at, read_text

__all__ = ["Included", "include"]

_LISTS = ("queries", "groups")
"""What an included file may have."""
_MAX_FILES = 1000


@dataclass(slots=True)
class Included:
    """A document with everything that it includes.

    Attributes
    ----------
    document : Document
        Positions of what comes from another file name that file.
    files : list of Path
        The included files.
    starts : dict
        The index of the first item of each file and list in the document's list.
    origins : dict of int to int
        The index of the preset of each query that was added at the end.
    problems : list of Problem
        Of included files as a whole.
    diagnostics : list of Diagnostic
        At locations of the document.
    """

    document: Document
    files: list[Path] = field(default_factory=list)
    starts: dict[tuple[str, str], int] = field(default_factory=dict)
    origins: dict[int, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    diagnostics: list[Diagnostic] = field(default_factory=list)

    def problem(self, diagnostic: Diagnostic) -> Problem:
        """Return a diagnostic with its position, and the path in the file that it is in."""
        loc = diagnostic.loc
        if loc[:1] == ("queries",) and len(loc) > 1 and loc[1] in self.origins:
            # What is wrong in a field that holds for all of a preset is one problem, at the preset.
            loc = ("queries", self.origins[int(loc[1])], *loc[2:])
        position = self.document.position(loc, key=diagnostic.at_key)
        if position.file:
            loc = _shifted(loc, -self.starts[position.file, str(loc[0])])
        message = diagnostic.message
        if diagnostic.item:
            other = self.document.position(diagnostic.item)
            if other.file != position.file:
                section, index = diagnostic.item[0], int(diagnostic.item[1])
                start = self.starts[other.file, str(section)] if other.file else 0
                of = f"{other.file}:{other.line}" if other.file else f"line {other.line} of the file that includes this"
                message = f"{section}[{index - start}] of {of}{message.removeprefix(f'{section}[{index}]')}"
        return problem_at(position, loc, message)


def include(document: Document, folder: Path) -> Included:
    """Return `document`, whose data is a mapping, with the lists of `query_files` and the queries of presets.

    Parameters
    ----------
    document : Document
    folder : Path
        Where relative patterns of `query_files` start.
    """
    result = Included(_copy(document))
    patterns = result.document.data.get("query_files")
    for file in _matches(patterns if isinstance(patterns, list) else [], folder, result):
        try:
            _append(result, parse(read_text(file), file), file)
        except ConfigError as error:
            result.problems += [replace(problem, file=problem.file or str(file)) for problem in error.problems]
    _expand_presets(result)
    return result


def _copy(document: Document) -> Document:
    keys, values, written, problems = (document.keys, document.values, document.written, document.problems)
    return Document(copy.deepcopy(document.data), dict(keys), dict(values), dict(written), dict(problems))


def _matches(patterns: list[Any], folder: Path, result: Included) -> Iterator[Path]:
    """Yield the files that the patterns match, each once; a pattern without wildcards must match."""
    for at, pattern in enumerate(patterns):
        if not isinstance(pattern, str) or not pattern:
            continue
        names = sorted(glob.glob(str(folder / pattern)))  # noqa: PTH207 - of absolute patterns, too.
        if not names and not glob.has_magic(pattern):
            result.diagnostics.append(Diagnostic(("query_files", at), f"there is no file {pattern!r}"))
        elif not names:
            message = f"no file matches {pattern!r}"
            result.diagnostics.append(Diagnostic(("query_files", at), message, warning=True))
        for name in names:
            file = Path(name)
            if file.is_file() and file not in result.files and len(result.files) < _MAX_FILES:
                result.files.append(file)
                yield file


def _append(result: Included, part: Document, file: Path) -> None:
    """Add the lists of an included file, and the positions in it."""
    whole = result.document
    if part.data is None:
        result.diagnostics.append(Diagnostic(("query_files",), f"{file} is empty", warning=True))
        return
    if not isinstance(part.data, dict) or not part.data.keys() <= set(_LISTS):
        unknown = sorted(str(name) for name in part.data.keys() - set(_LISTS)) if isinstance(part.data, dict) else []
        loc: Loc = (unknown[0],) if unknown else ()
        position = part.position(loc, key=True)
        message = "an included file is a mapping with `queries`, and `groups` where there are any"
        result.problems.append(replace(problem_at(position, loc, message), file=str(file)))
        return
    for name in _LISTS:
        items = part.data.get(name)
        if not isinstance(items, list):
            continue
        target = whole.data.get(name)
        target = whole.data[name] = target if isinstance(target, list) else []
        first = result.starts[str(file), name] = len(target)
        target += items
        for mine, theirs in ((whole.keys, part.keys), (whole.values, part.values)):
            for loc, position in theirs.items():
                if _of_item(loc, name):
                    mine[_shifted(loc, first)] = position._replace(file=str(file))
        for loc, text in part.written.items():
            if _of_item(loc, name):
                whole.written[_shifted(loc, first)] = text
        for loc, problems in part.problems.items():
            if _of_item(loc, name):
                whole.problems[_shifted(loc, first)] = [replace(problem, file=str(file)) for problem in problems]


def _of_item(loc: Loc, name: str) -> bool:
    return len(loc) > 1 and loc[0] == name and isinstance(loc[1], int)


def _shifted(loc: Loc, by: int) -> Loc:
    return (loc[0], int(loc[1]) + by, *loc[2:])


def _expand_presets(result: Included) -> None:
    """Put the first query of each preset in its place, and the others at the end: indices of other queries stay."""
    queries = result.document.data.get("queries")
    if not isinstance(queries, list):
        return
    names = preset_names()
    first: dict[str, int] = {}
    for at, item in enumerate(list(queries)):
        if not isinstance(item, dict) or "preset" not in item:
            continue
        loc: Loc = ("queries", at)
        chosen, only = item["preset"], item.get("only")
        if chosen not in names:
            near = closest(chosen, names) if isinstance(chosen, str) else ""
            message = f"there is no preset {str(chosen)[:60]!r}{near}; presets: {', '.join(names)}"
            result.diagnostics.append(Diagnostic((*loc, "preset"), message))
            queries[at] = _placeholder(at)
            continue
        members = {query.name: query for query in preset(chosen).queries}
        selected = list(members) if only is None else [name for name in only if name in members] if _texts(only) else []
        wrong = [] if only is None or not _texts(only) else [name for name in only if name not in members]
        if only is not None and not selected and not wrong:
            result.diagnostics.append(Diagnostic((*loc, "only"), "must be a list of names of queries of the preset"))
        for name in wrong:
            message = f"preset {chosen} has no query {name[:60]!r}{closest(name, list(members))}"
            result.diagnostics.append(Diagnostic((*loc, "only"), message))
        more = {name: value for name, value in item.items() if name not in ("preset", "only")}
        if "name" not in more and (again := [name for name in selected if name in first]):
            result.diagnostics.append(_listed_twice(result.document, loc, chosen, first[again[0]], again))
            selected = [name for name in selected if name not in first]
        first |= dict.fromkeys(selected, at)
        expanded = [_overlay(members[name].fields, more) for name in selected]
        # What else is wrong in it is said all the same.
        queries[at] = expanded[0] if expanded else {**_placeholder(at), **more}
        for fields in expanded[1:]:
            result.origins[len(queries)] = at
            queries.append(fields)


def _listed_twice(document: Document, loc: Loc, chosen: str, first: int, again: list[str]) -> Diagnostic:
    """Return what to say of a preset that is there before: its queries cannot be told apart by their names."""
    position = document.position(("queries", first))
    where = f"{position.file}:{position.line}" if position.file else f"line {position.line}"
    others = f" and {len(again) - 1} more" if len(again) > 1 else ""
    message = f"preset {chosen} of {where} has the query {again[0]!r}{others} already; remove one, or choose with only"
    return Diagnostic((*loc, "preset"), message)


def _placeholder(at: int) -> dict[str, Any]:
    """Return a query about which there is nothing to report, for one whose preset has its diagnostic already."""
    return {"name": f"preset_{at}", "expr": "vector(0)"}


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _overlay(fields: Any, more: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a query of a preset with those of the file, which win; mappings are merged."""
    result: dict[str, Any] = copy.deepcopy(dict(fields))
    for name, value in more.items():
        below = result.get(name)
        result[name] = {**below, **value} if isinstance(below, dict) and isinstance(value, dict) else value
    return result
