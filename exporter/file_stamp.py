"""Whether a file was written or replaced since it was read."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["FileStamp", "file_stamp", "stamp_of"]

FileStamp = tuple[int, ...]


def stamp_of(status: os.stat_result) -> FileStamp:
    """Return what differs once a file was written or replaced; also where a copy kept its time and size."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def file_stamp(file: Path) -> FileStamp:
    """Return the stamp of a file, or the number of the error where it has none."""
    try:
        return stamp_of(file.stat())
    except OSError as error:
        return (error.errno or 0,)
