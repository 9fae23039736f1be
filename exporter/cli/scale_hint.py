"""``anomaly-exporter scale-hint``: the ``kubectl scale`` that an alert suggests. It is printed, and never run."""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template

import msgspec

from exporter.cli.exit_codes import BAD, GOOD, USAGE, complain
from exporter.config.load import load
from exporter.errors import ConfigError, ExporterError, PrometheusError, UsageError
from exporter.prometheus import PrometheusApi
from exporter.prometheus.settings import PrometheusSettings
from exporter.schedule import wall_clock

__all__ = ["Workload", "add_parser", "firing", "replicas_for", "run", "workloads"]

UNANSWERED = BAD

# A name goes into a shell command and into an expression, and comes from a label that anybody may have written.
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_KINDS = {
    "deployment": ("kube_deployment_spec_replicas", "-[a-z0-9]+-[a-z0-9]{5}"),
    "statefulset": ("kube_statefulset_replicas", "-[0-9]+"),
}
"""By label: the metric of kube-state-metrics with the number of replicas, and how names of pods go on."""
_UTILISATION = (
    'sum(rate(container_cpu_usage_seconds_total{namespace="$namespace",pod=~"$pods",container!=""}[5m])) / '
    'sum(kube_pod_container_resource_requests{namespace="$namespace",pod=~"$pods",resource="cpu"})'
)
_ABOUT = """\
Reads alerts and prints, for each deployment or stateful set that they are about, the kubectl command that would bring
its processors to the target. Nothing is run.

  amtool alert query -o json query=checkout_latency | anomaly-exporter scale-hint --config.file=config.yaml
"""
_MORE = """\
Alerts are what Alertmanager's API, amtool -o json or a webhook says; they need the labels `namespace` and `deployment`
or `statefulset`. The Prometheus of the configuration file is asked for replicas (kube-state-metrics) and utilisation.
A command is suggested only where utilisation is above --busy: replicas do not help what is slow for another reason.

Exit codes: 0 good; 1 Prometheus could not say it; 2 the input or the configuration cannot be used.
"""


@dataclass(frozen=True, order=True, slots=True)
class Workload:
    """A deployment or stateful set; `kind` is ``deployment`` or ``statefulset``."""

    namespace: str
    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name} in {self.namespace}"

    def replicas_expr(self) -> str:
        """PromQL for its number of replicas."""
        return f'max({_KINDS[self.kind][0]}{{namespace="{self.namespace}",{self.kind}="{self.name}"}})'

    def utilisation_expr(self, template: str) -> str:
        """PromQL for its utilisation; `template` may use ``$namespace``, ``$workload`` and ``$pods``."""
        pods = re.escape(self.name).replace("\\-", "-").replace("\\", "\\\\") + _KINDS[self.kind][1]
        return Template(template).safe_substitute(namespace=self.namespace, workload=self.name, pods=pods)

    def command(self, replicas: int, desired: int) -> str:
        """The kubectl command; it does nothing if the number of replicas has changed meanwhile."""
        scale = f"scale {self.kind}/{self.name} --current-replicas={replicas} --replicas={desired}"
        return f"kubectl --namespace={self.namespace} {scale}"


def firing(text: bytes) -> list[dict[str, str]]:
    """Return the labels of the alerts in `text` that are not resolved.

    Raises
    ------
    ExporterError
        It is not in the format of Alertmanager's API, amtool or a webhook.
    """
    if not text.strip():
        raise ExporterError("the input is empty: alerts as JSON are needed, such as of amtool alert query -o json")
    try:
        whole = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise ExporterError(f"the alerts are not JSON: {error}") from error
    if isinstance(whole, dict):
        whole = whole.get("alerts", [whole])
    if not isinstance(whole, list) or not all(isinstance(alert, dict) and "labels" in alert for alert in whole):
        raise ExporterError("no alerts: expected a list of objects with labels, or a webhook's body")
    try:
        return [msgspec.convert(each["labels"], dict[str, str]) for each in whole if each.get("status") != "resolved"]
    except msgspec.ValidationError as error:
        raise ExporterError(f"labels of an alert: {error}") from error


def workloads(alerts: Iterable[Mapping[str, str]]) -> list[Workload]:
    """Return the workloads in the labels of alerts, each once; alerts without any are ignored."""
    unique = {
        Workload(labels["namespace"], kind, labels[kind])
        for labels in alerts
        for kind in _KINDS
        if _NAME.fullmatch(labels.get(kind, "")) and _NAME.fullmatch(labels.get("namespace", ""))
    }
    return sorted(unique)


