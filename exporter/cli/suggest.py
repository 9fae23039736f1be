"""``anomaly-exporter suggest``: writes a first configuration from what a Prometheus has."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from pydantic import ValidationError

from exporter.cli.exit_codes import BAD, GOOD, USAGE, complain, exit_code
from exporter.cli.workers_flag import add_workers
from exporter.config.foreign import foreign_file
from exporter.config.load import load, load_text
from exporter.config.model import Config
from exporter.errors import PrometheusError, Reason, UsageError
from exporter.http_client import Client
from exporter.presets import preset_names
from exporter.prometheus import PrometheusApi
from exporter.prometheus.inventory import Inventory
from exporter.prometheus.settings import PrometheusSettings
from exporter.schedule import wall_clock
from exporter.suggest.candidates import Candidate, candidates
from exporter.suggest.measure import STEP, History, Measurement, measure, read
from exporter.suggest.proposal import Proposal, propose
from exporter.suggest.render import as_table, as_yaml, cost_lines
from exporter.worker_pool import WorkerPool, open_pool
from exporter.yaml_reader import parse, read_text

__all__ = ["add_parser", "run"]

_ANY_QUERY = "queries: [{name: any, expr: up}]\n"
"""What makes a file of a server alone one that can be loaded."""
_WITH_FILE = (
    "credentials and certificates: write `prometheus: {url: ..., basic_auth: ..., tls_config: ...}` into a file and "
    "give it as --config.file; it is taken over as it is"
)
_ABOUT = """\
Asks a Prometheus which metrics it has, recognises common exporters, replays a little history of each query, and writes
a commented configuration: directions, units, smallest deviations, groups, and for each query its series, season,
expected alerts a week and cost.

  anomaly-exporter suggest --prometheus.url=http://localhost:9090 --output config.yaml
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command ``suggest``."""
    suggest = subparsers.add_parser(
        "suggest",
        help="write a first configuration from what a Prometheus has",
        description=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = suggest.add_argument
    add("--prometheus.url", dest="url", metavar="URL", help="server to ask (default: http://localhost:9090)")
    add("--config.file", dest="config_file", metavar="FILE", type=Path,
        help="take the server, its credentials and the Alertmanagers from this configuration file")  # fmt: skip
    add("--source", metavar="NAME", help="which of the sources of that file to ask (default: the first)")
    add("--alertmanager.url", dest="alertmanagers", metavar="URL", action="append", default=[],
        help="Alertmanager to write into the file; may be repeated")  # fmt: skip
    add("--output", metavar="FILE", type=Path, help="file to write; not overwritten (default: standard output)")
    add("--preset", metavar="NAME", action="append", choices=preset_names(),
        help="only this preset; may be repeated (default: all, and metrics that none covers)")  # fmt: skip
    add("--max-series", type=_positive, default=2000, metavar="N",
        help="at most so many series of all queries together (default: %(default)s)")  # fmt: skip
    add("--dry-run", action="store_true", help="print a table of what would be written, and nothing else")
    add_workers(add)
    add("--explain", action="store_true", help="also list what was left out, and why")
    suggest.set_defaults(run=run)


def run(args: argparse.Namespace, *, clock: Callable[[], float] = wall_clock) -> int:
    """Write a configuration; returns the exit code."""
    return exit_code(partial(_suggest, args, clock))


def _suggest(args: argparse.Namespace, clock: Callable[[], float]) -> int:
    try:
        settings, alertmanagers, head = _server(args)
    except UsageError as error:
        raise UsageError(f"--source: {error}") from None
    except ValidationError as error:
        messages = [each["msg"].removeprefix("Value error, ") for each in error.errors()]
        with_file = [_WITH_FILE] if any("credentials" in message for message in messages) else []
        return complain([*(f"--prometheus.url: {message}" for message in messages), *with_file], USAGE)
    if args.output is not None and args.output.exists():
        return complain([f"{args.output} is there already and stays as it is; give another name"], USAGE)
    api = PrometheusApi(settings)
    client = Client(settings, pool=1, error=PrometheusError)
    try:
        with open_pool(args.workers) as pool:
            chosen = _candidates(Inventory(settings, client), args.preset)
            measured = list(zip(chosen, _measure(api, chosen, clock(), pool), strict=True))
    except PrometheusError as error:
        return complain([f"{error.url}: {error.message}", *_hints(args, error)], BAD)
    finally:
        api.close()
        client.close()
    proposals = propose(measured, max_series=args.max_series)
    if all(proposal.left_out for proposal in proposals):
        return complain(["nothing to suggest:", *_reasons(proposals)], BAD)
    if args.dry_run:
        sys.stdout.write(as_table(proposals))
        return GOOD
    text = as_yaml(proposals, url=settings.url, alertmanagers=alertmanagers, head=head, explain=args.explain)
    _check(text, args.config_file)
    return _write(text, args.output, proposals)


def _hints(args: argparse.Namespace, error: PrometheusError) -> list[str]:
    if args.config_file is not None:
        return []
    if args.url is None:
        return ["where is Prometheus? --prometheus.url=URL"]
    return [_WITH_FILE] if error.reason in (Reason.UNAUTHORIZED, Reason.TLS) else []


def _server(args: argparse.Namespace) -> tuple[PrometheusSettings, Sequence[str], str]:
    """Return the server, the Alertmanagers, and the text of a file that has these and no queries; else empty."""
    if args.config_file is None:
        return PrometheusSettings.model_validate({} if args.url is None else {"url": args.url}), args.alertmanagers, ""
    text = read_text(args.config_file)
    data = parse(text, args.config_file).data
    # `load` says what the file of another program is.
    is_head = isinstance(data, dict) and bool(data) and foreign_file(data) is None
    is_head = is_head and not data.keys() & {"queries", "query_files", "groups"}
    if is_head:
        config = load_text(f"{text.rstrip()}\n{_ANY_QUERY}", args.config_file).config
        # What the flags say is not in the file.
        is_head = args.url is None and not args.alertmanagers
    else:
        config = load(args.config_file).config
    settings = config.server(args.source)
    if args.url is not None:
        settings = PrometheusSettings.model_validate({**settings.model_dump(by_alias=True), "url": args.url})
    return settings, args.alertmanagers or [each.url for each in config.alertmanagers], text if is_head else ""


def _candidates(inventory: Inventory, presets: Sequence[str] | None) -> list[Candidate]:
    names = inventory.metric_names()
    _progress(f"{len(names)} metrics")
    labels: dict[str, list[str]] = {}

    def labels_of(metric: str) -> list[str]:
        if metric not in labels:
            labels[metric] = inventory.label_names(metric)
        return labels[metric]

    return candidates(names, inventory.metadata() if presets is None else {}, labels_of, presets=presets)


def _measure(api: PrometheusApi, chosen: Sequence[Candidate], now: float, pool: WorkerPool) -> list[Measurement]:
    end = math.floor(now / STEP) * STEP
    histories: list[History] = []
    for number, candidate in enumerate(chosen, 1):
        _progress(f"{number} of {len(chosen)}: {candidate.name}")
        (plan,) = Config.model_validate({"queries": [candidate.fields]}).plans()
        try:
            histories.append(read(api, plan, end, now=now))
        except PrometheusError as error:
            if error.reason.retryable and number == 1:
                raise
            histories.append(History.none(plan, error.message))
    _progress("")
    return measure(histories, end, pool)


def _check(text: str, beside: Path | None) -> None:
    """Load what is written: a fault is one of this program."""
    load_text(text, beside or Path("config.yaml"))


def _write(text: str, output: Path | None, proposals: Sequence[Proposal]) -> int:
    if output is None:
        sys.stdout.write(text)
        return GOOD
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        return complain([f"{output}: {error.strerror}"], USAGE)
    lines = [f"{output}: {line}" for line in cost_lines(proposals)[:1]]
    if left := sum(bool(proposal.left_out) for proposal in proposals):
        lines.append(f"left out: {left} queries that have no series or are too many; --explain says why")
    lines += [f"next: anomaly-exporter check config {output}", f"then: anomaly-exporter --config.file={output}"]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return GOOD


def _reasons(proposals: Sequence[Proposal]) -> Iterator[str]:
    if not proposals:
        yield "no metric is known; docs/presets.md lists what is recognised"
    for proposal in proposals:
        yield f"{proposal.candidate.name}: {proposal.left_out}"


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{text}"[:200])
        sys.stderr.flush()


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number of series")
    return value
