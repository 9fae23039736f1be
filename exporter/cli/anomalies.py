"""``anomaly-exporter anomalies``: list, acknowledge and judge anomalies of a running exporter from a shell."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from pydantic import SecretStr, ValidationError

from exporter.errors import ExporterError, UpstreamError
from exporter.http_client.client import Client, HttpResponse
from exporter.http_client.settings import BasicAuth, HttpSettings, TlsSettings

__all__ = ["add_parser", "run"]

GOOD, BAD = 0, 1
_TIMEOUT, _MOST_BYTES = 30.0, 32 << 20
_PASSWORD = "ANOMALY_EXPORTER_PASSWORD"  # noqa: S105 - the name of a variable.
_VERDICTS = ("confirmed", "expected", "false alarm", "new normal")
_MORE = f"""\
examples:
  anomaly-exporter anomalies list --match 'service="checkout"'
  anomaly-exporter anomalies ack 1ebe30fb-fddf-5d6f-9f20-271a6dd436ae --user alice --comment 'restarting the pool'
  anomaly-exporter anomalies feedback 1ebe30fb-fddf-5d6f-9f20-271a6dd436ae 'new normal' --user alice

The password is read from --password-file or from the variable {_PASSWORD}."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command ``anomalies``."""
    whole = subparsers.add_parser(
        "anomalies",
        help="list, acknowledge and judge the anomalies of a running exporter",
        epilog=_MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    actions = whole.add_subparsers(dest="action", required=True, metavar="ACTION")
    listed = actions.add_parser("list", help="those that are not over, unless --status says otherwise")
    listed.add_argument("--status", choices=("open", "acknowledged", "resolved", "all"), help="only these")
    listed.add_argument("--query", help="only of this query")
    listed.add_argument(
        "--match", action="append", default=[], metavar="MATCHER", help="label matcher; may be repeated"
    )
    listed.add_argument("--limit", type=int, default=100, help="at most so many (default: %(default)s)")
    listed.add_argument("--json", action="store_true", help="one JSON object a line, for jq")
    ack = actions.add_parser("ack", help="say that you take care of one")
    feedback = actions.add_parser("feedback", help="say what one was")
    for command in (ack, feedback):
        command.add_argument("id", metavar="ID")
    feedback.add_argument("verdict", choices=_VERDICTS, metavar="VERDICT", help=", ".join(_VERDICTS))
    for command in (ack, feedback):
        command.add_argument("--comment", default="", help="why; for whoever looks later")
    for command in (listed, ack, feedback):
        command.add_argument("--url", default="http://localhost:9877", help="of the exporter (default: %(default)s)")
        command.add_argument("--user", help="who you are")
        command.add_argument("--password-file", type=Path, metavar="FILE", help="password of the user")
        command.add_argument("--ca-file", type=Path, metavar="FILE", help="who signed the exporter's certificate")
        command.add_argument("--cert-file", type=Path, metavar="FILE", help="certificate to show")
        command.add_argument("--key-file", type=Path, metavar="FILE", help="key of that certificate")
        command.set_defaults(run=run)


def run(args: argparse.Namespace, *, environment: Mapping[str, str] = os.environ) -> int:
    """Run the action; returns the exit code. A failure is a line on standard error."""
    actions: dict[str, Callable[[argparse.Namespace, Client], None]] = {
        "list": _list,
        "ack": _acknowledge,
        "feedback": _give_feedback,
    }
    try:
        server = _connect(args, environment)
        try:
            actions[args.action](args, server)
        finally:
            server.close()
    except ValidationError as error:
        return _problem("; ".join(str(each["msg"]) for each in error.errors(include_input=False)))
    except ExporterError as error:
        return _problem(str(error))
    return GOOD


def _problem(text: str) -> int:
    sys.stderr.write(text + "\n")
    return BAD


def _connect(args: argparse.Namespace, environment: Mapping[str, str]) -> Client:
    login = None
    if args.user is not None:
        given = environment.get(_PASSWORD)
        if args.password_file is None and given is None:
            raise ExporterError(f"a password is needed: --password-file, or the variable {_PASSWORD}")
        secret = SecretStr(given) if args.password_file is None and given is not None else None
        login = BasicAuth(username=args.user, password=secret, password_file=args.password_file)
    tls = TlsSettings(ca_file=args.ca_file, cert_file=args.cert_file, key_file=args.key_file)
    settings = HttpSettings(url=args.url, basic_auth=login, tls_config=tls)
    return Client(settings, pool=1, error=UpstreamError)


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
            page = _data(server.get(f"/api/v1/anomalies?{urlencode(paged)}", timeout=_TIMEOUT, max_bytes=_MOST_BYTES))
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
    return _data(server.post_json(path, raw, timeout=_TIMEOUT, max_bytes=_MOST_BYTES))


def _data(answer: HttpResponse) -> dict[str, Any]:
    try:
        body = json.loads(answer.body)
        if body["status"] == "success":
            data: dict[str, Any] = body["data"]
            return data
        text = str(body["error"])
    except (ValueError, KeyError, TypeError):
        # A login page, or the message of a proxy.
        text = answer.body[:200].decode("utf-8", "replace").strip()
    raise ExporterError(f"the exporter answers {answer.status}: {text}")


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
    sys.stdout.write("".join(sign if sign.isprintable() else "\ufffd" for sign in line) + "\n")