def replicas_for(replicas: int, utilisation: float, *, busy: float, target: float, most: int) -> int:
    """Return how many replicas bring `utilisation` to `target`; the present number where it is not above `busy`.

    Examples
    --------
    >>> replicas_for(3, 0.83, busy=0.8, target=0.5, most=10)
    5
    >>> replicas_for(3, 0.79, busy=0.8, target=0.5, most=10)
    3
    """
    if not utilisation > busy:
        return replicas
    # Rounding of the quotient must not cost a replica.
    return max(replicas, min(most, math.ceil(replicas * utilisation / target - 1e-9)))


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command ``scale-hint``."""
    hint = subparsers.add_parser(
        "scale-hint",
        help="print the kubectl scale that an alert suggests",
        description=_ABOUT,
        epilog=_MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = hint.add_argument
    add("--config.file", dest="config_file", metavar="FILE", type=Path, required=True,
        help="configuration file with the Prometheus to ask")  # fmt: skip
    add("--source", metavar="NAME", help="which of its sources to ask (default: the first)")
    add("--input", default="-", metavar="FILE", help="alerts as JSON; - is standard input (default)")
    add(
        "--busy",
        type=_share,
        default=0.8,
        metavar="SHARE",
        help="utilisation above which to scale (default: %(default)s)",
    )
    add("--target", type=_share, default=0.5, metavar="SHARE", help="utilisation to scale to (default: %(default)s)")
    add("--max-replicas", type=int, default=10, metavar="N", help="suggest no more than these (default: %(default)s)")
    add("--utilisation", default=_UTILISATION, metavar="EXPR",
        help="PromQL; may use $namespace, $workload and $pods (default: CPU used over CPU requested)")  # fmt: skip
    hint.set_defaults(run=run)


def run(
    args: argparse.Namespace,
    *,
    connect: Callable[[PrometheusSettings], PrometheusApi] = PrometheusApi,
    clock: Callable[[], float] = wall_clock,
) -> int:
    """Print the commands that the alerts of ``args.input`` suggest; returns the exit code."""
    try:
        text = sys.stdin.buffer.read() if args.input == "-" else Path(args.input).read_bytes()
        targets = workloads(firing(text))
        config = load(args.config_file).config
    except ConfigError as error:
        return complain(error.lines(), USAGE)
    except OSError as error:
        return complain([f"{args.input}: {error.strerror or error}"], USAGE)
    except ExporterError as error:
        return complain([str(error)], USAGE)
    if not targets:
        return complain(["no alert has the labels `namespace` and `deployment` or `statefulset`"], USAGE)
    try:
        server = config.server(args.source)
    except UsageError as error:
        return complain([f"--source: {error}"], USAGE)
    prometheus = connect(server)
    try:
        # Every workload is queried, so that all that is missing is reported at once.
        answers = [_suggest(workload, args, prometheus, clock()) for workload in targets]
    finally:
        prometheus.close()
    return GOOD if all(answers) else UNANSWERED


def _suggest(workload: Workload, args: argparse.Namespace, prometheus: PrometheusApi, at: float) -> bool:
    try:
        replicas = _number(prometheus, workload.replicas_expr(), at)
        utilisation = _number(prometheus, workload.utilisation_expr(args.utilisation), at)
    except PrometheusError as error:
        sys.stderr.write(f"{workload}: {error.message}\n")
        return False
    if replicas is None or utilisation is None:
        what = "replicas" if replicas is None else "utilisation"
        sys.stderr.write(f"{workload}: Prometheus does not know its {what}\n")
        return False
    have = int(replicas)
    desired = replicas_for(have, utilisation, busy=args.busy, target=args.target, most=args.max_replicas)
    state = f"# {workload}: {have} replicas, {utilisation:.0%} busy"
    if desired > have:
        sys.stdout.write(f"{state}; {desired} would be {utilisation * have / desired:.0%} busy\n")
        sys.stdout.write(workload.command(have, desired) + "\n")
    elif utilisation > args.busy:
        sys.stdout.write(f"{state}; there are as many as --max-replicas allows\n")
    else:
        sys.stdout.write(f"{state}, which is not above {args.busy:.0%}: more would not help\n")
    return True


def _number(prometheus: PrometheusApi, expr: str, at: float) -> float | None:
    values = prometheus.instant(expr, at, timeout=30.0).values
    return float(values[0]) if len(values) == 1 and math.isfinite(values[0]) else None


def _share(text: str) -> float:
    value = float(text)
    if not 0.0 < value <= 1.0:
        raise argparse.ArgumentTypeError(f"{text} is not a share: more than 0, at most 1")
    return value
