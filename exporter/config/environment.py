"""What the file refers to: environment variables in secrets, and other files."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from exporter.config.messages import Diagnostic
from exporter.config.schema_walk import Survey
from exporter.yaml_reader import Loc

__all__ = ["expand_secrets", "resolve_files", "resolve_patterns", "unexpanded"]

_VARIABLE = re.compile(r"\$(\$)?\{([^}]*)\}")
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET_FILES = frozenset({"password_file", "credentials_file", "key_file", "secret_file"})
_MAY_HAVE_DOLLARS = frozenset({"expr", "annotations"})


def expand_secrets(data: Any, survey: Survey, environ: Mapping[str, str]) -> Iterator[Diagnostic]:
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
                yield Diagnostic(loc, "${...} must hold the name of an environment variable; write $${ for a plain ${")
            elif not environ.get(name):
                state = "empty" if name in environ else "not set"
                yield Diagnostic(loc, f"environment variable {name} is {state}")
        _set(data, loc, _VARIABLE.sub(lambda match: _value(match, environ), text))


def unexpanded(survey: Survey, data: Any) -> Iterator[Diagnostic]:
    """Yield a diagnostic for every ``${NAME}`` in a field that is not expanded."""
    for loc in survey.texts:
        match = _VARIABLE.search(_get(data, loc))
        if match and _VARIABLE_NAME.fullmatch(match[2]) and not _MAY_HAVE_DOLLARS.intersection(loc):
            fatal = loc[-1] in ("url", "external_url")
            yield Diagnostic(loc, "environment variables are expanded in secrets only, not here", warning=not fatal)


def resolve_files(data: Any, survey: Survey, folder: Path) -> Iterator[Diagnostic]:
    """Resolve every path of `data` against `folder`, in place, and yield diagnostics of unusable files."""
    for loc in survey.files:
        name = _get(data, loc)
        if not isinstance(name, str):
            continue
        if not name:
            yield Diagnostic(loc, "the name of the file is empty")
            continue
        path = folder / name
        _set(data, loc, str(path))
        yield from _unusable(loc, path)


def resolve_patterns(data: Any, folder: Path) -> None:
    """Resolve the patterns of every `file_sd` of `data` against `folder`, in place."""
    entries = data.get("alertmanagers")
    for entry in entries if isinstance(entries, list) else ():
        discovery = entry.get("file_sd") if isinstance(entry, dict) else None
        files = discovery.get("files") if isinstance(discovery, dict) else None
        if isinstance(files, list):
            files[:] = [str(folder / file) if isinstance(file, str) and file else file for file in files]


def _unusable(loc: Loc, path: Path) -> Iterator[Diagnostic]:
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            # To open a pipe is to wait for whoever writes to it, and it could be read only once.
            yield Diagnostic(loc, f"{str(path)!r} is not a regular file")
            return
        with path.open("rb") as file:
            empty = not file.read(1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        yield Diagnostic(loc, f"file {str(path)!r} cannot be read: {reason}")
        return
    if empty:
        yield Diagnostic(loc, f"file {str(path)!r} is empty")
    if loc[-1] in _SECRET_FILES and mode & 0o077:
        yield Diagnostic(
            loc, f"others can read {str(path)!r} (mode {mode & 0o777:04o}); give it mode 0600 or 0400", warning=True
        )


def _value(match: re.Match[str], environ: Mapping[str, str]) -> str:
    if match[1]:
        return match[0][1:]
    # A missing variable has been reported; the text stays, so that nothing else is reported about it.
    return environ.get(match[2]) or match[0]


def _get(data: Any, loc: Loc) -> Any:
    for part in loc:
        data = data[part]
    return data


def _set(data: Any, loc: Loc, value: str) -> None:
    _get(data, loc[:-1])[loc[-1]] = value
