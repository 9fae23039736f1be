"""Alertmanagers behind names and files."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dns.message
import dns.resolver
import dns.rrset
import pytest
from prometheus_client import CollectorRegistry
from pydantic import ValidationError

from exporter.delivery import AlertmanagerEntry, Discovery
from exporter.delivery.lookup import FileTargets, LookupFailedError, look_up_addresses, look_up_records
from tests.integration.process import eventually


def entry(**fields: Any) -> AlertmanagerEntry:
    return AlertmanagerEntry.model_validate(fields)


def dns_sd(**fields: Any) -> AlertmanagerEntry:
    top = {name: fields.pop(name) for name in ("scheme", "path_prefix") if name in fields}
    return entry(dns_sd=fields, **top)


@pytest.fixture
def addresses(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """What the system says of names; a name that is not in it has no address."""
    by_name: dict[str, list[str]] = {}

    def getaddrinfo(name: str, port: object, family: int, kind: int) -> list[Any]:
        of_family = [each for each in by_name.get(name, ()) if (":" in each) == (family == socket.AF_INET6)]
        if not of_family:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(family, kind, 6, "", (each, 0)) for each in of_family]

    monkeypatch.setattr("exporter.delivery.lookup.socket.getaddrinfo", getaddrinfo)
    return by_name


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, list[str]]]:
    """SRV records of a name server."""
    by_name: dict[str, list[str]] = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        def serve() -> None:
            while True:
                raw, client = server.recvfrom(4096)
                if not raw:
                    return
                query = dns.message.from_wire(raw)
                answer = dns.message.make_response(query)
                name = query.question[0].name
                found = by_name.get(name.to_text(omit_final_dot=True))
                if found is None:
                    answer.set_rcode(dns.rcode.NXDOMAIN)
                else:
                    answer.answer.append(dns.rrset.from_text(name, 5, "IN", "SRV", *found))
                server.sendto(answer.to_wire(), client)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers, resolver.port = ["127.0.0.1"], server.getsockname()[1]
        monkeypatch.setattr(dns.resolver, "default_resolver", resolver)
        yield by_name
        server.sendto(b"", server.getsockname())
        thread.join()


def test_a_name_with_several_addresses_is_one_alertmanager_each(addresses: dict[str, list[str]]) -> None:
    addresses["am.svc"] = ["10.0.0.2", "10.0.0.1", "fd00::1"]
    targets = look_up_addresses(entry(url="https://am.svc:9093/prefix", timeout="3s"))
    assert [target.url for target in targets] == ["https://10.0.0.1:9093/prefix", "https://10.0.0.2:9093/prefix"]
    assert {target.timeout for target in targets} == {3.0}
    # They are asked for by their name, and have a certificate for it.
    assert {target.tls_config.server_name for target in targets} == {"am.svc"}
    assert {target.headers["Host"].get_secret_value() for target in targets} == {"am.svc:9093"}


@pytest.mark.parametrize("several", [["10.0.0.1"], ["10.0.0.1", "fd00::1"], ["fd00::1"]])
def test_a_name_with_one_address_of_a_family_stays_a_name(addresses: dict[str, list[str]], several: list[str]) -> None:
    addresses["am.svc"] = several
    assert [target.url for target in look_up_addresses(entry(url="http://am.svc:9093"))] == ["http://am.svc:9093"]


def test_what_the_file_says_of_certificate_and_header_holds(addresses: dict[str, list[str]]) -> None:
    addresses["am.svc"] = ["fd00::1", "fd00::2"]
    own = entry(url="https://am.svc", headers={"host": "h"}, tls_config={"server_name": "s"})
    [target, _] = look_up_addresses(own)
    assert (target.url, target.tls_config.server_name, len(target.headers)) == ("https://[fd00::1]", "s", 1)


def test_addresses_of_names(addresses: dict[str, list[str]]) -> None:
    addresses["a.svc"], addresses["b.svc"] = ["10.0.0.1", "10.0.0.2"], ["10.0.0.2", "fd00::1"]
    plain = dns_sd(names=["a.svc", "b.svc"], type="A", port=9093, path_prefix="/am")
    assert plain.dns_sd is not None
    urls = [target.url for target in look_up_records(plain, plain.dns_sd)]
    assert urls == ["http://10.0.0.1:9093/am", "http://10.0.0.2:9093/am"]
    sixes = dns_sd(names=["b.svc"], type="AAAA", port=9093, scheme="https")
    assert sixes.dns_sd is not None
    assert [target.url for target in look_up_records(sixes, sixes.dns_sd)] == ["https://[fd00::1]:9093"]
    sixes = dns_sd(names=["a.svc"], type="AAAA", port=9093)
    assert sixes.dns_sd is not None
    with pytest.raises(LookupFailedError, match=r"a\.svc has no AAAA record"):
        look_up_records(sixes, sixes.dns_sd)


def test_hosts_of_service_records(records: dict[str, list[str]]) -> None:
    records["_web._tcp.am.svc"] = ["0 5 9093 am-1.am.svc.", "0 5 9094 am-0.am.svc."]
    of_service = dns_sd(names=["_web._tcp.am.svc"], scheme="https")
    assert of_service.dns_sd is not None
    targets = look_up_records(of_service, of_service.dns_sd)
    assert [target.url for target in targets] == ["https://am-0.am.svc:9094", "https://am-1.am.svc:9093"]
    del records["_web._tcp.am.svc"]
    with pytest.raises(LookupFailedError, match=r"^_web._tcp.am.svc: .*does not exist"):
        look_up_records(of_service, of_service.dns_sd)


def test_targets_of_files(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps([{"targets": ["am1:9093", "https://am2/x"], "labels": {"zone": "a"}}]))
    labels = "{__scheme__: https, __alerts_path__: /y/api/v2/alerts}"
    (tmp_path / "b.yaml").write_text(f"- targets: ['am3:1', 'am1:9093']\n- {{targets: ['am4:2'], labels: {labels}}}\n")
    (tmp_path / "c.yml").write_text("")
    own = entry(file_sd={"files": ["*.json"]}, path_prefix="/p", batch_size=7)
    files = FileTargets(own, [str(tmp_path / "*.json"), str(tmp_path / "*.y*ml")])
    expected = ["http://am1:9093/p", "https://am2/x", "http://am3:1/p", "https://am4:2/y"]
    assert [target.url for target in files.read()] == expected
    assert {target.batch_size for target in files.read()} == {7}
    # One that is being written keeps what it had, and does not cost those of others.
    assert not files.changed()
    (tmp_path / "a.json").write_text('[{"targets": ["am9:')
    (tmp_path / "b.yaml").unlink()
    assert files.changed()
    with pytest.raises(LookupFailedError, match=r"a\.json"):
        files.read()
    assert [target.url for target in files.targets] == expected[:2]


@pytest.mark.parametrize(
    "text",
    [
        "targets: [a]",
        "- {targets: [1]}",
        "- [a]",
        "- {targets: ['a b:c']}",
        "- {targets: ['http://u:p@am']}",
        "- {targets: ['am:1'], labels: {__alerts_path__: /x}}",
        "- {targets: ['am:1'], labels: {__scheme__: ftp}}",
    ],
)
def test_a_file_that_cannot_be_meant(tmp_path: Path, text: str) -> None:
    file = tmp_path / "a.yml"
    file.write_text(text)
    with pytest.raises(LookupFailedError, match=r"a\.yml: "):
        FileTargets(entry(file_sd={"files": ["a.yml"]}), [str(file)]).read()


def test_what_changes_is_followed_and_counted(tmp_path: Path) -> None:
    file = tmp_path / "am.json"
    own = entry(file_sd={"files": [str(file)]})
    fixed = entry(url="http://127.0.0.1:9093")
    registry = CollectorRegistry()
    discovery, changed = Discovery(registry), threading.Event()
    assert [target.url for target in discovery.configure([fixed, own])] == ["http://127.0.0.1:9093"]
    [state] = discovery.states()
    assert (state.targets, state.trouble) == (0, f"no file matches {file}")
    discovery.follow(changed.set)
    file.write_text('[{"targets": ["10.0.0.1:9093", "127.0.0.1:9093"]}]')
    assert changed.wait(60)
    eventually(lambda: len(discovery.targets) == 2)
    assert [target.url for target in discovery.targets] == ["http://127.0.0.1:9093", "http://10.0.0.1:9093"]
    source = {"source": f"file_sd {file}"}
    assert registry.get_sample_value("anomaly_exporter_alertmanager_targets", source) == 2
    assert registry.get_sample_value("anomaly_exporter_alertmanager_discovery_failures_total", source) >= 1
    assert [target.url for target in discovery.configure([fixed])] == ["http://127.0.0.1:9093"]
    assert registry.get_sample_value("anomaly_exporter_alertmanager_targets", source) is None
    discovery.stop()


def test_an_entry_that_stays_is_not_looked_up_again(addresses: dict[str, list[str]]) -> None:
    addresses["am.svc"] = ["10.0.0.1", "10.0.0.2"]
    discovery = Discovery(CollectorRegistry())
    own = entry(url="http://am.svc:9093")
    assert len(discovery.configure([own])) == 2
    addresses.clear()
    assert len(discovery.configure([entry(url="http://am.svc:9093")])) == 2
    # A name that cannot be looked up is left to the connection.
    other = entry(url="http://gone.svc:9093")
    assert [target.url for target in discovery.configure([other])] == ["http://gone.svc:9093"]
    assert [state.trouble for state in discovery.states()] == ["gone.svc has no address"]
    discovery.stop()


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"url": "http://a", "dns_sd": {"names": ["a"]}},
        {"url": "http://a", "scheme": "https"},
        {"dns_sd": {"names": []}},
        {"dns_sd": {"names": ["a"], "type": "A"}},
        {"dns_sd": {"names": ["a"], "port": 1}},
        {"file_sd": {"files": ["a.txt"]}},
        {"file_sd": {"files": ["a.json"]}, "path_prefix": "x"},
    ],
)
def test_entries_that_cannot_be_meant(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        entry(**fields)


def test_an_entry_is_written_as_it_can_be_read() -> None:
    addresses = dns_sd(names=["a"], type="A", port=1, path_prefix="/x")
    for own in (dns_sd(names=["a"]), entry(url="http://a:9093"), addresses):
        assert entry(**own.model_dump(exclude_none=True)) == own
