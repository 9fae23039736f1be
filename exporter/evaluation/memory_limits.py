"""The memory that the process may have: by its control group, and by the limit of its address space."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

__all__ = ["address_space_limit", "memory_limit"]

_FILES = {"": ("sys/fs/cgroup", "memory.max"), "memory": ("sys/fs/cgroup/memory", "memory.limit_in_bytes")}
"""By controller: where groups of version 2 and of version 1 are mounted, and the file with the limit."""
_NO_LIMIT = 1 << 60
"""Version 1 writes a number beyond all memory where there is no limit."""


def memory_limit(root: Path = Path("/")) -> int | None:
    """Return the lowest limit of the control group of this process and of those above it, bytes; None without one.

    It is that of a container, or of a systemd unit.

    Parameters
    ----------
    root : Path
        Of the file system.
    """
    limits = [limit for file in _limit_files(root) if (limit := _read(file)) is not None]
    return min(limits, default=None)


def address_space_limit() -> int | None:
    """Return the limit by `ulimit -v` or systemd's `LimitAS=`, in bytes; None where there is none."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def _limit_files(root: Path) -> Iterator[Path]:
    try:
        groups = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in groups:
        _, controllers, group = line.split(":", 2)
        for controller in controllers.split(","):
            if controller in _FILES:
                mount, name = _FILES[controller]
                path = PurePosixPath(group.lstrip("/"))
                # In a container the path may be that of the host, and only the root is there.
                yield from (root / mount / above / name for above in (path, *path.parents))


def _read(file: Path) -> int | None:
    try:
        text = file.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() and int(text) < _NO_LIMIT else None
