"""The API of a running exporter, for commands that ask it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr, ValidationError
from pydantic_core import ErrorDetails

from exporter.errors import ExporterError, UpstreamError
from exporter.http_client.client import Client, HttpResponse
from exporter.http_client.settings import BasicAuth, HttpSettings, TlsSettings

__all__ = ["MOST_BYTES", "PASSWORD", "TIMEOUT", "add_flags", "connect", "data_of"]

TIMEOUT, MOST_BYTES = 30.0, 32 << 20
PASSWORD = "ANOMALY_EXPORTER_PASSWORD"  # noqa: S105 - the name of a variable.


def add_flags(command: argparse.ArgumentParser) -> None:
    """Add the flags that say where the exporter is, and who asks."""
    command.add_argument("--url", default="http://localhost:9877", help="URL of the exporter (default: %(default)s)")
    command.add_argument("--user", help="user name")
    command.add_argument("--password-file", type=Path, metavar="FILE", help="password of the user")
    command.add_argument("--ca-file", type=Path, metavar="FILE", help="CA certificate that verifies the exporter's")
    command.add_argument("--cert-file", type=Path, metavar="FILE", help="client certificate")
    command.add_argument("--key-file", type=Path, metavar="FILE", help="key of the client certificate")


def connect(args: argparse.Namespace, environment: Mapping[str, str]) -> Client:
    """Return a client by the flags of `add_flags`.

    Raises
    ------
    ExporterError
        A user without a password, or a flag has a value that cannot be used.
    """
    login = None
    if args.user is not None:
        given = environment.get(PASSWORD)
        if args.password_file is None and given is None:
            raise ExporterError(f"a password is needed: --password-file, or the variable {PASSWORD}")
        secret = SecretStr(given) if args.password_file is None and given is not None else None
        login = BasicAuth(username=args.user, password=secret, password_file=args.password_file)
    try:
        tls = TlsSettings(ca_file=args.ca_file, cert_file=args.cert_file, key_file=args.key_file)
        settings = HttpSettings(url=args.url, basic_auth=login, tls_config=tls)
    except ValidationError as error:
        raise ExporterError("; ".join(map(_problem, error.errors(include_input=False)))) from None
    return Client(settings, pool=1, error=UpstreamError)


def _problem(error: ErrorDetails) -> str:
    message = error["msg"].removeprefix("Value error, ")
    return f"--url: {message}" if error["loc"] == ("url",) else message


def data_of(answer: HttpResponse) -> dict[str, Any]:
    """Return the data of a response of the API.

    Raises
    ------
    ExporterError
        With the message of the exporter, or of what answered instead of it.
    """
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
