"""The limit of memory, as Kubernetes, Docker and systemd set it."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.evaluation.memory_limits import memory_limit

MIB = 2**20
V2, V1 = "sys/fs/cgroup", "sys/fs/cgroup/memory"


@pytest.mark.parametrize(
    ("groups", "files", "limit"),
    [
        pytest.param("0::/\n", {f"{V2}/memory.max": f"{512 * MIB}\n"}, 512 * MIB, id="a container"),
        pytest.param(
            "0::/system.slice/ae.service\n",
            {f"{V2}/system.slice/ae.service/memory.max": f"{MIB}\n", f"{V2}/system.slice/memory.max": "max"},
            MIB,
            id="a unit",
        ),
        pytest.param(
            "0::/pod/container\n",
            {f"{V2}/pod/container/memory.max": f"{3 * MIB}", f"{V2}/pod/memory.max": f"{2 * MIB}"},
            2 * MIB,
            id="the group above has less",
        ),
        pytest.param("0::/\n", {f"{V2}/memory.max": "max\n"}, None, id="no limit"),
        pytest.param(
            "9:name=systemd:/\n4:cpu,memory:/docker/1\n0::/\n",
            {f"{V1}/memory.limit_in_bytes": f"{MIB}\n"},
            MIB,
            id="version 1, the path of the host",
        ),
        pytest.param(
            "4:memory:/\n", {f"{V1}/memory.limit_in_bytes": "9223372036854771712\n"}, None, id="version 1, no limit"
        ),
        pytest.param("0::/\n", {}, None, id="not mounted"),
        pytest.param(None, {}, None, id="no cgroups at all"),
    ],
)
def test_limit(groups: str | None, files: dict[str, str], limit: int | None, tmp_path: Path) -> None:
    if groups is not None:
        files = {**files, "proc/self/cgroup": groups}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert memory_limit(tmp_path) == limit
