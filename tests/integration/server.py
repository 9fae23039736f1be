"""What all real servers of the tests have in common: a directory, a free loopback port, and a process."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tests.integration.process import Process, ask, free_port
from tests.integration.remote_write import Series, batches

__all__ = ["Server"]


class Server:
    """A context manager around one process; a second start uses the same port and data.

    Parameters
    ----------
    directory : Path
        Made if it is not there.
    health : str
        Path that answers 200 once it is ready.
    web_config : mapping, optional
        The content of the ``--web.config.file``; then give `auth` and `ca` as the tests' way in.
    prefix : str
        What comes before every path.
    """

    process: Process

    def __init__(
        self,
        directory: Path,
        *,
        health: str = "/-/ready",
        web_config: Mapping[str, Any] | None = None,
        auth: tuple[str, str] | None = None,
        ca: str | None = None,
        prefix: str = "",
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        tls = bool(web_config and "tls_server_config" in web_config)
        self.url = f"https://localhost:{self.port}{prefix}" if tls else f"http://{self.address}{prefix}"
        self._health = health
        self._web_config = web_config
        self._auth = auth
        self._verify: str | bool = ca or True

    def _run(self, argv: Sequence[str]) -> None:
        """Say what to start."""
        if self._web_config is not None:
            argv = [*argv, f"--web.config.file={self._write('web.yml', self._web_config)}"]
        self.process = Process(list(argv), self.directory / "log", self._ready, port=self.port)

    def _write(self, name: str, content: Mapping[str, Any]) -> Path:
        path = self.directory / name
        # JSON is YAML.
        path.write_text(json.dumps(content, indent=1))
        return path

    def _ready(self) -> bool:
        return bool(self.ask("GET", self._health).status_code == 200)

    def push(self, series: Iterable[Series]) -> None:
        """Remote-write samples: ``({"__name__": "m", ...}, times, values)`` each. Prometheus has them at once."""
        headers = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}
        for body in batches(series):
            answer = self.ask("POST", "/api/v1/write", data=body, headers=headers)
            assert answer.status_code == 204, answer.text

    def ask(self, method: str, path: str, **options: Any) -> Any:
        """Make one request to `path`; the options are those of `process.ask`."""
        return ask(method, self.url + path, auth=self._auth, verify=self._verify, **options)

    def start(self, *, wait: bool = True) -> Self:
        """Start, or start again, on the same port and data."""
        self.process.start(wait=wait)
        return self

    def stop(self) -> None:
        """SIGTERM, SIGKILL after 5 s."""
        self.process.stop()

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
