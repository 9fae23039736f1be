"""Real servers on free loopback ports, each in a directory of its own.

Every one is a context manager with ``url``, ``address`` (``host:port``), ``start``, ``stop`` and ``kill``; a second
start uses the same port and data.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tests.integration.process import Process, ask, binary, eventually, free_port
from tests.integration.remote_write import Series, batches
from tests.integration.victoria import VictoriaMetrics

__all__ = ["Alertmanager", "Prometheus", "VictoriaMetrics", "eventually"]


class Prometheus:
    """A Prometheus that takes remote-written history in any order and keeps it for ten years.

    Parameters
    ----------
    directory : Path
        Made if it is not there; a second start finds the data of the first.
    targets : sequence of str
        ``host:port`` to scrape as job ``demo``. The first scrape comes 5 to 6 s after the start.
    rules : mapping, optional
        The content of a rule file.
    alertmanagers : sequence of str
        ``host:port``.
    config : mapping
        More top-level sections of the configuration file; ``global`` is merged.
    flags : sequence of str
    web_config : mapping, optional
        The content of the ``--web.config.file``; then give `auth` and `ca` as the tests' way in.
    prefix : str
        ``--web.route-prefix``, such as ``/prom``.
    """

    def __init__(
        self,
        directory: Path,
        *,
        targets: Sequence[str] = (),
        rules: Mapping[str, Any] | None = None,
        alertmanagers: Sequence[str] = (),
        config: Mapping[str, Any] | None = None,
        scrape_interval: str = "1s",
        out_of_order_time_window: str = "60d",
        flags: Sequence[str] = (),
        web_config: Mapping[str, Any] | None = None,
        prefix: str = "",
        auth: tuple[str, str] | None = None,
        ca: str | None = None,
    ) -> None:
        program = binary("prometheus")
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        tls = bool(web_config and "tls_server_config" in web_config)
        self.url = f"https://localhost:{self.port}{prefix}" if tls else f"http://{self.address}{prefix}"
        self._auth = auth
        self._verify: str | bool = ca or True
        whole: dict[str, Any] = {
            "storage": {"tsdb": {"out_of_order_time_window": out_of_order_time_window}},
            "scrape_configs": [{"job_name": "demo", "static_configs": [{"targets": list(targets)}]}] if targets else [],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": list(alertmanagers)}]}]},
            **(config or {}),
        }
        timing = {"scrape_interval": scrape_interval, "scrape_timeout": scrape_interval, "evaluation_interval": "1s"}
        whole["global"] = {**timing, **whole.get("global", {})}
        if rules is not None:
            _write(directory / "rules.yml", rules)
            whole["rule_files"] = ["rules.yml"]
        _write(directory / "prometheus.yml", whole)
        argv = [
            program,
            f"--config.file={directory / 'prometheus.yml'}",
            f"--storage.tsdb.path={directory / 'data'}",
            "--storage.tsdb.retention.time=10y",
            f"--web.listen-address={self.address}",
            f"--web.external-url={self.url}",
            "--web.enable-lifecycle",
            "--web.enable-admin-api",
            "--web.enable-remote-write-receiver",
            *flags,
        ]
        if web_config is not None:
            _write(directory / "web.yml", web_config)
            argv.append(f"--web.config.file={directory / 'web.yml'}")
        self.process = Process(argv, directory / "log", self._ready, port=self.port)

    def _ready(self) -> bool:
        return bool(self.ask("GET", "/-/ready").status_code == 200)

    def ask(self, method: str, path: str, **options: Any) -> Any:
        """Make one request to `path`; the options are those of `process.ask`."""
        return ask(method, self.url + path, auth=self._auth, verify=self._verify, **options)

    def query(self, expr: str, at: float | None = None) -> list[dict[str, Any]]:
        """Return ``data.result`` of an instant query."""
        form = {"query": expr} | ({} if at is None else {"time": f"{at:.3f}"})
        answer = self.ask("POST", "/api/v1/query", data=form)
        assert answer.status_code == 200, answer.text
        return list(answer.json()["data"]["result"])

    def push(self, series: Iterable[Series]) -> None:
        """Remote-write samples: ``({"__name__": "m", ...}, times, values)`` each. They can be queried at once."""
        headers = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}
        for body in batches(series):
            answer = self.ask("POST", "/api/v1/write", data=body, headers=headers)
            assert answer.status_code == 204, answer.text

    def delete(self, selector: str) -> None:
        """Delete every sample of the series that match."""
        answer = self.ask("POST", "/api/v1/admin/tsdb/delete_series", params={"match[]": selector})
        assert answer.status_code == 204, answer.text

    def alerts(self) -> list[dict[str, Any]]:
        """Return the alerts of its own rules."""
        return list(self.ask("GET", "/api/v1/alerts").json()["data"]["alerts"])

    def reload(self) -> None:
        """Read the configuration file again."""
        answer = self.ask("POST", "/-/reload")
        assert answer.status_code == 200, answer.text

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


class Alertmanager:
    """An Alertmanager without peers that groups by ``alertname`` and notifies one webhook quickly.

    Parameters
    ----------
    directory : Path
    webhook : str, optional
        URL that is notified; without it the receiver does nothing.
    config : mapping, optional
        Replaces the whole configuration file.
    """

    def __init__(
        self,
        directory: Path,
        *,
        webhook: str | None = None,
        group_by: Sequence[str] = ("alertname",),
        group_wait: str = "1s",
        group_interval: str = "1s",
        repeat_interval: str = "1h",
        resolve_timeout: str = "5m",
        config: Mapping[str, Any] | None = None,
        flags: Sequence[str] = (),
        web_config: Mapping[str, Any] | None = None,
        auth: tuple[str, str] | None = None,
        ca: str | None = None,
    ) -> None:
        program = binary("prometheus-alertmanager")
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        tls = bool(web_config and "tls_server_config" in web_config)
        self.url = f"https://localhost:{self.port}" if tls else f"http://{self.address}"
        self._auth = auth
        self._verify: str | bool = ca or True
        hooks = [] if webhook is None else [{"url": webhook, "send_resolved": True}]
        whole = config or {
            "global": {"resolve_timeout": resolve_timeout},
            "route": {
                "receiver": "hook",
                "group_by": list(group_by),
                "group_wait": group_wait,
                "group_interval": group_interval,
                "repeat_interval": repeat_interval,
            },
            "receivers": [{"name": "hook", "webhook_configs": hooks}],
        }
        _write(directory / "alertmanager.yml", whole)
        argv = [
            program,
            f"--config.file={directory / 'alertmanager.yml'}",
            f"--storage.path={directory / 'data'}",
            f"--web.listen-address={self.address}",
            f"--web.external-url={self.url}",
            # Empty: no gossip port, unless the test asks for one.
            *([] if any("cluster.listen-address" in flag for flag in flags) else ["--cluster.listen-address="]),
            *flags,
        ]
        if web_config is not None:
            _write(directory / "web.yml", web_config)
            argv.append(f"--web.config.file={directory / 'web.yml'}")
        self.process = Process(argv, directory / "log", self._ready, port=self.port)

    def _ready(self) -> bool:
        return bool(self.ask("GET", "/-/ready").status_code == 200)

    def ask(self, method: str, path: str, **options: Any) -> Any:
        """Make one request to `path`; the options are those of `process.ask`."""
        return ask(method, self.url + path, auth=self._auth, verify=self._verify, **options)

    def alerts(self, *filters: str, **switches: bool) -> list[dict[str, Any]]:
        """Return its alerts; `filters` are matchers, `switches` are ``active=``, ``silenced=``, ``inhibited=``."""
        params = [("filter", text) for text in filters] + [(name, str(on).lower()) for name, on in switches.items()]
        answer = self.ask("GET", "/api/v2/alerts", params=params)
        assert answer.status_code == 200, answer.text
        return list(answer.json())

    def post(self, alerts: Sequence[Mapping[str, Any]]) -> None:
        """Give it alerts as a Prometheus would."""
        answer = self.ask("POST", "/api/v2/alerts", json=list(alerts))
        assert answer.status_code == 200, answer.text

    def silences(self) -> list[dict[str, Any]]:
        """Return every silence, expired ones too."""
        return list(self.ask("GET", "/api/v2/silences").json())

    def silence(
        self,
        matchers: Mapping[str, str],
        *,
        starts_at: str,
        ends_at: str,
        comment: str = "test",
        created_by: str = "test",
    ) -> str:
        """Make a silence of equality matchers; return its id."""
        body = {
            "matchers": [
                {"name": name, "value": value, "isRegex": False, "isEqual": True} for name, value in matchers.items()
            ],
            "startsAt": starts_at,
            "endsAt": ends_at,
            "createdBy": created_by,
            "comment": comment,
        }
        answer = self.ask("POST", "/api/v2/silences", json=body)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["silenceID"])

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


def _write(path: Path, content: Mapping[str, Any]) -> None:
    # JSON is YAML.
    path.write_text(json.dumps(content, indent=1))
