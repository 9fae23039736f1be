"""Parsers of the command line whose errors say what to write instead, and not how every flag is used."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

__all__ = ["CommandParser", "SubcommandParser"]

_CONFIG, _PROMETHEUS = "--config.file", "--prometheus.url"


class CommandParser(argparse.ArgumentParser):
    """A parser of commands and flags."""

    def error(self, message: str) -> NoReturn:
        """End the process, with one line about the error and one that says where the flags are listed."""
        self.exit(2, f"{self.prog}: error: {message}\nsee: {self.prog} --help\n")

    def unknown(self, words: Sequence[str], commands: Iterable[str] = ()) -> NoReturn:
        """End the process because of words that are neither a flag nor an argument, nor one of `commands`."""
        word, candidates = words[0], [*self._option_string_actions, *commands]
        flag = word.partition("=")[0]
        if flag.startswith("-"):
            self.error(f"unknown flag {flag}{_closest(flag, candidates)}")
        if _is_file(word) and _CONFIG in candidates:
            check = f", or to check it: {self.prog} check config {word}" if "check" in commands else ""
            self.error(f"unexpected argument {word!r}; did you mean {_CONFIG}={word}{check}?")
        if "://" in word and _PROMETHEUS in candidates:
            self.error(f"unexpected argument {word!r}; did you mean {_PROMETHEUS}={word}?")
        if commands:
            self.error(f"unknown command {word!r}{_closest(word, candidates) or _list(commands)}")
        self.error(f"unexpected argument {word!r}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        choices = action.choices
        if isinstance(choices, dict) and value not in choices:
            # They are parsers of commands.
            raise argparse.ArgumentError(None, f"unknown command {value!r}{self._instead(value, choices)}")
        super()._check_value(action, value)

    def _instead(self, value: str, choices: dict[str, argparse.ArgumentParser]) -> str:
        if not _is_file(value) and (near := _closest(value, choices)):
            return near
        if len(choices) > 1:
            return _list(choices)
        [(name, parser)] = choices.items()
        takes_arguments = bool(parser._get_positional_actions())  # noqa: SLF001 - there is no other way to ask.
        return f"; did you mean {self.prog} {name}{f' {value}' if takes_arguments else ''}?"


class SubcommandParser(CommandParser):
    """The parser of one command: what it does not know is an error of its own, and not one of the whole program."""

    def parse_known_args(self, args: Iterable[str] | None = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Parse arguments; none is left."""
        parsed, rest = super().parse_known_args(args, namespace)
        if rest:
            self.unknown(rest)
        return parsed, rest


def _closest(word: str, candidates: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(candidates), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _list(commands: Iterable[str]) -> str:
    return f"; there are: {', '.join(commands)}"


def _is_file(word: str) -> bool:
    return word.endswith((".yaml", ".yml")) or Path(word).is_file()
