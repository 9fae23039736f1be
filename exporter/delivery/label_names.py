"""Whether an Alertmanager takes label names of any form, by its version."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import msgspec

from exporter.alerting.alert import Alert
from exporter.alerting.identity import is_plain_name
from exporter.errors import AlertmanagerError
from exporter.http_client import HttpResponse

__all__ = ["LabelNames"]

_FIRST = (0, 27)
"""The version that takes them."""
_AGAIN, _SOON = 600.0, 30.0
"""Seconds until its version is asked for again: it may have been replaced; and where it did not say."""
_VERSION = re.compile(r"v?(\d+)\.(\d+)")


class _VersionInfo(msgspec.Struct, frozen=True):
    version: str = ""


class _Status(msgspec.Struct):
    versionInfo: _VersionInfo = _VersionInfo()  # noqa: N815 - the API's name.


_STATUS = msgspec.json.Decoder(_Status)


class LabelNames:
    """Asks for the version only when an alert has a name that depends on it."""

    def __init__(self) -> None:
        self.takes_any = False
        self._ask_at = 0.0
        self._refused = False

    def update(self, alerts: Iterable[Alert], mono: float, ask: Callable[[], HttpResponse]) -> bool:
        """Ask where these alerts need it and it is time; return whether the answer changed.

        Parameters
        ----------
        mono : float
            Monotonic seconds.
        ask : callable
            Gets ``/api/v2/status``; raises `AlertmanagerError`.
        """
        if mono < self._ask_at or all(is_plain_name(name) for alert in alerts for name in alert.labels):
            return False
        before, self._ask_at = self.takes_any, mono + _SOON
        try:
            status = _STATUS.decode(ask().body)
        except (AlertmanagerError, msgspec.DecodeError):
            return False
        self._ask_at = mono + _AGAIN
        match = _VERSION.match(status.versionInfo.version)
        new_enough = match is not None and (int(match[1]), int(match[2])) >= _FIRST
        self.takes_any = new_enough and not self._refused
        return self.takes_any is not before

    def refused(self, alerts: Iterable[Alert]) -> bool:
        """Note that alerts were refused; return whether that may be because of their names: it is in classic mode."""
        if not self.takes_any or all(is_plain_name(name) for alert in alerts for name in alert.labels):
            return False
        self._refused, self.takes_any = True, False
        return True
