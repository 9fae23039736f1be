"""Start a real server, know that the answer comes from it and not from a neighbour, and end it for sure."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import pytest
import requests

__all__ = ["REQUIRED", "Process", "ask", "binary", "eventually", "free_port", "owns"]

REQUIRED = "ANOMALY_EXPORTER_REQUIRE_SERVERS"
"""Set this variable and a missing server fails the test instead of skipping it."""

T = TypeVar("T")


def binary(name: str) -> str:
    """Return the path of program `name`, or skip the test with the reason."""
    path = shutil.which(name)
    if path is None:
        say = pytest.fail if os.environ.get(REQUIRED) else pytest.skip
        say(f"{name} is not on PATH")
    return str(path)


def free_port() -> int:
    """Return a loopback port that nobody had a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(check: Callable[[], T], timeout: float = 20.0, *, every: float = 0.05, what: str = "") -> T:
    """Call `check` until it answers something true; return that. AssertionError after `timeout` seconds.

    An AssertionError raised by `check` counts as "not yet" and is the message in the end.
    """
    deadline = time.monotonic() + timeout
    while True:
        failure = None
        try:
            answer = check()
        except AssertionError as error:
            failure = error
        else:
            if answer:
                return answer
        if time.monotonic() >= deadline:
            if failure is not None:
                raise failure
            raise AssertionError(f"not within {timeout:g} s: {what or getattr(check, '__name__', check)}")
        time.sleep(every)


def ask(
    method: str,
    url: str,
    *,
    params: Mapping[str, str] | Sequence[tuple[str, str]] | None = None,
    data: bytes | Mapping[str, str] | None = None,
    json: object = None,
    headers: Mapping[str, str] | None = None,
    auth: tuple[str, str] | None = None,
    verify: str | bool = True,
    timeout: float = 30.0,
) -> requests.Response:
    """Make one HTTP request with the environment (proxies, netrc) left out of it."""
    with requests.Session() as session:
        session.trust_env = False
        return session.request(
            method,
            url,
            params=params,  # type: ignore[arg-type]
            data=data,
            json=json,
            headers=headers,
            auth=auth,
            verify=verify,
            timeout=timeout,
        )


def owns(pid: int, port: int) -> bool:
    """Whether process `pid` is the one that listens on TCP `port`; True where there is no /proc to ask."""
    tables = [Path(f"/proc/{pid}/net/{name}") for name in ("tcp", "tcp6")]
    rows = [line.split() for table in tables if table.exists() for line in table.read_text().splitlines()[1:]]
    if not rows:
        return True
    listening = {f"socket:[{row[9]}]" for row in rows if row[3] == "0A" and int(row[1].rpartition(":")[2], 16) == port}
    held = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            held.add(str(link.readlink()))
    return bool(listening & held)


class Process:
    """One server process that can be stopped, killed and started again with the same command line.

    Parameters
    ----------
    argv : sequence of str
    log : Path
        Where its output goes; the end of it is shown when it does not start.
    ready : callable
        Whether it answers; connection errors mean no.
    port : int, optional
        The port it listens on; then an answer counts only once the socket is this process' own.
    grace : float
        Seconds between SIGTERM and SIGKILL.
    """

    def __init__(
        self,
        argv: Sequence[str],
        log: Path,
        ready: Callable[[], bool],
        *,
        port: int | None = None,
        grace: float = 5.0,
    ) -> None:
        self.argv = list(argv)
        self.log = log
        self._ready = ready
        self._port = port
        self._grace = grace
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id; it is an error to ask while nothing runs."""
        assert self._process is not None, "not started"
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether our own process (not whoever answers on the port) still runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return None if self._process is None else self._process.poll()

    def start(self, timeout: float = 120.0, *, wait: bool = True) -> None:
        """Start it and, unless told otherwise, wait until it is ready."""
        assert not self.alive, "already running"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self.argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        if wait:
            self.wait(timeout)

    def wait(self, timeout: float = 120.0) -> None:
        """Wait until it is ready; if it ends or takes too long, end it and show its log."""
        deadline = time.monotonic() + timeout
        while self.alive and time.monotonic() < deadline:
            try:
                answers = self._ready()
            except requests.RequestException:
                answers = False
            # Asked after the answer: a dead process whose port another one took must not look ready.
            if answers and self.alive and (self._port is None or owns(self.pid, self._port)):
                return
            time.sleep(0.03)
        code = self._process.poll() if self._process is not None else None
        self.kill()
        raise RuntimeError(f"{self.argv[0]} is not ready (exit code {code}):\n{self.tail()}")

    def tail(self, size: int = 4000) -> str:
        """The end of its output."""
        return self.log.read_bytes()[-size:].decode(errors="replace")

    def stop(self) -> None:
        """SIGTERM, then SIGKILL after the grace period."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(self._grace)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
