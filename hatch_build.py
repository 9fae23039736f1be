"""Puts the chart library, with its licence, into what is built: the wheel, or the tree of an editable install.

It comes from its package on the registry of npm, in one version with one checksum, and is not in the repository.
"""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE, VERSION = "uplot", "1.6.32"
INTEGRITY = "sha512-KIMVnG68zvu5XXUbC4LQEPnhwOxBuLyW1AHtpm6IKTXImkbLgkMy+jabjLgSLMasNuGGzQm/ep3tOkyTxpiQIw=="
"""SHA-512 of the package, as the registry gives it."""
FILES = {
    "package/dist/uPlot.iife.min.js": "uPlot.iife.min.js",
    "package/dist/uPlot.min.css": "uPlot.min.css",
    "package/LICENSE": "uPlot.LICENSE",
}
FOLDER = Path("exporter/web/pages/static/lib")
ARCHIVE = f"{PACKAGE}-{VERSION}.tgz"


class ChartLibrary(BuildHookInterface):
    """Unpacks the library. Where it cannot be had, the pages show pictures; nothing is published without it."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - as hatchling calls it.
        """Unpack it, unless it is there: in a source distribution, or from an earlier build."""
        root = Path(self.root)
        folder = root / FOLDER
        if all((folder / name).is_file() for name in FILES.values()):
            return
        try:
            unpack(fetch(root), folder)
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            message = f"{PACKAGE} {VERSION} is not there ({error}); npm gets it, or put {ARCHIVE} beside pyproject.toml"
            if self.target_name != "wheel":
                raise RuntimeError(message) from error
            sys.stderr.write(f"charts of the pages will be pictures: {message}\n")


def fetch(root: Path) -> bytes:
    """Return the archive of the package: the one beside this file, or from the registry."""
    beside = root / ARCHIVE
    if beside.is_file():
        return beside.read_bytes()
    npm = shutil.which("npm")
    if npm is None:
        raise ValueError("there is no npm")
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", "--silent", "--ignore-scripts", f"{PACKAGE}@{VERSION}"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=120)  # noqa: S603 - our own words.
        return (Path(folder) / ARCHIVE).read_bytes()


def unpack(archive: bytes, folder: Path) -> None:
    """Write the files of the library into a folder.

    Raises
    ------
    ValueError
        The archive is not the one that was reviewed.
    """
    digest = "sha512-" + base64.b64encode(hashlib.sha512(archive).digest()).decode()
    if digest != INTEGRITY:
        raise ValueError(f"its checksum is {digest}, not {INTEGRITY}")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile() as file:
        file.write(archive)
        file.seek(0)
        with tarfile.open(fileobj=file) as content:
            for member, name in FILES.items():
                part = content.extractfile(member)
                if part is None:
                    raise ValueError(f"{member} is not in it")
                (folder / name).write_bytes(part.read())
