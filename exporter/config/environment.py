"""What a file takes from outside: environment variables in secrets, and the files it names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter.config.schema_walk import Survey
from exporter.config.yaml_source import Loc

__all__ = ["Finding", "expand_secrets", "resolve_files", "unexpanded"]

_VARIABLE = re.compile(r"\$(\$)?\{([^}]*)\}")
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET_FILES = frozenset({"password_file", "credentials_file", "key_file", "secret_file"})
_MAY_HAVE_DOLLARS = frozenset({"expr", "annotations"})


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to tell the user about a location; a warning where the file can be used all the same."""

    loc: Loc
    message: str
    warning: bool = False
    at_key: bool = False


def expand_secrets(data: Any, survey: Survey, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Replace ``${NAME}`` in every secret of `data`, in place; ``$${NAME}`` stays as ``${NAME}``.

    A message names the variable, never a value.
    """
    for loc in survey.secrets:
        text = _get(data, loc)
        if not isinstance(text, str):
            continue
        for escaped, name in _VARIABLE.findall(text):
            if escaped:
                continue
            if not _VARIABLE_NAME.fullmatch(name):
                yield Finding(loc, "${...} must hold the name of an environment variable; write $${ for a plain ${")
            elif not environ.get(name):
                state = "empty" if name in environ else "not set"
                yield Finding(loc, f"environment variable {name} is {state}")
        _set(data, loc, _VARIABLE.sub(lambda found: _value(found, environ), text))


def unexpanded(survey: Survey, data: Any) -> Iterator[Finding]:
    """Say where ``${NAME}`` stands in a field that is not expanded."""
    for loc in survey.texts:
        found = _VARIABLE.search(_get(data, loc))
        if found and _VARIABLE_NAME.fullmatch(found[2]) and not _MAY_HAVE_DOLLARS.intersection(loc):
            fatal = loc[-1] in ("url", "external_url")
            yield Finding(loc, "environment variables are expanded in secrets only, not here", warning=not fatal)


def resolve_files(data: Any, survey: Survey, folder: Path) -> Iterator[Finding]:
    """Make every path of `data` relative to `folder`, in place, and say which files cannot be used."""
    for loc in survey.files:
        name = _get(data, loc)
        if not isinstance(name, str):
            continue
        if not name:
            yield Finding(loc, "the name of the file is empty")
            continue
        path = folder / name
        _set(data, loc, str(path))
        yield from _unusable(loc, path)


def _unusable(loc: Loc, path: Path) -> Iterator[Finding]:
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        yield Finding(loc, f"file {str(path)!r} cannot be read: {reason}")
        return
    if empty:
        yield Finding(loc, f"file {str(path)!r} is empty")
    if loc[-1] in _SECRET_FILES and mode & 0o077:
        yield Finding(
            loc, f"others can read {str(path)!r} (mode {mode & 0o777:04o}); give it mode 0600 or 0400", warning=True
        )


def _value(found: re.Match[str], environ: Mapping[str, str]) -> str:
    if found[1]:
        return found[0][1:]
    # What is missing has been reported; the text stays, so that nothing else is reported about it.
    return environ.get(found[2]) or found[0]


def _get(data: Any, loc: Loc) -> Any:
    for part in loc:
        data = data[part]
    return data


def _set(data: Any, loc: Loc, value: str) -> None:
    _get(data, loc[:-1])[loc[-1]] = value
