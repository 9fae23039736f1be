"""A configuration file with other settings of some queries; comments and everything else stay as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from exporter.tune.report import changes
from exporter.tune.search import Tuned
from exporter.yaml_reader import Document, parse

__all__ = ["with_settings"]

_PLACES: Mapping[str, tuple[str, ...]] = {
    "direction": ("direction",),
    "min_deviation": ("min_deviation",),
    "min_relative_deviation": ("min_relative_deviation",),
    "quorum": ("detection", "quorum"),
    "for_": ("alert", "for"),
}


def with_settings(text: str, file: Path, results: Sequence[Tuned]) -> tuple[str, list[str]]:
    """Return the text of a file with the proposed settings, and the names of queries to be changed by hand.

    These are queries of presets and of other files, and those that are written on one line.
    """
    by_hand = []
    for tuned in results:
        name, different = tuned.plan.name, changes(tuned)
        edited: str | None = text
        for field, (_, value) in different.items():
            edited = None if edited is None else _with(edited, file, name, _PLACES[field], value)
        if edited is None:
            by_hand.append(name)
        else:
            text = edited
    return text, by_hand


def _with(text: str, file: Path, query: str, place: tuple[str, ...], value: str) -> str | None:
    document = parse(text, file)
    queries = document.data.get("queries") if isinstance(document.data, dict) else None
    names = [each.get("name") if isinstance(each, dict) else None for each in queries or ()]
    if query not in names:
        return None
    lines = text.splitlines(keepends=True)
    edited = _edit(lines, document, ("queries", names.index(query)), place, value)
    if edited is None:
        return None
    new = "".join(edited)
    # What cannot be edited line by line, such as a value on several lines, is left to a person.
    result = parse(new, file)
    loc: tuple[str | int, ...] = ("queries", names.index(query), *place)
    return new if result.written.get(loc, _at(result.data, loc)) == value else None


def _edit(
    lines: list[str], document: Document, query: tuple[str | int, ...], place: tuple[str, ...], value: str
) -> list[str] | None:
    loc = (*query, *place)
    if loc in document.values:
        line, column, *_ = document.values[loc]
        old = document.written.get(loc, str(_at(document.data, loc)))
        whole = lines[line - 1]
        if not whole[column - 1 :].startswith(old):
            return None
        lines[line - 1] = whole[: column - 1] + value + whole[column - 1 + len(old) :]
        return lines
    section = (*query, *place[:-1])
    if len(place) > 1 and section in document.keys and not _at(document.data, section):
        line, column, *_ = document.values[section]
        if not lines[line - 1][column - 1 :].startswith("{}"):
            return None
        lines[line - 1] = lines[line - 1].replace("{}", f"{{{place[-1]}: {value}}}", 1)
        return lines
    if len(place) > 1 and section in document.keys:
        first = next(iter(_at(document.data, section)))
        line, column, *_ = document.keys[*section, first]
        return _inserted(lines, line - 1, column - 1, [f"{place[-1]}: {value}"])
    line, column, *_ = document.keys[*query, "name"]
    added = [f"{place[0]}: {value}"] if len(place) == 1 else [f"{place[0]}:", f"  {place[1]}: {value}"]
    return _inserted(lines, line, column - 1, added, beside=line - 1)


def _inserted(
    lines: list[str], before: int, indent: int, added: Sequence[str], beside: int | None = None
) -> list[str] | None:
    """Insert lines where the mapping is written one field a line."""
    neighbour = lines[before if beside is None else beside]
    if neighbour[:indent].strip(" -"):
        return None
    lines[before:before] = [f"{' ' * indent}{text}\n" for text in added]
    return lines


def _at(data: Any, loc: Sequence[Any]) -> Any:
    for part in loc:
        data = data[part]
    return data
