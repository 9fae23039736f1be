"""``anomaly-exporter anomalies``: list, acknowledge and judge anomalies of a running exporter from a shell."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

from exporter.cli.api_client import MOST_BYTES, PASSWORD, TIMEOUT, add_flags, connect, data_of
from exporter.cli.exit_codes import BAD, GOOD, complain
from exporter.errors import ExporterError
from exporter.hidden_text import escape_control
from exporter.http_client.client import Client

__all__ = ["add_parser", "run"]

_VERDICTS = ("confirmed", "expected", "false alarm", "new normal")
_MORE = f"""\
examples:
  anomaly-exporter anomalies list --match 'service="checkout"'
  anomaly-exporter anomalies ack 1ebe30fb-fddf-5d6f-9f20-271a6dd436ae --user alice --comment 'restarting the pool'
  anomaly-exporter anomalies feedback 1ebe30fb-fddf-5d6f-9f20-271a6dd436ae 'new normal' --user alice

The password is read from --password-file or from the variable {PASSWORD}."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command ``anomalies``."""
    whole = subparsers.add_parser(
        "anomalies",
        help="list, acknowledge and judge the anomalies of a running exporter",
        epilog=_MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    actions = whole.add_subparsers(dest="action", required=True, metavar="list|ack|feedback")
    listed = actions.add_parser("list", help="list anomalies: the open ones, unless --status says otherwise")
    listed.add_argument(
        "--status", choices=("open", "acknowledged", "resolved", "all"), help="only anomalies with this status"
    )
    listed.add_argument("--query", help="only anomalies of this query")
    listed.add_argument(
        "--match", action="append", default=[], metavar="MATCHER", help="label matcher; may be repeated"
    )
    listed.add_argument("--limit", type=int, default=100, help="at most this many (default: %(default)s)")
    listed.add_argument("--json", action="store_true", help="one JSON object a line, for jq")
    ack = actions.add_parser("ack", help="acknowledge an anomaly: you take care of it")
    feedback = actions.add_parser("feedback", help="give feedback on an anomaly")
    for command in (ack, feedback):
        command.add_argument("id", metavar="ID")
    feedback.add_argument("verdict", choices=_VERDICTS, metavar="VERDICT", help=", ".join(_VERDICTS))
    for command in (ack, feedback):
        command.add_argument("--comment", default="", help="a reason, shown with the anomaly")
    for command in (listed, ack, feedback):
        add_flags(command)
        command.set_defaults(run=run)


def run(args: argparse.Namespace, *, environment: Mapping[str, str] = os.environ) -> int:
    """Run the action; returns the exit code. A failure is a line on standard error."""
    actions: dict[str, Callable[[argparse.Namespace, Client], None]] = {
        "list": _list,
        "ack": _acknowledge,
        "feedback": _give_feedback,
    }
    try:
        server = connect(args, environment)
        try:
            actions[args.action](args, server)
        finally:
            server.close()
    except ExporterError as error:
        return complain([str(error)], BAD)
    return GOOD


def _list(args: argparse.Namespace, server: Client) -> None:
    filters = [("match[]", text) for text in args.match]
    if args.query is not None:
        filters.append(("query", args.query))
    # The API filters by a single status; without --status both that are not over are listed.
    statuses = ["open", "acknowledged"] if args.status is None else [args.status]
    left = args.limit
    for status in statuses:
        cursor = None
        while left > 0:
            paged = [*filters, ("limit", str(min(left, 1000)))]
            paged += [("status", status)] if status != "all" else []
            paged += [("cursor", cursor)] if cursor is not None else []
            page = data_of(server.get(f"/api/v1/anomalies?{urlencode(paged)}", timeout=TIMEOUT, max_bytes=MOST_BYTES))
            for anomaly in page["anomalies"]:
                _print(json.dumps(anomaly) if args.json else _line(anomaly))
            left, cursor = left - len(page["anomalies"]), page["next_cursor"]
            if cursor is None:
                break


def _acknowledge(args: argparse.Namespace, server: Client) -> None:
    _print(_line(_post(server, args.id, "acknowledge", {"comment": args.comment})))


def _give_feedback(args: argparse.Namespace, server: Client) -> None:
    _print(_line(_post(server, args.id, "feedback", {"verdict": args.verdict, "comment": args.comment})))


def _post(server: Client, anomaly: str, what: str, body: Mapping[str, str]) -> dict[str, Any]:
    path, raw = f"/api/v1/anomalies/{quote(anomaly, safe='')}/{what}", json.dumps(body).encode()
    return data_of(server.post_json(path, raw, timeout=TIMEOUT, max_bytes=MOST_BYTES))


def _line(anomaly: Mapping[str, Any]) -> str:
    begun = datetime.fromtimestamp(anomaly["opened_at"], UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    words = [anomaly["id"], begun, anomaly["status"]]
    if anomaly["acknowledged"] is not None:
        words.append(f"[{anomaly['acknowledged']['by']}]")
    if anomaly["feedback"] is not None:
        words.append(f"[{anomaly['feedback']['verdict']}]")
    labels = ", ".join(f'{name}="{value}"' for name, value in anomaly["labels"].items())
    return "  ".join([*words, anomaly["summary"] or f"{anomaly['query']} {{{labels}}}"])


def _print(line: str) -> None:
    # Labels and comments may hold control characters: they must not reach the terminal.
    sys.stdout.write(escape_control(line) + "\n")
