"""Starting and ending real servers on free ports of this machine."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

__all__ = ["Process", "Stopped", "alertmanager", "ask", "exporter", "find", "free_port", "prometheus", "target"]


class Stopped(Exception):  # noqa: N818 - it is what happened.
    """A server ended, or did not come up; the message ends with what it said."""


def find(*names: str) -> str:
    """Return the path of the first of some programs that is installed."""
    for name in names:
        if path := shutil.which(name):
            return path
    raise Stopped(f"{names[0]} is not on PATH; `make servers` says how to install it")


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Process:
    """A server in a process of its own; its output goes to a file.

    Parameters
    ----------
    name : str
    command : list of str
    port : int
    log : Path
    """

    def __init__(self, name: str, command: list[str], port: int, log: Path) -> None:
        self.name = name
        self.url = f"http://127.0.0.1:{port}"
        self.log = log
        with log.open("wb") as out:
            # Its own session: Ctrl-C in the terminal is ours to pass on, in the right order.
            self._process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)  # noqa: S603

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def wait(self, path: str = "/-/ready", seconds: float = 60.0) -> None:
        """Wait until the server is ready."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.check()
            try:
                ask(self.url + path)
            except OSError:
                time.sleep(0.1)
            else:
                self.check()
                return
        raise Stopped(f"{self.name} is not ready after {seconds:.0f} s:\n{self._tail()}")

    def check(self) -> None:
        """Raise where the server has ended."""
        if self._process.poll() is not None:
            raise Stopped(f"{self.name} ended with code {self._process.returncode}:\n{self._tail()}")

    def stop(self, patience: float = 10.0) -> None:
        """End the server."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(patience)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def _tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-8:])


def ask(url: str) -> Any:
    """Return the answer to a GET, decoded where it is JSON."""
    with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own loopback URLs.
        body: bytes = answer.read()
    try:
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace")


def prometheus(home: Path, data: Path, config: dict[str, Any], port: int) -> Process:
    """Start Prometheus on `data`, which may hold history."""
    file = home / "prometheus.yml"
    file.write_text(json.dumps(config, indent=1))  # JSON is YAML.
    command = [
        find("prometheus"),
        f"--config.file={file}",
        f"--storage.tsdb.path={data}",
        "--storage.tsdb.retention.time=90d",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    return Process("prometheus", command, port, home / "prometheus.log")


def alertmanager(home: Path, port: int) -> Process:
    """Start an Alertmanager that keeps alerts and tells nobody."""
    file = home / "alertmanager.yml"
    route = {"receiver": "nobody", "group_by": ["alertname", "query"], "group_wait": "1s", "group_interval": "5s"}
    file.write_text(json.dumps({"route": route, "receivers": [{"name": "nobody"}]}, indent=1))
    command = [
        find("prometheus-alertmanager", "alertmanager"),
        f"--config.file={file}",
        f"--storage.path={home / 'alertmanager'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    return Process("alertmanager", command, port, home / "alertmanager.log")


def exporter(home: Path, config: Path, port: int) -> Process:
    """Start the exporter itself, as a user would."""
    command = [
        sys.executable,
        "-m",
        "exporter",
        f"--config.file={config}",
        f"--storage.path={home / 'exporter'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--web.enable-lifecycle",
        "--web.enable-explore",  # On loopback, where Prometheus can be read anyway.
    ]
    return Process("anomaly-exporter", command, port, home / "anomaly-exporter.log")


def target(page: Callable[[], str], port: int) -> ThreadingHTTPServer:
    """Serve a metrics page from a thread."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = page().encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    threading.Thread(target=server.serve_forever, name="shop", daemon=True).start()
    return server
