"""The Alertmanagers that an entry of the configuration stands for now: by DNS or by files."""

from __future__ import annotations

import glob
import ipaddress
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from exporter.delivery.settings import AlertmanagerEntry, AlertmanagerSettings, DnsDiscovery
from exporter.errors import ConfigError, ExporterError
from exporter.file_stamp import file_stamp
from exporter.yaml_reader import parse, read_text

__all__ = ["FileTargets", "LookupFailedError", "has_addresses", "look_up_addresses", "look_up_records"]

_MOST = 256
"""Alertmanagers of one entry."""
_DNS_LIFETIME = 5.0
_FAMILIES = (socket.AF_INET, socket.AF_INET6)
_NONE = frozenset({socket.EAI_NONAME, socket.EAI_NODATA, socket.EAI_ADDRFAMILY})
"""Errors that say that a name has no address of this family."""
_ALERTS_PATH = "/api/v2/alerts"


class LookupFailedError(ExporterError):
    """The Alertmanagers of an entry could not be looked up; the text says why."""


class _Group(msgspec.Struct):
    targets: list[str]
    labels: dict[str, str] = {}


def has_addresses(entry: AlertmanagerEntry) -> bool:
    """Return whether the URL of an entry has a name that may stand for several addresses."""
    host = urlsplit(entry.url).hostname or ""
    if not host or host == "localhost" or entry.proxy_from_environment:
        return False
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return True
    return False


def look_up_addresses(entry: AlertmanagerEntry) -> list[AlertmanagerSettings]:
    """Return one Alertmanager for each address of the name in a URL.

    A name with a single address, or with one of each family, stays as it is: then it is one server.
    """
    parts = urlsplit(entry.url)
    name = parts.hostname or ""
    several = [addresses for family in _FAMILIES if (addresses := _addresses(name, family))]
    if not several:
        raise LookupFailedError(f"{name} has no address")
    if len(several[0]) == 1:
        return [entry.at(entry.url)]
    port = "" if parts.port is None else f":{parts.port}"
    return [
        entry.at(f"{parts.scheme}://{_bracketed(address)}{port}{parts.path}", name=name, host=parts.netloc)
        for address in several[0][:_MOST]
    ]


def look_up_records(entry: AlertmanagerEntry, discovery: DnsDiscovery) -> list[AlertmanagerSettings]:
    """Return the Alertmanagers of all names of a `dns_sd`."""
    by_url: dict[str, AlertmanagerSettings] = {}
    for name in discovery.names:
        if discovery.type == "SRV":
            places = [(f"{host}:{port}", host) for host, port in _services(name)]
        else:
            addresses = _addresses(name, socket.AF_INET if discovery.type == "A" else socket.AF_INET6)
            if not addresses:
                raise LookupFailedError(f"{name} has no {discovery.type} record")
            places = [(f"{_bracketed(address)}:{discovery.port}", name) for address in addresses]
        for place, host in places:
            target = entry.at(entry.place(place), name=host)
            by_url.setdefault(target.url, target)
    return list(by_url.values())[:_MOST]


class FileTargets:
    """The Alertmanagers in the files of a `file_sd`. A file that cannot be used keeps what it had."""

    def __init__(self, entry: AlertmanagerEntry, patterns: Iterable[str]) -> None:
        self._entry = entry
        self._patterns = tuple(patterns)
        self._good: dict[Path, list[AlertmanagerSettings]] = {}
        self._seen: object = None

    def changed(self) -> bool:
        """Return whether a file came, went or was written since the last reading began."""
        return self._state() != self._seen

    def read(self) -> list[AlertmanagerSettings]:
        """Return the Alertmanagers of all files.

        Raises
        ------
        LookupFailedError
            A file cannot be used, or there is none; `targets` has what is left.
        """
        failures = []
        # The state before the reading, so that a change during it is not missed.
        self._seen = self._state()
        files = self._files()
        self._good = {file: targets for file, targets in self._good.items() if file in files}
        for file in files:
            try:
                self._good[file] = [self._target(place, labels) for place, labels in _places(file)]
            except (ConfigError, ValueError, TypeError) as error:
                failures.append(f"{file}: {'; '.join(str(error).splitlines())[:300]}")
        if not files:
            failures.append(f"no file matches {', '.join(self._patterns)}")
        if failures:
            raise LookupFailedError("; ".join(failures))
        return self.targets

    @property
    def targets(self) -> list[AlertmanagerSettings]:
        """The Alertmanagers of the files that could be used."""
        by_url = {target.url: target for targets in self._good.values() for target in targets}
        return list(by_url.values())[:_MOST]

    def _state(self) -> object:
        return [(file, file_stamp(file)) for file in self._files()]

    def _files(self) -> list[Path]:
        names = {name for pattern in self._patterns for name in glob.glob(pattern)}  # noqa: PTH207 - absolute patterns.
        return [path for path in map(Path, sorted(names)) if path.is_file()]

    def _target(self, place: str, labels: dict[str, str]) -> AlertmanagerSettings:
        if "://" in place:
            return self._entry.at(place)
        path = labels.get("__alerts_path__")
        if path is not None and not path.endswith(_ALERTS_PATH):
            raise ValueError(f"__alerts_path__ must end in {_ALERTS_PATH}, not {path!r}")
        prefix = None if path is None else path.removesuffix(_ALERTS_PATH)
        return self._entry.at(self._entry.place(place, labels.get("__scheme__"), prefix))


def _places(file: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the targets of a file, with the labels of their group."""
    document = parse(read_text(file), file)
    if document.problems:
        raise ConfigError(str(file), [problem for several in document.problems.values() for problem in several])
    try:
        groups = msgspec.convert([] if document.data is None else document.data, list[_Group])
    except msgspec.ValidationError as error:
        raise ValueError(f"not a list of groups with targets: {error}") from None
    for group in groups:
        for place in group.targets:
            yield place, group.labels


def _services(name: str) -> list[tuple[str, int]]:
    # Few need it, and it takes a tenth of the time of a start.
    from dns import resolver
    from dns.exception import DNSException

    try:
        answer = resolver.resolve(name, "SRV", lifetime=_DNS_LIFETIME, search=True)
    except (DNSException, OSError) as error:
        raise LookupFailedError(f"{name}: {' '.join(str(error).split())[:300]}") from None
    return sorted((record.target.to_text(omit_final_dot=True), record.port) for record in answer)


def _addresses(name: str, family: socket.AddressFamily) -> list[str]:
    """Return the addresses of a name in a fixed order. By the system, so that its hosts file counts too."""
    try:
        answer = socket.getaddrinfo(name, None, family, socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno in _NONE:
            return []
        raise LookupFailedError(f"{name}: {error.strerror}") from None
    except (OSError, ValueError) as error:
        raise LookupFailedError(f"{name}: {error}") from None
    return sorted({str(where[0]) for *_, where in answer})


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
