"""A copy of the configuration that was in force last, for a start with a file that has a mistake."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from exporter.config.load import Loaded, load
from exporter.errors import ConfigError

__all__ = ["LastGood"]

log = logging.getLogger(__name__)

_NAME = "config.last-good.yaml"


class LastGood:
    """The copy of one configuration file. Files of `query_files` are not copied: they are read where they are.

    Parameters
    ----------
    file : Path
        The configuration file.
    folder : Path
        Of the state; only its owner can read it.
    """

    def __init__(self, file: Path, folder: Path) -> None:
        self._file = file
        self._copy = folder / _NAME

    def load(self) -> tuple[Loaded, ConfigError | None]:
        """Load the file, or where it has a mistake the copy; return what was loaded, and the mistake.

        Raises
        ------
        ConfigError
            Of the file, where the copy does not help.
        """
        try:
            return load(self._file), None
        except ConfigError as mistake:
            if not self._copy.exists():
                raise
            try:
                return load(self._copy, folder=self._file.parent), mistake
            except ConfigError:
                raise mistake from None

    def keep(self) -> None:
        """Copy the file, which is in force. A failure is logged: the exporter goes on without a copy."""
        new = self._copy.with_suffix(".new")
        try:
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "wb") as copy:
                copy.write(self._file.read_bytes())
                copy.flush()
                os.fsync(copy.fileno())
            # It may be another one since it was loaded.
            load(new, folder=self._file.parent)
            new.replace(self._copy)
        except (OSError, ConfigError) as fault:
            log.warning("the configuration could not be copied", extra={"file": str(self._copy), "error": str(fault)})
