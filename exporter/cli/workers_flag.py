"""The flag ``--workers``, which several commands have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["add_workers"]


def add_workers(add: Callable[..., Any], default: str = "as many as there are cores") -> None:
    """Add the flag; `default` is what happens without it."""
    add("--workers", metavar="N",
        help="number of processes, or the scheduler of a Dask cluster as tcp://scheduler:8786; the result is the same "
        f"(default: {default})")  # fmt: skip
