"""What an alert asks a real Prometheus when it fires: values, traces, and what fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from exporter.alerting.settings import ContextSettings
from exporter.evaluation.alert_context import AlertContext
from exporter.evaluation.inquiries import FiringAlert
from exporter.prometheus import PrometheusApi
from exporter.prometheus.settings import PrometheusSettings
from tests.integration.conftest import RunPrometheus
from tests.integration.process import eventually
from tests.integration.servers import Prometheus

pytestmark = pytest.mark.integration

PAGE = """# TYPE slow histogram
slow_bucket{{le="1.0"}} 1 # {{trace_id="quick"}} 0.5 {now:.3f}
slow_bucket{{le="+Inf"}} 2 # {{trace_id="4bf92f35"}} 7.5 {now:.3f}
slow_count 2
slow_sum 8.0
# EOF
"""
ALERT = {"service": 'sh"op', "severity": "page"}


def text(prometheus: str, labels: dict[str, str] | None = None, **settings: object) -> str:
    now = time.time()
    context = AlertContext(ContextSettings(name="context", **settings), query_offset=0.0)
    alert = FiringAlert(ALERT if labels is None else labels, {}, now - 60.0, now)
    return context.ask(PrometheusApi(PrometheusSettings(url=prometheus)), alert, 5.0)["context"]


def test_values_have_a_unit_a_text_and_the_labels_of_the_answer(prometheus: Prometheus) -> None:
    now = time.time()
    budgets = (("shop", 0.31), ('sh"op', 0.042), ("mail", 0.9))
    prometheus.push(({"__name__": "budget", "service": name}, [now - 5.0], [value]) for name, value in budgets)
    url = prometheus.url
    own = 'sum(budget{service="{{ labels.service }}"})'
    assert text(url, expr=own, unit="ratio") == "4.2 %"
    said = text(url, expr=own, unit="ratio", text="{{ value }} of the budget of {{ labels.service }} is left")
    assert said == '4.2 % of the budget of sh"op is left'
    assert text(url, expr="budget", unit="ratio").splitlines() == [
        "service=mail: 90 %",
        "service=shop: 31 %",
        'service=sh"op: 4.2 %',
    ]
    assert text(url, expr='budget{service="nobody"}') == "no data"
    many = "label_replace(vector(1), 'n', 'x', '', '') or on (n) count_values('n', timestamp(budget) + 0 * budget)"
    assert text(url, expr=many).splitlines()[0].startswith("n=")
    assert text(url, expr="sum(").startswith("not known: ")
    assert text("http://127.0.0.1:9", expr="up").startswith("not known: ")


def test_a_label_of_anybody_cannot_change_what_is_asked(prometheus: Prometheus) -> None:
    evil = {"service": 'x"} or vector(7) or up{a="\\'}
    assert text(prometheus.url, evil, expr='up{service="{{ labels.service }}"}') == "no data"


@pytest.fixture
def target() -> Iterator[str]:
    """Serves a histogram with exemplars."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/openmetrics-text; version=1.0.0; charset=utf-8")
            self.end_headers()
            self.wfile.write(PAGE.format(now=time.time()).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_the_trace_of_the_slowest_request_is_linked(run_prometheus: RunPrometheus, target: str) -> None:
    prometheus = run_prometheus(targets=[target], flags=["--enable-feature=exemplar-storage"])
    link = "https://tempo.example/trace/{{ labels.trace_id }} ({{ value }})"

    def trace() -> str:
        return text(prometheus.url, exemplars="slow_bucket", unit="seconds", text=link)

    eventually(lambda: trace().startswith("https://tempo.example/trace/4bf92f35 (7.5 s)"), 30.0, what="an exemplar")
    assert text(prometheus.url, exemplars='slow_bucket{job="nobody"}') == "no exemplar"
