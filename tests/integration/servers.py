"""Real servers on free loopback ports, each in a directory of its own.

Every one is a context manager with ``url``, ``address`` (``host:port``), ``start``, ``stop`` and ``kill``; a second
start uses the same port and data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.integration.process import binary, eventually
from tests.integration.server import Server
from tests.integration.victoria import VictoriaMetrics

__all__ = ["Alertmanager", "Prometheus", "VictoriaMetrics", "eventually"]


class Prometheus(Server):
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
        super().__init__(directory, web_config=web_config, auth=auth, ca=ca, prefix=prefix)
        whole: dict[str, Any] = {
            "storage": {"tsdb": {"out_of_order_time_window": out_of_order_time_window}},
            "scrape_configs": [{"job_name": "demo", "static_configs": [{"targets": list(targets)}]}] if targets else [],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": list(alertmanagers)}]}]},
            **(config or {}),
        }
        timing = {"scrape_interval": scrape_interval, "scrape_timeout": scrape_interval, "evaluation_interval": "1s"}
        whole["global"] = {**timing, **whole.get("global", {})}
        if rules is not None:
            self._write("rules.yml", rules)
            whole["rule_files"] = ["rules.yml"]
        file = self._write("prometheus.yml", whole)
        argv = [
            program,
            f"--config.file={file}",
            f"--storage.tsdb.path={directory / 'data'}",
            "--storage.tsdb.retention.time=10y",
            # History stays in the head: compacting weeks into blocks of two hours costs seconds of CPU.
            "--storage.tsdb.min-block-duration=1000d",
            "--storage.tsdb.max-block-duration=10000d",
            f"--web.listen-address={self.address}",
            f"--web.external-url={self.url}",
            "--web.enable-lifecycle",
            "--web.enable-admin-api",
            "--web.enable-remote-write-receiver",
            *flags,
        ]
        self._run(argv)

    def query(self, expr: str, at: float | None = None) -> list[dict[str, Any]]:
        """Return ``data.result`` of an instant query."""
        form = {"query": expr} | ({} if at is None else {"time": f"{at:.3f}"})
        answer = self.ask("POST", "/api/v1/query", data=form)
        assert answer.status_code == 200, answer.text
        return list(answer.json()["data"]["result"])

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


class Alertmanager(Server):
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
        super().__init__(directory, web_config=web_config, auth=auth, ca=ca)
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
        file = self._write("alertmanager.yml", whole)
        argv = [
            program,
            f"--config.file={file}",
            f"--storage.path={directory / 'data'}",
            f"--web.listen-address={self.address}",
            f"--web.external-url={self.url}",
            # Empty: no gossip port, unless the test asks for one.
            *([] if any("cluster.listen-address" in flag for flag in flags) else ["--cluster.listen-address="]),
            *flags,
        ]
        self._run(argv)

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
