"""What Grafana would ask of Prometheus: the queries of the dashboards with their variables put in."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.integration.servers import Prometheus, VictoriaMetrics

__all__ = ["Question", "questions", "series_variable"]

FOLDER = Path(__file__).parent.parent.parent / "grafana_dashboards"


@dataclass(frozen=True)
class Question:
    """One query of a panel or an annotation."""

    where: str
    expr: str
    instant: bool

    def ask(
        self, prometheus: Prometheus | VictoriaMetrics, variables: Mapping[str, str], seconds: int = 30, step: int = 1
    ) -> list[dict[str, Any]]:
        """Return the series of the answer of the last seconds; the names of variables are as they are written."""
        expr = self.expr
        # The longest first, so that `$query` is not found in a longer name.
        for name in sorted(variables, key=len, reverse=True):
            expr = expr.replace(name, variables[name])
        assert "$" not in expr, expr
        if self.instant:
            return prometheus.query(expr)
        now = time.time()
        form = {"query": expr, "start": f"{now - seconds:.3f}", "end": f"{now:.3f}", "step": f"{step}"}
        answer = prometheus.ask("POST", "/api/v1/query_range", data=form)
        assert answer.status_code == 200, (expr, answer.text)
        return list(answer.json()["data"]["result"])


def questions(name: str) -> Iterator[Question]:
    """Yield the queries of ``NAME.json``."""
    whole = json.loads((FOLDER / f"{name}.json").read_text())
    for panel in whole["panels"]:
        for target in panel.get("targets", []):
            yield Question(f"{panel['title']} {target['refId']}", target["expr"], bool(target.get("instant")))
    for one in whole["annotations"].get("list", []):
        yield Question(one["name"], one["expr"], instant=False)


def series_variable(prometheus: Prometheus, variables: Mapping[str, str]) -> list[str]:
    """Return the values of the variable ``series``, made as Grafana makes them of a result and a regular expression."""
    [variable] = [one for one in _variables("anomalies") if one["name"] == "series"]
    expr = str(variable["query"]).removeprefix("query_result(").removesuffix(")")
    found = Question("series", expr, instant=True).ask(prometheus, variables)
    pattern = re.compile(str(variable["regex"]).strip("/"))
    values = []
    for one in found:
        labels = ",".join(f'{name}="{value}"' for name, value in one["metric"].items() if name != "__name__")
        match = pattern.search(f"{one['metric'].get('__name__', '')}{{{labels}}} {one['value'][1]} 1700000000000")
        assert match is not None
        values.append(match.group(1))
    return values


def _variables(name: str) -> list[dict[str, Any]]:
    return list(json.loads((FOLDER / f"{name}.json").read_text())["templating"]["list"])
