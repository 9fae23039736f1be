"""The example, the presets and the composition on hosts as they are: which devices they read."""

from __future__ import annotations

import re

import promql_parser
import pytest

from exporter.config.load import load
from exporter.presets import preset, preset_names
from tests.deploy.tools import ROOT

VIRTUAL = [
    "lo", "veth1a2b", "docker0", "br-5f3a", "cni0", "cali12ab", "cilium_host", "lxc9f", "flannel.1", "vxlan.calico",
    "genev_sys_6081", "weave", "tunl0", "kube-ipvs0", "nodelocaldns", "dummy0", "ovs-system", "ovn-k8s-mp0",
    "antrea-gw0", "azvab12", "gke3f2", "eni1f2", "virbr0", "vnet3", "tap0", "tun0", "wg0",
]  # fmt: skip
REAL = ["eth0", "eno1", "ens192", "enp3s0f0", "enP2p1s0", "bond0", "team0", "wlan0", "ib0", "em1", "vmbr0"]


def expressions() -> dict[str, str]:
    found = {}
    for file in ("config.example.yaml", "deploy/docker/exporter/config.yaml"):
        for query in load(ROOT / file).config.queries:
            found[f"{file} {query.name}"] = query.expr
    for name in preset_names():
        for query in preset(name).queries:
            found[f"{name} {query.name}"] = query.fields["expr"]
    return found


EXPRESSIONS = expressions()


def pattern_of(expr: str, label: str) -> re.Pattern[str]:
    [text] = set(re.findall(rf'{label}!~"([^"]*)"', expr))
    return re.compile(text.replace("\\\\", "\\"))


def matching(word: str) -> list[tuple[str, str]]:
    return [(name, expr) for name, expr in EXPRESSIONS.items() if word in expr]


@pytest.mark.parametrize(("name", "expr"), matching("node_network_receive_bytes_total"))
def test_interfaces_of_containers_are_left_out_and_real_ones_are_not(name: str, expr: str) -> None:
    left_out = pattern_of(expr, "device")
    assert [one for one in VIRTUAL if not left_out.fullmatch(one)] == []
    assert [one for one in REAL if left_out.fullmatch(one)] == []


@pytest.mark.parametrize(("name", "expr"), matching("node_disk_io_time_seconds_total"))
def test_a_disk_counts_once(name: str, expr: str) -> None:
    left_out = pattern_of(expr, "device")
    assert [one for one in ("dm-0", "dm-12", "md127", "loop3", "ram0", "sr0") if not left_out.fullmatch(one)] == []
    assert [one for one in ("sda", "sdb", "nvme0n1", "vda", "xvdf", "mmcblk0") if left_out.fullmatch(one)] == []


@pytest.mark.parametrize(("name", "expr"), matching("node_filesystem_size_bytes"))
def test_file_systems_of_others_are_left_out(name: str, expr: str) -> None:
    left_out = pattern_of(expr, "fstype")
    others = ("nfs", "nfs4", "fuse.s3fs", "fuseblk", "cifs", "tmpfs", "overlay", "squashfs")
    assert [one for one in others if not left_out.fullmatch(one)] == []
    assert [one for one in ("ext4", "xfs", "btrfs", "zfs") if left_out.fullmatch(one)] == []


@pytest.mark.parametrize(("name", "expr"), matching("http_request_duration_seconds_bucket"))
def test_a_percentile_has_enough_requests(name: str, expr: str) -> None:
    promql_parser.parse(expr)
    assert re.search(r"and on \(.*?_count\[5m\]\)\) > 0\.\d", expr, re.DOTALL), name
