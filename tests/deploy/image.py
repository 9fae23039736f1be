"""Building and running the image where no registry can be reached, as root and without a daemon.

The base images are stood in for by Debian's packages; the Dockerfile is the one that is shipped.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.tools import DEPLOY, ROOT
from tests.integration.process import REQUIRED, binary

__all__ = ["IMAGE", "Container", "Store", "store"]

IMAGE = "localhost/anomaly-exporter:test"
_PYTHON = ("ca-certificates", "libpython3.11-stdlib", "libstdc++6", "netbase", "python3", "python3-minimal", "tzdata")
_PIP = (
    "coreutils",
    "sed",
    "dash",
    "findutils",
    "python3-distutils",
    "python3-pip",
    "python3-setuptools",
    "python3-wheel",
)
BASES = {
    "docker.io/library/python:3.11-slim-bookworm": (*_PYTHON, *_PIP),
    "gcr.io/distroless/python3-debian12:nonroot": _PYTHON,
}
"""By the name of a base image: the packages that stand in for it."""
MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of its own is made in it.
ROOM = 3_000_000_000
"""Bytes that have to be free there; images in memory are made in half the time."""


@contextmanager
def store() -> Iterator[Store]:
    """Give a store of images of its own, or skip the test with the reason."""
    for tool in ("mmdebstrap", "buildah", "podman", "crun", "unshare", "nsenter"):
        binary(tool)
    give_up = pytest.fail if os.environ.get(REQUIRED) else pytest.skip
    if os.geteuid() != 0:
        give_up("images are built as root here")
    roomy = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM
    made = Store(Path(tempfile.mkdtemp(prefix="anomaly-exporter-image-", dir=MEMORY if roomy else None)))
    try:
        made.buildah("mount", made.buildah("from", "scratch").strip())
    except AssertionError as fault:
        made.remove()
        give_up(f"this machine mounts no layers: {fault}")
    try:
        yield made
    finally:
        made.remove()


class Store:
    """Images and containers in a folder of their own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._flags = ["--root", str(home / "root"), "--runroot", str(home / "run"), "--storage-driver", "overlay"]

    def buildah(self, *arguments: str | Path) -> str:
        """Run buildah; return what it printed."""
        return _run(["buildah", *self._flags, *map(str, arguments)])

    def podman(self, *arguments: str | Path, code: int | None = 0) -> str:
        """Run podman; return what it printed."""
        # In a mount namespace without the second hierarchy of control groups, which confuses the runtime.
        hide = 'umount /sys/fs/cgroup/unified 2>/dev/null; exec "$@"'
        command = ["podman", *self._flags, "--tmpdir", str(self.home / "tmp"), *map(str, arguments)]
        return _run(["unshare", "--mount", "sh", "-c", hide, "sh", *command], code)

    def build(self) -> None:
        """Make the base images, then ours."""
        made = {name: self.home / f"base-{number}.tar" for number, name in enumerate(BASES)}
        running = [subprocess.Popen(_debian(made[name], packages)) for name, packages in BASES.items()]
        assert [process.wait(120) for process in running] == [0, 0]
        self._library(next(iter(made.values())))
        for name, tar in made.items():
            container = self.buildah("from", "scratch").strip()
            self.buildah("add", "--quiet", container, tar, "/")
            self.buildah("commit", "--quiet", "--rm", container, name)
            tar.unlink()
        certificates = Path("/etc/ssl/certs")
        self.buildah(
            "bud", "--format=docker", "--isolation=chroot", "--network=host", "--pull-never", "--layers=false",
            *([f"--volume={certificates}:{certificates}:ro"] if certificates.is_dir() else []),
            "--ignorefile", DEPLOY / "docker" / "Dockerfile.dockerignore",
            "--file", DEPLOY / "docker" / "Dockerfile", "--tag", IMAGE, ROOT,
        )  # fmt: skip

    def _library(self, base: Path) -> None:
        """Stand in for the image of Node: `npm pack` is run here, and gives its file there."""
        version = re.findall(
            r'^PACKAGE, VERSION = "uplot", "(.*)"$', (ROOT / "hatch_build.py").read_text(), re.MULTILINE
        )
        folder = self.home / "library"
        folder.mkdir()
        _run(
            [
                binary("npm"),
                "pack",
                "--silent",
                "--ignore-scripts",
                f"--pack-destination={folder}",
                f"uplot@{version[0]}",
            ]
        )
        (package,) = folder.glob("*.tgz")
        npm = folder / "npm"
        npm.write_text(f"#!/bin/sh\ncp /{package.name} .\n")
        npm.chmod(0o755)
        container = self.buildah("from", "scratch").strip()
        self.buildah("add", "--quiet", container, base, "/")
        self.buildah("copy", "--quiet", container, npm, "/usr/bin/npm")
        self.buildah("copy", "--quiet", container, package, f"/{package.name}")
        self.buildah("commit", "--quiet", "--rm", container, "docker.io/library/node:22-slim")

    def inspect(self, what: str = IMAGE) -> dict[str, Any]:
        """Return what is to be known of an image or a container."""
        return dict(json.loads(self.podman("inspect", what))[0])

    def files(self) -> list[str]:
        """Return the paths of all files of the image."""
        container = self.buildah("from", "--pull-never", IMAGE).strip()
        top = Path(self.buildah("mount", container).strip())
        return [str(path.relative_to(top)) for path in top.rglob("*")]

    def remove(self) -> None:
        """End the containers and remove everything."""
        self.podman("rm", "--all", "--force", "--time=0", code=None)
        self.buildah("rm", "--all")
        for mount in Path("/proc/mounts").read_text().splitlines():
            path = mount.split()[1]
            if path.startswith(str(self.home)):
                subprocess.run(["umount", "--lazy", path], check=False, capture_output=True)
        shutil.rmtree(self.home, ignore_errors=True)


class Container:
    """A container of the image: no network but loopback, nothing to write to but /data and /tmp, no privilege."""

    def __init__(self, images: Store, name: str, folder: Path) -> None:
        self._images, self.name = images, name
        images.podman(
            "run", "--detach", "--name", name, "--network=none", "--read-only", "--cap-drop=ALL",
            "--security-opt=no-new-privileges", "--tmpfs=/tmp", "--memory=512m", "--ulimit=nofile=4096:4096",
            "--ulimit=nproc=4096:4096", f"--volume={folder}:/etc/anomaly-exporter:ro", IMAGE,
        )  # fmt: skip
        self.pid = int(images.inspect(name)["State"]["Pid"])

    def beside(self, *command: str) -> list[str]:
        """Return the command that runs a program of this machine in the network of the container."""
        return ["nsenter", f"--target={self.pid}", "--net", *command]

    def get(self, url: str) -> str:
        """Return the body of an answer in the network of the container."""
        code = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=5).read().decode())"
        done = subprocess.run(self.beside(sys.executable, "-c", code, url), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def status(self) -> dict[str, str]:
        """Return what the kernel says of the process."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}

    def stop(self) -> int:
        """Send SIGTERM, wait, and return the exit code."""
        self._images.podman("stop", "--time=30", self.name)
        return int(self._images.inspect(self.name)["State"]["ExitCode"])


def _debian(target: Path, packages: Sequence[str]) -> list[str]:
    shell = ['--customize-hook=ln -s dash "$1/bin/sh"'] if "dash" in packages else []
    include = ",".join(("base-files", *packages))
    return ["mmdebstrap", "--quiet", "--variant=extract", f"--include={include}", *shell, "bookworm", str(target)]


def _run(command: list[str], code: int | None = 0) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    assert code is None or done.returncode == code, f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout
