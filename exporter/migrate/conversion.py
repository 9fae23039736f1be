"""A configuration that was made of another file, and what of that file is not in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import yaml

__all__ = ["Conversion", "query_name"]


@dataclass(slots=True)
class Conversion:
    """Sections of a configuration file, as plain data.

    Attributes
    ----------
    tool : str
        Whose file it was.
    sections : dict
    notes : list of str
        What was not converted or has another meaning, each with its place in the other file.
    """

    tool: str
    sections: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def note(self, place: str, message: str) -> None:
        """Note something once."""
        text = f"{place}: {message}"
        if text not in self.notes:
            self.notes.append(text)

    def as_yaml(self) -> str:
        """Return the file, with the notes as comments at its beginning."""
        lines = [f"# Converted from a file of {self.tool}. Check it with: anomaly-exporter check config FILE"]
        if self.notes:
            lines += ["#", "# Not in it, or different:", *(f"# - {note}" for note in self.notes)]
        body = yaml.safe_dump(self.sections, sort_keys=False, allow_unicode=True, width=10_000)
        return "\n".join(lines) + "\n\n" + body


def query_name(text: str, names: set[str]) -> str:
    """Return a name of a query that is not in `names` yet, as near to `text` as can be; and add it."""
    plain = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "_.-:") else "_" for letter in text)
    plain = plain[:60] or "query"
    plain = plain if plain[0].isalpha() or plain[0] == "_" else f"_{plain}"
    name, number = plain, 2
    while name in names:
        name, number = f"{plain}_{number}", number + 1
    names.add(name)
    return name
