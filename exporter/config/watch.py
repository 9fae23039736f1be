"""Watches the configuration file, and the files that it includes, for another content."""

from __future__ import annotations

import glob
import hashlib
import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from exporter.file_stamp import FileStamp, stamp_of

__all__ = ["ConfigWatch"]

_Version = tuple[tuple[str, bytes], ...]
"""Names of files with a digest of what is in them; empty where one cannot be read."""


class ConfigWatch:
    """Compares contents, so that it sees a replaced file, an edited one, and the symbolic link of a ConfigMap alike.

    Parameters
    ----------
    file : Path
        The configuration file.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._patterns: tuple[str, ...] = ()
        self._read: dict[str, tuple[FileStamp, bytes]] = {}
        self._loaded = self._previous = self._version()

    def loading(self) -> None:
        """Note the present content: it is about to be loaded, and is not loaded again, also if it is wrong."""
        self._loaded = self._version()

    def included(self, patterns: Sequence[str]) -> None:
        """Watch the files of other patterns from now on, as a configuration that is in force has them."""
        if self._patterns != tuple(patterns):
            self._patterns = tuple(patterns)
            self._loaded = self._version()

    def changed(self) -> bool:
        """Return whether there is something else than what was loaded last; call it again and again.

        A file that is being written has another content in every call: only what is the same in two counts.
        """
        version, before = self._version(), self._previous
        self._previous = version
        return version == before and version != self._loaded

    def _version(self) -> _Version:
        names = [str(self._file), *sorted(self._matches())]
        self._read = {name: self._digest(name) for name in names}
        return tuple((name, digest) for name, (_, digest) in self._read.items())

    def _matches(self) -> Iterable[str]:
        for pattern in self._patterns:
            yield from glob.glob(str(self._file.parent / pattern))  # noqa: PTH207 - of absolute patterns, too.

    def _digest(self, name: str) -> tuple[FileStamp, bytes]:
        """Return the digest of a file, with what tells whether it has to be read again."""
        try:
            status = os.stat(name)  # noqa: PTH116 - of what a link points to.
            if not stat.S_ISREG(status.st_mode):
                # A pipe, as of a shell's <(...), has its content once, for who loads it.
                return (), b""
            stamp = stamp_of(status)
            cached = self._read.get(name)
            if cached is not None and cached[0] == stamp:
                return cached
            return stamp, hashlib.sha256(Path(name).read_bytes()).digest()
        except OSError:
            return (), b""
