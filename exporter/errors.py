"""The exception tree.

::

    ExporterError
    ├── ConfigError          the file is wrong; carries every problem with its position
    ├── UsageError           a flag has a value that cannot be used
    ├── StateError           the state directory or database cannot be used
    └── UpstreamError        a server we call did not give a usable answer; carries a Reason
        ├── PrometheusError
        └── AlertmanagerError

Library exceptions are mapped to these at the edge of the shell; nothing above the edge catches a
library's own type.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = [
    "AlertmanagerError",
    "ConfigError",
    "ExporterError",
    "Problem",
    "PrometheusError",
    "Reason",
    "RemoteWriteError",
    "StateError",
    "UpstreamError",
    "UsageError",
    "WorkersClosedError",
    "WorkersError",
]


class Reason(StrEnum):
    """Why a call to another server failed. The value is the metric label ``reason``; the set is closed."""

    DNS = "dns"
    REFUSED = "refused"
    CONNECTION = "connection"
    TLS = "tls"
    TIMEOUT = "timeout"
    UNAUTHORIZED = "unauthorized"
    REDIRECT = "redirect"
    RATE_LIMITED = "rate_limited"
    UNAVAILABLE = "unavailable"
    HTTP = "http"
    BAD_DATA = "bad_data"
    EXECUTION = "execution"
    MALFORMED = "malformed"
    TOO_LARGE = "too_large"
    CREDENTIALS = "credentials"
    REJECTED = "rejected"

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later without anybody changing anything."""
        return self in _RETRYABLE


_RETRYABLE = frozenset(
    {
        Reason.DNS,
        Reason.REFUSED,
        Reason.CONNECTION,
        Reason.TLS,
        Reason.TIMEOUT,
        Reason.RATE_LIMITED,
        Reason.UNAVAILABLE,
    }
)


class ExporterError(Exception):
    """Base of all expected faults; the text explains the fault to the user."""


class UsageError(ExporterError):
    """A flag has a value that cannot be used."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """A mistake in a configuration file. `line` and `column` count from 1.

    `file` is empty where it is the configuration file itself, and not a file that it includes.
    """

    line: int
    column: int
    path: str
    message: str
    file: str = ""

    def text(self, file: str) -> str:
        """Return a line such as ``config.yaml:14:7: queries[0].expr: message``; `file` is the configuration file."""
        path = f"{self.path}: " if self.path else ""
        return f"{self.file or file}:{self.line}:{self.column}: {path}{self.message}"


class ConfigError(ExporterError):
    """A configuration file that cannot be used.

    Parameters
    ----------
    file : str
        The file as the user named it.
    problems : sequence of Problem
        All of them, in file order.
    """

    def __init__(self, file: str, problems: list[Problem]) -> None:
        self.file = file
        self.problems = sorted(problems, key=lambda problem: (problem.file, problem))
        super().__init__("\n".join(self.lines()))

    def lines(self) -> list[str]:
        """A line for each problem: ``config.yaml:14:7: queries[0].expr: message``."""
        return [problem.text(self.file) for problem in self.problems]


class StateError(ExporterError):
    """The state directory or the database in it cannot be used as it is."""


class WorkersError(ExporterError):
    """Workers are not there, or die again and again."""


class WorkersClosedError(WorkersError):
    """The work was given up."""


class UpstreamError(ExporterError):
    """A server we call did not give a usable answer.

    Parameters
    ----------
    url : str
        Of the request, without credentials.
    reason : Reason
    message : str
        What went wrong, for a log line: no secrets, at most a few hundred characters of the answer.
    status : int, optional
        The HTTP status, where there was one.
    retry_after : float, optional
        Seconds that the server asked us to wait.
    """

    def __init__(
        self,
        url: str,
        reason: Reason,
        message: str,
        *,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        self.url = url
        self.reason = reason
        self.message = message
        self.status = status
        self.retry_after = retry_after
        super().__init__(f"{url}: {reason}: {message}")


class PrometheusError(UpstreamError):
    """Prometheus, or what stands in for it, did not answer a query."""


class AlertmanagerError(UpstreamError):
    """An Alertmanager did not take a batch of alerts."""


class RemoteWriteError(UpstreamError):
    """A store did not take a remote write."""
